/**
 * The feed in a browser, or wherever there is a WebSocket (Node 22, Deno, Bun). One file, no dependencies.
 *
 *     import { Feed } from 'https://feed.example/btcfeed.js'
 *
 *     const feed = new Feed({ currencies: ['USD', 'EUR'], since: '2026-11-20T09:00:00Z' })
 *     for await (const update of feed) {
 *       if (update.type === 'tick') console.log(update.timedate, update.prices.USD, update.exact.USD)
 *       if (update.type === 'gap') console.warn('missing', update.after, update.before, update.reason)
 *     }
 *
 * It promises every update once, in order, over any number of lost connections and on whichever replica; and where
 * something is missing, a gap that says so. It comes back by itself until `close()`, or until the server refuses it for
 * good, at which the loop throws. Updates are plain objects:
 *
 *     { type: 'tick', id, prev, timedate, prices: { USD: 97116.1 }, exact: { USD: '97116.10' },
 *       sources: { USD: ['coinbase', 'kraken'] } }
 *     { type: 'status', id, prev, state: 'live' | 'stale' | 'down', since, reason }
 *     { type: 'gap', after, before, reason, currencies? }
 *
 * `exact` has the digits that the market gave, which a number does not keep. A gap comes before the update that ends it; its
 * reason is the server's (`source_outage`, `history_expired`, `history_lost`, `replay_limit`), or `unexplained` where it skipped
 * something without a word or has lost its newest: then `before` may be an id from earlier, and the feed goes on from there.
 * Types that a newer server may have are passed over.
 *
 * `feed.lastId` is the id of the last update that was handed out: keep it, and give it as `after` to go on another time.
 *
 * Nothing is asked for before the first loop begins or the first listener is added. One who leaves a loop can begin another,
 * which goes on where that one was left; what comes when there is none is kept for it. That is up to ten thousand updates:
 * then the connection rests, or, where there are listeners too, a gap with the reason `unread` stands for what was kept.
 * A loop that begins beside another one begins with what comes.
 *
 * The same updates are events, `feed.addEventListener('tick', ({ detail }) => …)`, and beside them there are
 *
 *     connection   { state: 'connecting' | 'replaying' | 'live' | 'waiting' | 'closed', retryAt?, reason? }
 *     hello        { replica, version, currencies, interval_ms, … }    at each connection: who serves
 *     synced       { id }                                           at each connection: replay is over
 *
 * Options, none of which is needed in a page:
 *
 *     url          of the WebSocket; if not said, /v1/ws on the server that this file came from
 *     currencies   one or several; if not said, what the server gives to those who choose none
 *     since        a moment to replay from: a Date, RFC 3339, Unix seconds or milliseconds
 *     after        the id of the last update that you have, to resume from
 *     changes      true: only ticks that bring another price
 *     every        one tick in so much time at most: '30s', '5m', or milliseconds
 *     limit        of what was missed only so many ticks, the newest, at each connection; a gap, `replay_limit`, tells the rest
 *     clientId     the name under which the server remembers what it has sent, for those who cannot keep `lastId`: without
 *                  `since` and `after` one goes on where the last of that name ended. For one feed at a time
 *
 * With `changes` and `every` ticks do not follow on one another: `prev` is an id that you may not have got, only the server
 * tells gaps, and a gap may come long before another update does.
 *
 * @module btcfeed
 */

/** How long a connection may take to open. */
const CONNECT_MS = 10_000
/** How long nothing may come before a connection is taken for dead: at least so long, or four intervals of the feed. A
 *  feed that is down has nothing to say, so it is twice as long after each time that there was nothing to be had. */
const [SILENCE_MS, LONGEST_SILENCE_MS] = [15_000, 120_000]
/** The longest interval that is believed. */
const LONGEST_INTERVAL_MS = 86_400_000
/** How long to wait before the next try: twice as long each time, and a part of it at random, so that not all come at once. */
const [FIRST_WAIT_MS, LONGEST_WAIT_MS] = [250, 15_000]
/** The longest that a server's wish to be left alone is heeded. */
const LONGEST_WISH_MS = 600_000
/** The answers of a server that has nothing for us, and will not have it later. */
const REFUSALS = [400, 401, 403, 404, 410]
/** How many updates may wait for a loop that is slow. Then the connection is let go, and resumed when they have been read. */
const MOST_UNREAD = 10_000
/** How many gaps are remembered as told. There is one for each currency at most. */
const MOST_TOLD = 16
/** The events that are also given to loops. */
const UPDATES = ['tick', 'status', 'gap']
const OPTIONS = 'url, currencies, since, after, changes, every, limit, clientId'

export class Feed extends EventTarget {
  /** What the last `connection` event said. */
  connection = { state: 'idle' }

  #url
  #since
  #socket = null
  #timer
  /** Tries since the last one that succeeded, and connections since the last one that brought something. */
  #tries = 0
  #fruitless = 0
  #interval_ms = 0
  #heardAt = 0
  /** Until when the server wants to be left alone. */
  #notBefore = 0
  #begun = false
  /** The id of the last update that came, after which the next connection goes on. */
  #received
  /** Whether something has come. Before, `#received` is the caller's word. */
  #moved = false
  /** Whether every update is asked for: then each must follow on the one before. */
  #chained
  /** Gaps that were told, and whose end has not come: cut off before it they come again. */
  #told = []
  #readers = new Set()
  /** What came while there was no loop, or was left by the last one: the next one begins with it. */
  #held = []
  /** Whether there ever was a loop. */
  #looped = false
  /** Whether somebody listens to updates, whom nothing that is held may keep waiting. */
  #listened = false

  constructor(options = {}) {
    super()
    const { url, currencies = [], since, after, changes, every, limit, clientId, ...unknown } = options
    for (const name in unknown) throw new TypeError(`there is no option ${JSON.stringify(name)}, only ${OPTIONS}`)
    if (since !== undefined && after !== undefined) throw new TypeError('since and after exclude each other')
    if (after !== undefined && !/^\d+$/.test(after)) throw new TypeError(`after reads the id of an update, got "${after}"`)
    if (globalThis.WebSocket === undefined) throw new Error('there is no WebSocket here, which Node has from 22 on')
    this.#url = address(url)
    const query = {
      format: 'full', hello: true, currency: [currencies].flat().join(',') || undefined, changes: changes || undefined,
      every: typeof every === 'number' ? `${every}ms` : every, limit: limit || undefined, client_id: clientId,
    }
    for (const [name, value] of Object.entries(query)) if (value !== undefined) this.#url.searchParams.set(name, value)
    this.#chained = !changes && every === undefined
    this.#since = since instanceof Date ? since.toISOString() : since
    if (after !== undefined) this.#received = Number(after)
  }

  addEventListener(type, ...rest) {
    super.addEventListener(type, ...rest)
    if (UPDATES.includes(type)) this.#listened = true
    if (this.connection.unread && this.#hasRoom()) this.#connect()
    this.#begin()
  }

  /** The id of the last update that was handed out: the `after` to resume with, be it in another page or on another day. The
   *  slowest loop decides, or where the last one was left; events do where there has never been a loop. */
  get lastId() {
    const [next] = this.#listened && !this.#looped ? [] : this.#unread()
    return next === undefined ? this.#received : next.after
  }

  /** Ends it for good. */
  close() { this.#end('closed') }

  async *[Symbol.asyncIterator]() {
    const reader = { unread: this.#readers.size === 0 ? this.#held.splice(0) : [], wake() {} }
    this.#readers.add(reader)
    this.#looped = true
    this.#begin()
    try {
      for (;;) {
        while (reader.unread.length > 0) yield reader.unread.shift().update
        if (this.connection.refused) throw new Error(this.connection.reason)
        if (this.#isClosed()) return
        if (this.connection.unread && this.#hasRoom()) this.#connect()
        await new Promise((wake) => { reader.wake = wake })
      }
    } finally {
      this.#readers.delete(reader)
      if (this.#readers.size === 0) this.#held = reader.unread
    }
  }

  #isClosed() { return this.connection.state === 'closed' }

  #begin() {
    if (this.#begun || this.#isClosed()) return
    this.#begun = true
    globalThis.addEventListener?.('online', this.#hurry)
    globalThis.document?.addEventListener('visibilitychange', this.#hurry)
    // Not before whoever listens to one thing could listen to the others.
    queueMicrotask(() => this.#connect())
  }

  #connect() {
    if (this.#isClosed()) return
    this.#drop()
    const url = new URL(this.#url)
    if (this.#received !== undefined) url.searchParams.set('after', this.#received)
    else if (this.#since !== undefined) url.searchParams.set('since', this.#since)
    let socket
    try { socket = new WebSocket(url) } catch (error) {
      // A page from https may not connect to ws, which does not change by waiting.
      return this.#end(error.message, true)
    }
    let opened = false
    // A socket that was dropped may still have something to say. One that failed to open does not say everywhere that it closes.
    const mine = (handle) => (event) => { if (this.#socket === socket) handle(event) }
    socket.onopen = mine(() => {
      opened = true
      this.#heard()
      this.#tell({ state: 'replaying' })
    })
    socket.onmessage = mine(({ data }) => this.#read(data))
    socket.onclose = mine(({ code, reason }) => {
      if (code >= 4500 && code <= 4999) this.#end(reason || `the server said ${code}`, true)
      else if (opened) this.#wait(reason || 'the connection was lost', code === 1001)
    })
    socket.onerror = mine(() => { if (!opened) this.#askWhy(url) })
    this.#socket = socket
    this.#tell({ state: 'connecting' })
    this.#after(CONNECT_MS, () => this.#wait('the server does not answer'))
  }

  /** Lets go of the socket without waiting for it: it may be dead, and take its time to notice. */
  #drop() {
    clearTimeout(this.#timer)
    const socket = this.#socket
    this.#socket = null
    socket?.close()
  }

  /** A browser does not tell why there was no handshake; if it was refused, a plain request for the same does. */
  async #askWhy(url) {
    this.#wait('the connection failed')
    const { retryAt } = this.connection
    const plain = new URL(url)
    plain.protocol = plain.protocol.replace('ws', 'http')
    try {
      const answer = await fetch(plain, { signal: AbortSignal.timeout(CONNECT_MS), cache: 'no-store' })
      const { detail = `the server said ${answer.status}` } = await answer.json().catch(() => ({}))
      if (this.connection.retryAt !== retryAt) return
      if (REFUSALS.includes(answer.status)) return this.#end(detail, true)
      const wish_ms = Math.min(answer.headers.get('retry-after') * 1000 || 0, LONGEST_WISH_MS)
      if (wish_ms === 0) return
      this.#notBefore = Date.now() + wish_ms
      this.#pause(detail, Math.max(wish_ms, retryAt - Date.now()))
    } catch { /* Then it is waited, and tried again. */ }
  }

  /** Tries again in a while, or soon where somebody else is there to go on at once. */
  #wait(reason, soon = false) {
    this.#drop()
    const bound = Math.min(FIRST_WAIT_MS * 2 ** (soon ? 0 : this.#tries++), LONGEST_WAIT_MS)
    this.#pause(reason, bound * (soon ? Math.random() : (1 + Math.random()) / 2))
  }

  #pause(reason, wait_ms) {
    this.#tell({ state: 'waiting', reason, retryAt: Date.now() + wait_ms })
    this.#after(wait_ms, () => this.#connect())
  }

  #after(ms, happens) {
    clearTimeout(this.#timer)
    // Whoever was told something may have closed it.
    if (!this.#isClosed()) this.#timer = setTimeout(happens, ms)
  }

  /** The connection lives. Browsers do not show pings, so one on which nothing comes has to be made anew to be sure. */
  #heard() {
    this.#heardAt = Date.now()
    const patience_ms = this.#patience()
    this.#after(Math.max(patience_ms, Math.min(patience_ms * 2 ** this.#fruitless, LONGEST_SILENCE_MS)), () => {
      this.#fruitless++
      this.#connect()
    })
  }

  #patience() { return Math.max(SILENCE_MS, 4 * this.#interval_ms) }

  /** The network is back, or somebody looks again: no time to wait, nor to trust a socket that may have slept through. */
  #hurry = () => {
    if (globalThis.document?.visibilityState === 'hidden') return
    const silent = this.connection.state === 'live' && Date.now() - this.#heardAt > this.#patience()
    const waits = this.connection.state === 'waiting' && !this.connection.unread && Date.now() >= this.#notBefore
    if (silent || waits) this.#connect()
  }

  #read(data) {
    this.#heard()
    const message = parse(data)
    switch (message?.type) {
      case 'tick': case 'status':
        return this.#follow(message)
      case 'gap':
        return this.#tellGap(message)
      case 'hello':
        this.#interval_ms = Math.min(Number(message.interval_ms) || 0, LONGEST_INTERVAL_MS)
        return this.#emit(message)
      case 'synced':
        this.#tries = 0
        // Where there was nothing to replay, and where our id is from a future that this feed does not know: what comes next
        // is smaller, and may not be taken for known. Where ticks are left out, the server may be at one before the last.
        if (!(this.#received <= message.id) && (this.#chained || !this.#moved)) {
          const after = this.#received
          this.#received = message.id
          this.#told = []
          if (this.#moved) this.#hand({ type: 'gap', after, before: message.id, reason: 'unexplained' }, after)
        }
        this.#tell({ state: 'live' })
        return this.#emit(message)
    }
  }

  /** A gap that was not told yet. */
  #tellGap(gap) {
    if (gap.before <= this.#received || this.#told.some((told) => JSON.stringify(told) === JSON.stringify(gap))) return
    this.#told = [...this.#told.slice(1 - MOST_TOLD), gap]
    this.#hand(gap, this.#received)
  }

  /** An update: the next one, one that we have, or one before which something is missing. */
  #follow(update) {
    const after = this.#received
    if (update.id <= after) return
    this.#tries = 0
    // Those who do not want every tick hear nothing for a while when all is well, and need not find it out again each time.
    if (this.#chained) this.#fruitless = 0
    // An outage explains why there are no prices, not why an entry is missing.
    const explained = this.#told.some(({ before, reason }) => before === update.id && reason !== 'source_outage')
    if (this.#chained && after !== undefined && update.prev !== after && !explained) {
      this.#hand({ type: 'gap', after, before: update.id, reason: 'unexplained' }, after)
      if (this.#isClosed()) return
    }
    this.#received = update.id
    this.#moved = true
    this.#told = this.#told.filter(({ before }) => before > update.id)
    this.#hand(update, after)
    if (!this.#hasRoom()) {
      this.#drop()
      this.#tell({ state: 'waiting', reason: 'what came has not been read yet', unread: true })
    }
  }

  /** Gives something to all loops, or keeps it for the next one, and to those who listen. Before it one has all up to `after`. */
  #hand(update, after) {
    if (this.#isClosed()) return
    if (this.#readers.size === 0) this.#hold(update, after)
    for (const reader of this.#readers) {
      reader.unread.push({ update, after })
      reader.wake()
    }
    this.#emit(update)
  }

  #hold(update, after) {
    if (this.#listened && this.#held.length >= MOST_UNREAD) {
      const [first] = this.#held
      const [begin, before] = [first.after ?? first.update.after ?? first.update.prev, update.before ?? update.id]
      after = first.after
      this.#held = [{ update: { type: 'gap', after: begin, before, reason: 'unread' }, after }]
    }
    this.#held.push({ update, after })
  }

  /** What the slowest loop has not read, or what is kept for the next one. */
  #unread() {
    const all = [...this.#readers].map(({ unread }) => unread)
    return all.reduce((longest, other) => (other.length > longest.length ? other : longest), this.#held)
  }

  /** Whether more may come: the slowest loop decides. Were only the quickest asked, the next update would be too many again. */
  #hasRoom() {
    return (this.#listened && this.#readers.size === 0) || this.#unread().length < MOST_UNREAD
  }

  #tell(connection) {
    if (this.#isClosed()) return
    this.connection = connection
    this.#emit({ type: 'connection', ...connection })
  }

  #emit({ type, ...detail }) {
    this.dispatchEvent(new CustomEvent(type, { detail: { type, ...detail } }))
  }

  #end(reason, refused = false) {
    this.#drop()
    if (this.#isClosed()) return
    globalThis.removeEventListener?.('online', this.#hurry)
    globalThis.document?.removeEventListener('visibilitychange', this.#hurry)
    this.#tell({ state: 'closed', reason, refused })
    for (const reader of this.#readers) reader.wake()
  }
}

/** Where the stream is: where it was said to be, or on the server that this file came from. */
function address(said) {
  let url
  try { url = new URL(said ?? new URL('/v1/ws', import.meta.url), globalThis.location?.href) } catch { /* It is none. */ }
  if (!/^(ws|http)s?:$/.test(url?.protocol)) {
    throw new TypeError(`url reads ws://, wss://, http:// or https://, got ${said ?? 'none, and outside a page it is needed'}`)
  }
  if (url.search) throw new TypeError(`url ends before the question mark, got ${url.search}: say it in options (${OPTIONS})`)
  url.protocol = url.protocol.replace('http', 'ws')
  return url
}

/** A message, and its prices as they were written too: those are flat, and stand before anything that a source could have
 *  written. What cannot be read is nothing that we know. */
function parse(data) {
  try {
    const message = JSON.parse(data)
    if (message.type === 'tick') {
      const [, prices] = /"prices":\{([^}]*)\}/.exec(data)
      message.exact = Object.fromEntries([...prices.matchAll(/"(\w+)":([^,]+)/g)].map(([, currency, price]) => [currency, price]))
    }
    return message
  } catch { return undefined }
}
