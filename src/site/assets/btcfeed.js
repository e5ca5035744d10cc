/**
 * Client of a btcfeed server, for browsers and other runtimes with a WebSocket (Node 22, Deno, Bun).
 *
 *     import { Feed } from 'https://feed.example/btcfeed.js'
 *     const feed = new Feed({ currencies: ['USD', 'EUR'], since: '2026-11-20T09:00:00Z' })
 *     for await (const update of feed) {
 *       if (update.type === 'tick') console.log(update.timedate, update.prices.USD, update.exact.USD)
 *       if (update.type === 'gap') console.warn('missing', update.after, update.before, update.reason)
 *     }
 *
 * A feed delivers every update once and in order, however often the connection is lost, on any replica. If something is missing,
 * it delivers a gap. It reconnects by itself until `close()` is called, or until the server rejects it permanently. Then the
 * loop throws. Updates are plain objects:
 *
 *     { type: 'tick', id, prev, timedate, prices: { USD: 97116.1 }, exact: { USD: '97116.10' },
 *       sources: { USD: ['coinbase', 'kraken'] }, method: 1, confidence: { USD: 1.25 }, spread: { USD: 5 } }
 *     { type: 'status', id, prev, state: 'live' | 'degraded' | 'stale' | 'down', since, reason }
 *     { type: 'gap', after, before, reason, currencies? }
 *
 * `exact` has the digits of the price, which a number may lose. A gap comes before the update that ends it. Its
 * reason is one of the server's (`source_outage`, `history_expired`, `history_lost`, `replay_limit`, `held_too_long`), or `unexplained` if the
 * server skipped entries without a gap, or has lost its newest entries. In the latter case, `before` may be less than `after`,
 * and the feed continues after `before`. Messages of unknown types are ignored.
 *
 * `feed.lastId` is the id of the last update that was delivered. Store it, and pass it as `after` to resume later.
 *
 * The feed connects when the first loop begins or the first listener is added. If you leave a loop, updates are buffered for the
 * next loop, which continues after the last update that you got. If ten thousand updates are buffered, the connection is closed
 * until they have been read. If there are listeners too, the connection stays open, and a gap with the reason `unread` replaces
 * the buffered updates. A loop that begins while another one runs begins with the next update.
 *
 * The same updates are events, `feed.addEventListener('tick', ({ detail }) => …)`. There are three more events:
 *
 *     connection   { state: 'connecting' | 'replaying' | 'live' | 'waiting' | 'closed', retryAt?, reason? }
 *     hello        { replica, version, currencies, interval_ms, … }    on each connection: the replica
 *     synced       { id }                                              on each connection: the replay is over
 *
 * Options, all of them optional in a page:
 *
 *     url          URL of the WebSocket; by default /v1/ws on the server that this file came from
 *     currencies   one or several; by default the server's default
 *     since        the moment to replay from: a Date, RFC 3339, Unix seconds or milliseconds
 *     after        the id of the last update that you have, to resume after it
 *     changes      true: only ticks in which a price has changed
 *     every        at most one tick in this time: '30s', '5m', or milliseconds
 *     limit        maximum number of ticks to replay on each connection; a gap (`replay_limit`) replaces older ticks
 *     clientId     a secret name (a random UUID) for clients that cannot store `lastId`: without `since` and `after`, the feed
 *                  resumes after the last update that was sent under this name. For one feed at a time
 *     key          the API key, if the server serves only clients with a key
 *
 * With `changes` or `every`, the `prev` of a tick may be an id that was not delivered, only the server reports gaps, and a gap
 * may come long before the next update.
 *
 * @module btcfeed
 */

/** Timeout for opening a connection. */
const CONNECT_TIMEOUT_MS = 10_000
/** Time without a message after which a connection counts as dead: at least this, or four intervals of the feed. A feed that
 *  is down sends nothing, so the time doubles with each connection without an update, up to the second value. */
const [SILENCE_MS, MAX_SILENCE_MS] = [15_000, 120_000]
const MAX_INTERVAL_MS = 86_400_000
/** First and longest delay before a retry. The delay doubles each time, and is randomised so that clients spread out. */
const [FIRST_RETRY_MS, MAX_RETRY_MS] = [250, 15_000]
/** Upper bound for `Retry-After`. */
const MAX_RETRY_AFTER_MS = 600_000
/** Statuses with which a server rejects a request permanently. */
const PERMANENT_ERRORS = [400, 401, 403, 404, 410]
/** Maximum number of buffered updates. If a loop is too slow, the connection is closed, and resumed when the updates have been read. */
const MAX_UNREAD = 10_000
/** Maximum number of delivered gaps that are remembered. There is at most one for each currency. */
const MAX_REPORTED_GAPS = 16
/** Events that are delivered to loops too. */
const UPDATES = ['tick', 'status', 'gap']
const OPTIONS = 'url, currencies, since, after, changes, every, limit, clientId, key'

export class Feed extends EventTarget {
  /** Detail of the last `connection` event. */
  connection = { state: 'idle' }

  #url
  #since
  #socket = null
  #timer
  /** Attempts since the last successful one. */
  #attempts = 0
  /** Connections since the last one that brought an update. */
  #silentConnections = 0
  #interval_ms = 0
  #lastMessageAt = 0
  /** End of the server's `Retry-After`. */
  #notBefore = 0
  #started = false
  /** Id of the last update that was received, or the option `after`. The next connection resumes after it. */
  #received
  /** True if an update has been received. */
  #hasReceived = false
  /** True if all updates are requested, so that the `prev` of each one must be the id of the one before. */
  #chained
  /** Gaps that were delivered but not ended yet. If the connection is lost before their end, the server sends them again. */
  #reportedGaps = []
  #readers = new Set()
  /** Updates for the next loop. */
  #buffered = []
  /** True if there has been a loop. */
  #hadLoop = false
  /** True if updates have a listener. If so, the connection stays open even if no loop reads. */
  #hasListener = false

  constructor(options = {}) {
    super()
    const { url, currencies = [], since, after, changes, every, limit, clientId, key, ...unknown } = options
    for (const name in unknown) throw new TypeError(`invalid option ${JSON.stringify(name)}: expected ${OPTIONS}`)
    if (since !== undefined && after !== undefined) throw new TypeError('invalid options since and after: expected only one of them')
    if (after !== undefined && !/^\d+$/.test(after)) throw new TypeError(`invalid after "${after}": expected the id of an update`)
    if (globalThis.WebSocket === undefined) throw new Error('missing WebSocket: expected a browser, Deno, Bun, or Node 22 or later')
    this.#url = parseUrl(url)
    const query = {
      format: 'full', hello: true, currency: [currencies].flat().join(',') || undefined, changes: changes || undefined,
      every: typeof every === 'number' ? `${every}ms` : every, limit: limit || undefined, client_id: clientId, key,
    }
    for (const [name, value] of Object.entries(query)) if (value !== undefined) this.#url.searchParams.set(name, value)
    this.#chained = !changes && every === undefined
    this.#since = since instanceof Date ? since.toISOString() : since
    if (after !== undefined) this.#received = Number(after)
  }

  addEventListener(type, ...rest) {
    super.addEventListener(type, ...rest)
    if (UPDATES.includes(type)) this.#hasListener = true
    if (this.connection.unread && this.#hasRoom()) this.#connect()
    this.#start()
  }

  /** Id of the last update that the slowest loop has read. If no loop runs, the last loop counts, or listeners if there was none. */
  get lastId() {
    const [next] = this.#hasListener && !this.#hadLoop ? [] : this.#unread()
    return next === undefined ? this.#received : next.after
  }

  /** Closes the feed permanently. */
  close() { this.#close('closed') }

  async *[Symbol.asyncIterator]() {
    const reader = { unread: this.#readers.size === 0 ? this.#buffered.splice(0) : [], wake() {} }
    this.#readers.add(reader)
    this.#hadLoop = true
    this.#start()
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
      if (this.#readers.size === 0) this.#buffered = reader.unread
    }
  }

  #isClosed() { return this.connection.state === 'closed' }

  #start() {
    if (this.#started || this.#isClosed()) return
    this.#started = true
    globalThis.addEventListener?.('online', this.#checkConnection)
    globalThis.document?.addEventListener('visibilitychange', this.#checkConnection)
    // In a microtask, so that the caller can add all listeners before.
    queueMicrotask(() => this.#connect())
  }

  #connect() {
    if (this.#isClosed()) return
    this.#dropSocket()
    const url = new URL(this.#url)
    if (this.#received !== undefined) url.searchParams.set('after', this.#received)
    else if (this.#since !== undefined) url.searchParams.set('since', this.#since)
    let socket
    try { socket = new WebSocket(url) } catch (error) {
      // A page over https may not connect to ws, for example. A retry would not help.
      return this.#close(error.message, true)
    }
    let opened = false
    // Events of a socket that was dropped are ignored. If a socket fails to open, some runtimes emit no `close` event.
    const current = (handle) => (event) => { if (this.#socket === socket) handle(event) }
    socket.onopen = current(() => {
      opened = true
      this.#onActivity()
      this.#setConnection({ state: 'replaying' })
    })
    socket.onmessage = current(({ data }) => this.#onMessage(data))
    socket.onclose = current(({ code, reason }) => {
      if (code >= 4500 && code <= 4999) this.#close(reason || `the server closed with code ${code}`, true)
      else if (opened) this.#retry(reason || 'the connection was lost', code === 1001)
    })
    socket.onerror = current(() => { if (!opened) this.#fetchReason(url) })
    this.#socket = socket
    this.#setConnection({ state: 'connecting' })
    this.#setTimer(CONNECT_TIMEOUT_MS, () => this.#retry('the server does not answer'))
  }

  /** Drops the socket without waiting for its `close` event: a dead connection may take minutes to close. */
  #dropSocket() {
    clearTimeout(this.#timer)
    const socket = this.#socket
    this.#socket = null
    socket?.close()
  }

  /** Schedules a retry, and asks for the reason with a plain request, because browsers do not report a failed handshake. */
  async #fetchReason(url) {
    this.#retry('the connection failed')
    const { retryAt } = this.connection
    const plain = new URL(url)
    plain.protocol = plain.protocol.replace('ws', 'http')
    try {
      const response = await fetch(plain, { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS), cache: 'no-store' })
      const { detail = `the server answered with HTTP ${response.status}` } = await response.json().catch(() => ({}))
      if (this.connection.retryAt !== retryAt) return
      if (PERMANENT_ERRORS.includes(response.status)) return this.#close(detail, true)
      const retryAfter_ms = Math.min(response.headers.get('retry-after') * 1000 || 0, MAX_RETRY_AFTER_MS)
      if (retryAfter_ms === 0) return
      this.#notBefore = Date.now() + retryAfter_ms
      this.#retryIn(Math.max(retryAfter_ms, retryAt - Date.now()), detail)
    } catch { /* The retry is scheduled already. */ }
  }

  /** Schedules a retry with backoff, or `soon` if another replica can take over at once. */
  #retry(reason, soon = false) {
    this.#dropSocket()
    const bound = Math.min(FIRST_RETRY_MS * 2 ** (soon ? 0 : this.#attempts++), MAX_RETRY_MS)
    this.#retryIn(bound * (soon ? Math.random() : (1 + Math.random()) / 2), reason)
  }

  #retryIn(delay_ms, reason) {
    this.#setConnection({ state: 'waiting', reason, retryAt: Date.now() + delay_ms })
    this.#setTimer(delay_ms, () => this.#connect())
  }

  #setTimer(ms, callback) {
    clearTimeout(this.#timer)
    // A listener may have closed the feed.
    if (!this.#isClosed()) this.#timer = setTimeout(callback, ms)
  }

  /** Restarts the silence timer. Browsers do not report pings, so a silent connection may be dead, and is replaced. */
  #onActivity() {
    this.#lastMessageAt = Date.now()
    const limit_ms = this.#silenceLimit()
    this.#setTimer(Math.max(limit_ms, Math.min(limit_ms * 2 ** this.#silentConnections, MAX_SILENCE_MS)), () => {
      this.#silentConnections++
      this.#connect()
    })
  }

  #silenceLimit() { return Math.max(SILENCE_MS, 4 * this.#interval_ms) }

  /** Reconnects at once, if necessary, when the network is back or the page is visible again. */
  #checkConnection = () => {
    if (globalThis.document?.visibilityState === 'hidden') return
    const silent = this.connection.state === 'live' && Date.now() - this.#lastMessageAt > this.#silenceLimit()
    const waits = this.connection.state === 'waiting' && !this.connection.unread && Date.now() >= this.#notBefore
    if (silent || waits) this.#connect()
  }

  #onMessage(data) {
    this.#onActivity()
    const message = parse(data)
    switch (message?.type) {
      case 'tick': case 'status':
        return this.#onUpdate(message)
      case 'gap':
        return this.#onGap(message)
      case 'hello':
        this.#interval_ms = Math.min(Number(message.interval_ms) || 0, MAX_INTERVAL_MS)
        return this.#emit(message)
      case 'synced':
        this.#attempts = 0
        // Nothing was replayed, or the feed has lost its newest entries, so our id is ahead of it. The next ids are
        // smaller and must not be dropped as known. With `changes` or `every`, `synced` may be before our last tick.
        if (!(this.#received <= message.id) && (this.#chained || !this.#hasReceived)) {
          const after = this.#received
          this.#received = message.id
          this.#reportedGaps = []
          if (this.#hasReceived) this.#deliver({ type: 'gap', after, before: message.id, reason: 'unexplained' }, after)
        }
        this.#setConnection({ state: 'live' })
        return this.#emit(message)
    }
  }

  /** Delivers a gap, unless it has been delivered before. */
  #onGap(gap) {
    if (gap.before <= this.#received || this.#reportedGaps.some((known) => JSON.stringify(known) === JSON.stringify(gap))) return
    this.#reportedGaps = [...this.#reportedGaps.slice(1 - MAX_REPORTED_GAPS), gap]
    this.#deliver(gap, this.#received)
  }

  /** Delivers an update, unless it is known. If something is missing before it, delivers a gap first. */
  #onUpdate(update) {
    const after = this.#received
    if (update.id <= after) return
    this.#attempts = 0
    // With `changes` or `every`, silence is normal, so the longer timeout is kept.
    if (this.#chained) this.#silentConnections = 0
    // An outage explains missing prices, but not a missing entry.
    const explained = this.#reportedGaps.some(({ before, reason }) => before === update.id && reason !== 'source_outage')
    if (this.#chained && after !== undefined && update.prev !== after && !explained) {
      this.#deliver({ type: 'gap', after, before: update.id, reason: 'unexplained' }, after)
      if (this.#isClosed()) return
    }
    this.#received = update.id
    this.#hasReceived = true
    this.#reportedGaps = this.#reportedGaps.filter(({ before }) => before > update.id)
    this.#deliver(update, after)
    if (!this.#hasRoom()) {
      this.#dropSocket()
      this.#setConnection({ state: 'waiting', reason: 'the buffered updates have not been read', unread: true })
    }
  }

  /** Delivers an update, or buffers it for the next loop. Until it has been read, `after` is the id to resume after. */
  #deliver(update, after) {
    if (this.#isClosed()) return
    if (this.#readers.size === 0) this.#buffer(update, after)
    for (const reader of this.#readers) {
      reader.unread.push({ update, after })
      reader.wake()
    }
    this.#emit(update)
  }

  #buffer(update, after) {
    if (this.#hasListener && this.#buffered.length >= MAX_UNREAD) {
      const [first] = this.#buffered
      const [begin, before] = [first.after ?? first.update.after ?? first.update.prev, update.before ?? update.id]
      after = first.after
      this.#buffered = [{ update: { type: 'gap', after: begin, before, reason: 'unread' }, after }]
    }
    this.#buffered.push({ update, after })
  }

  /** Updates that the slowest loop has not read, or that are buffered for the next loop. */
  #unread() {
    const all = [...this.#readers].map(({ unread }) => unread)
    return all.reduce((longest, other) => (other.length > longest.length ? other : longest), this.#buffered)
  }

  /** True if more updates can be buffered. The slowest loop counts, so that no buffer grows beyond the bound. */
  #hasRoom() {
    return (this.#hasListener && this.#readers.size === 0) || this.#unread().length < MAX_UNREAD
  }

  #setConnection(connection) {
    if (this.#isClosed()) return
    this.connection = connection
    this.#emit({ type: 'connection', ...connection })
  }

  #emit({ type, ...detail }) {
    this.dispatchEvent(new CustomEvent(type, { detail: { type, ...detail } }))
  }

  #close(reason, refused = false) {
    this.#dropSocket()
    if (this.#isClosed()) return
    globalThis.removeEventListener?.('online', this.#checkConnection)
    globalThis.document?.removeEventListener('visibilitychange', this.#checkConnection)
    this.#setConnection({ state: 'closed', reason, refused })
    for (const reader of this.#readers) reader.wake()
  }
}

/** Returns the URL of the WebSocket: the given one, or /v1/ws on the server that this file came from. */
function parseUrl(given) {
  let url
  try { url = new URL(given ?? new URL('/v1/ws', import.meta.url), globalThis.location?.href) } catch { /* Rejected below. */ }
  if (!/^(ws|http)s?:$/.test(url?.protocol)) {
    const problem = given == null ? 'missing url outside of a page' : `invalid url "${given}"`
    throw new TypeError(`${problem}: expected ws://, wss://, http:// or https://`)
  }
  if (url.search) throw new TypeError(`invalid url with the query "${url.search}": expected options instead (${OPTIONS})`)
  url.protocol = url.protocol.replace('http', 'ws')
  return url
}

/** Parses a message, or returns `undefined`. `exact` has the prices as text. A regular expression can find them, because they
 *  are in a flat object that comes before any text from a source. */
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
