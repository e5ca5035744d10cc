/**
 * Client of a btcfeed server, for browsers, Node (20 or later), Deno and Bun.
 *
 *     import { Feed } from 'https://feed.example/btcfeed.js'      // or 'btcfeed', after `npm install PATH/sdk/js`
 *     const feed = new Feed({ currencies: ['USD', 'EUR'], since: '2026-11-20T09:00:00Z' })
 *     for await (const update of feed) {
 *       if (update.type === 'tick') console.log(update.timedate, update.prices.USD, update.exact.USD)
 *       if (update.type === 'gap') console.warn('missing', update.after, update.before, update.reason)
 *     }
 *
 * A feed delivers every update once and in order, even if it loses its connection and continues on another replica. If
 * something is missing, it delivers a gap. It reconnects by itself until `close()` is called, or until the server
 * rejects it permanently. After `close()` the loop ends, after a rejection it throws. Updates are plain objects:
 *
 *     { type: 'tick', id, prev, timedate, prices: { USD: 97116.1 }, exact: { USD: '97116.10' },
 *       sources: { USD: ['coinbase', 'kraken'] }, method: 1, confidence: { USD: 1.25 }, spread: { USD: 5 } }
 *     { type: 'status', id, prev, state: 'live' | 'degraded' | 'stale' | 'down', since, reason }
 *     { type: 'gap', after, before, reason, currencies? }
 *
 * `exact` has the digits of the price, which a number may lose. A gap comes before the update that ends it. Its reason
 * is one of the server's (`source_outage`, `history_expired`, `history_lost`, `replay_limit`, `held_too_long`,
 * `unknown_client_id`), or `unexplained` if the server skipped entries without a gap, or has lost its newest entries.
 * In the latter case, `before` may be less than `after`, and the feed continues after `before`. Messages of unknown
 * types are ignored.
 *
 * `feed.lastId` is the id of the last update that was delivered. Store it, and pass it as `after` to resume later.
 *
 * The feed connects when the first loop begins or the first listener is added. If you leave a loop, updates are
 * buffered for the next loop, which continues after the last update that you got. If ten thousand updates are buffered,
 * the connection is closed until they have been read. If no loop runs and there are listeners, the connection stays
 * open instead: a gap with the reason `unread` replaces the ten thousand updates. A loop that begins while another one
 * runs begins with the next update.
 *
 * The same updates are events, `feed.addEventListener('tick', ({ detail }) => …)`. There are three more events:
 *
 *     connection   { state: 'idle' | 'connecting' | 'replaying' | 'live' | 'waiting' | 'closed', url?, retryAt?,
 *                  reason?, … }: the state of the connection, or of the best one if there are several
 *                  (btcfeed.d.ts has all fields)
 *     hello        { url, replica, version, currencies, interval_ms, … }    on each connection: the replica
 *     synced       { id }                                                   on each connection: the replay is over
 *
 * Options, all of them optional in a page:
 *
 *     url          address of the feed, `http://host:port` (or https, ws, wss); by default the server that this file
 *                  came from. With several addresses, the feed begins at any of them, and changes to the next one when
 *                  a connection is lost
 *     currencies   one or several; by default the server's default
 *     since        the moment to replay from: a Date, RFC 3339, Unix seconds or milliseconds
 *     after        the id of the last update that you have, to resume after it
 *     changes      true: only ticks in which a price has changed
 *     every        at most one tick in this time: '30s', '5m', or milliseconds
 *     limit        maximum number of ticks to replay on each connection; a gap (`replay_limit`) replaces older ticks
 *     clientId     a secret name (a random UUID) for clients that cannot store `lastId`: without `since` and `after`,
 *                  the feed resumes after the last update that was sent under this name. For one feed at a time
 *     key          the API key, if the server serves only clients with a key
 *     redundancy   number of connections at the same time (1 to 4), each to another address. The first copy of each
 *                  update is delivered. An update that all of them lack is read from the history
 *     shared       true: one connection for all tabs of this origin with the same options, where the browser can (a
 *                  page over https or from this machine); elsewhere, one for each tab
 *     transport    'websocket' or 'sse' (server-sent events); by default a WebSocket if there is one (Node 20 has none)
 *     silence      time without data after which a connection counts as dead, in milliseconds; by default 15 s, or four
 *                  intervals of the feed if that is longer, and 50 s for events
 *
 * With `changes` or `every`, the `prev` of a tick may be an id that was not delivered. So the feed cannot detect gaps
 * itself, and delivers only those that the server reports. A gap may come long before the next update.
 *
 * `await feed.pricesAt(moment, { window: '60s' })` returns the prices that were in force at a moment, and their
 * averages.
 *
 * `feed.statistics` counts updates: `{ taken, doubled, healed, addresses: [{ url, taken, reconnects }] }`.
 *
 * @module btcfeed
 */

import { parseAddresses, urlOf } from './btcfeed/address.js'
import { Cursor } from './btcfeed/cursor.js'
import { readHistory } from './btcfeed/history.js'
import { Line } from './btcfeed/line.js'
import { Merge } from './btcfeed/merge.js'
import { readPricesAt } from './btcfeed/moment.js'
import { OPTIONS, readOptions } from './btcfeed/options.js'
import { Share } from './btcfeed/share.js'

/** Maximum number of buffered updates. If a loop is too slow, the connection is closed, and resumed when the updates
 *  have been read. */
const MAX_UNREAD = 10_000
/** Limits for reading missing entries (a hole) from the history. A round asks every address once. The feed gives up
 *  after `HEAL_FOR_MS` without progress, or earlier if no address has the entries. The delay between two rounds begins
 *  with `HEAL_EVERY_MS`, and doubles up to `MAX_HEAL_EVERY_MS`. */
const [HEAL_FOR_MS, HEAL_EVERY_MS, MAX_HEAL_EVERY_MS] = [5_000, 100, 1_600]
/** Events that are delivered to loops too. */
const UPDATES = ['tick', 'status', 'gap']
/** States of a connection, from the worst to the best. */
const STATES = ['closed', 'idle', 'waiting', 'connecting', 'replaying', 'live']

export class Feed extends EventTarget {
  /** Detail of the last `connection` event. */
  connection = { state: 'idle' }

  /** Connection of the line that the last `connection` event was about. */
  #best
  #addresses
  #path
  #query
  #key
  #since
  #lines
  #cursor
  #merge
  #share
  #healing = false
  /** For each address, what `statistics` says about it. */
  #counts
  #started = false
  #readers = new Set()
  /** Updates for the next loop. */
  #buffered = []
  /** True if there has been a loop. */
  #hadLoop = false
  /** Value of `lastId` for listeners, and for a loop that has read all updates. */
  #delivered
  /** True if updates have a listener. If so, the connection stays open even if no loop reads. */
  #hasListener = false

  constructor(options = {}) {
    super()
    const { url, key, redundancy, shared, silence, transport, path, query, since, after, chained } = readOptions(options)
    this.#addresses = parseAddresses(url, import.meta.url, OPTIONS)
    this.#path = path
    this.#query = query
    this.#key = key
    this.#since = since
    this.#delivered = after
    this.#cursor = new Cursor({ after, chained })
    this.#counts = this.#addresses.map((address) => ({ url: address.href, taken: 0, reconnects: 0 }))
    const first = Math.floor(Math.random() * this.#addresses.length)
    const owner = this.#owner()
    this.#lines = Array.from({ length: redundancy }, (_, place) => (
      new Line(owner, (first + place) % this.#addresses.length, transport, silence)))
    if (redundancy > 1) this.#merge = new Merge(this.#cursor, this.#lines)
    if (shared && Share.isPossible) {
      const [line, name] = [this.#lines[0], JSON.stringify([this.#addresses, this.#path, this.#query.currency])]
      this.#share = new Share(`btcfeed ${name}`, line, this.#cursor, (found) => this.#deliverFrom(line, found))
    }
  }

  addEventListener(type, ...rest) {
    super.addEventListener(type, ...rest)
    if (UPDATES.includes(type)) this.#hasListener = true
    this.#resume()
    this.#start()
  }

  /** Id of the last update that the slowest loop has read. If no loop runs, the loop that ended last counts. If there
   *  has been no loop, the last event counts. */
  get lastId() {
    const [next] = this.#hasListener && !this.#hadLoop ? [] : this.#unread()
    return next === undefined ? this.#delivered : next.after
  }

  /** Counts of updates: `taken` were taken from a connection, `doubled` were dropped as copies, and `healed` were read
   *  from the history. For each address, `taken` counts the updates that came from it, and `reconnects` the connections
   *  to it that replaced a lost connection to any address. */
  get statistics() {
    const addresses = this.#counts.map((count) => ({ ...count }))
    const taken = addresses.reduce((sum, count) => sum + count.taken, 0)
    return { taken, doubled: this.#cursor.doubled, healed: this.#merge?.healed ?? 0, addresses }
  }

  /**
   * Returns the price in each currency that was in force at a moment, by default now: `{ time, prices: { USD: { price,
   * exact, id, age_ms } } }`. With `window`, such as '60s', each has the `average` over this time before the moment too.
   * The feed need not be connected.
   */
  pricesAt(time, options) {
    return readPricesAt(this.#addresses, { currency: this.#query.currency, key: this.#key }, time, options)
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
        this.#resume()
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
    globalThis.addEventListener?.('online', this.#check)
    globalThis.document?.addEventListener('visibilitychange', this.#check)
    // In a microtask, so that the caller can add all listeners before.
    queueMicrotask(() => {
      this.#connect()
      if (!this.#isClosed()) this.#share?.open()
    })
  }

  #connect() {
    for (const line of this.#lines) if (!this.#isClosed()) line.connect()
  }

  /** Connects again if the buffered updates have been read. */
  #resume() {
    if (this.connection.unread && this.#hasRoom()) this.#connect()
  }

  /** Checks the lines when the network is back or the page is visible again. */
  #check = () => {
    if (globalThis.document?.visibilityState === 'hidden') return
    for (const line of this.#lines) line.check()
  }

  /** Returns the owner of the lines. Its functions answer questions of a line, and receive what a line reports. */
  #owner() {
    return {
      key: this.#key,
      url: ({ address }) => urlOf(this.#addresses[address], this.#path, {
        ...this.#query, after: this.#cursor.last, since: this.#cursor.last === undefined ? this.#since : undefined,
      }),
      next: (line) => {
        const others = this.#lines.filter((other) => other !== line).map(({ address }) => address)
        const turns = this.#addresses.map((_, turn) => (line.address + 1 + turn) % this.#addresses.length)
        return turns.find((address) => !others.includes(address)) ?? line.address
      },
      isKnown: () => this.#cursor.moved,
      onOpen: (line, again) => {
        line.isRefused = false
        if (again) this.#counts[line.address].reconnects++
      },
      onMessage: (line, message) => this.#onMessage(line, message),
      onConnection: () => this.#onConnection(),
      onRefused: (line, reason) => this.#onRefused(line, reason),
    }
  }

  #onMessage(line, message) {
    if (message?.type === 'hello') return this.#emit({ ...message, url: this.#addresses[line.address].href })
    const isNew = !(message?.id <= this.#cursor.last)
    if (['tick', 'status'].includes(message?.type) && (isNew || this.#merge)) line.onUpdate(this.#cursor.chained)
    this.#share?.send(message)
    this.#deliverFrom(line, this.#merge ? this.#merge.receive(line, message) : this.#cursor.receive(message))
    if (message?.type === 'synced') {
      if (line.connection.state === 'replaying') line.setConnection({ state: 'live' })
      this.#emit(message)
    }
    for (const late of this.#merge?.late() ?? []) late.replace('the connection is late')
    // The line resumes after the last update that was delivered, so nothing is lost.
    if (this.#merge?.isFull && line.newest > this.#merge.hole.until) line.rest('too many entries wait for missing ones')
    this.#heal()
  }

  #deliverFrom(line, found) {
    for (const one of found) one.address ??= line.address
    this.#deliver(found)
  }

  /** Reads missing entries from the history. If the buffers are full, it stops, and the first message of the next
   *  connection starts it again. */
  async #heal() {
    if (this.#healing || this.#merge?.hole === undefined) return
    this.#healing = true
    try {
      while (this.#isHealable()) await this.#healHole(this.#merge.hole.before)
    } finally {
      this.#healing = false
    }
  }

  #isHealable() { return !this.#isClosed() && this.#hasRoom() && this.#merge.hole !== undefined }

  /** Asks every address for the entries before the id `before`. */
  async #healHole(before) {
    const isOpen = () => this.#isHealable() && this.#merge.hole.before === before
    const query = { currency: this.#query.currency, key: this.#key }
    let [begin, deadline, pause_ms] = [undefined, 0, HEAL_EVERY_MS]
    /** Addresses that have no more of the missing entries. */
    const answered = new Set()
    for (; ;) {
      for (const address of this.#addresses) {
        if (!isOpen()) return
        const messages = await readHistory(address, query, this.#merge.hole)
        if (!isOpen()) return
        const { after } = this.#merge.hole
        for (const message of messages ?? []) this.#deliver(this.#merge.heal(message))
        if (!isOpen()) return
        if (this.#merge.hole.after !== after) answered.clear()
        else if (messages !== undefined) answered.add(address)
      }
      const { after } = this.#merge.hole
      if (after !== begin) [begin, deadline, pause_ms] = [after, Date.now() + HEAL_FOR_MS, HEAL_EVERY_MS]
      const nobodyHasIt = answered.size === this.#addresses.length && !this.#merge.isAwaited
      if (nobodyHasIt || Date.now() > deadline) return this.#deliver(this.#merge.giveUp())
      await new Promise((wake) => setTimeout(wake, pause_ms))
      pause_ms = Math.min(2 * pause_ms, MAX_HEAL_EVERY_MS)
    }
  }

  /** Delivers updates, or buffers them for the next loop. Until an update is read, its `after` is the id to resume
   *  after. */
  #deliver(found) {
    for (const { update, after, address } of found) {
      if (this.#isClosed()) return
      if (update.type !== 'gap' && address !== undefined) this.#counts[address].taken++
      if (this.#readers.size === 0) this.#buffer(update, after)
      for (const reader of this.#readers) {
        reader.unread.push({ update, after })
        reader.wake()
      }
      // After a gap that ends before it begins, the feed continues at its end.
      this.#delivered = update.type !== 'gap' ? update.id : update.before < after ? update.before : after
      this.#emit(update)
    }
    // Some messages move the cursor without an update.
    if (!this.#isClosed()) this.#delivered = this.#cursor.last
    if (found.length === 0 || this.#hasRoom()) return
    for (const line of this.#lines) {
      line.disconnect()
      line.setConnection({ state: 'waiting', reason: 'the buffered updates have not been read', unread: true })
    }
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

  /** Reports the state of the best line. */
  #onConnection() {
    if (this.#isClosed()) return
    const rank = ({ connection }) => STATES.indexOf(connection.state)
    const { connection, address } = this.#lines.reduce((best, line) => (rank(line) > rank(best) ? line : best))
    if (connection === this.#best) return
    this.#best = connection
    this.connection = connection.shared ? connection : { ...connection, url: this.#addresses[address].href }
    this.#emit({ type: 'connection', ...this.connection })
  }

  /** Closes the feed if every line is rejected. Otherwise, the rejected line is tried again later. */
  #onRefused(line, reason) {
    line.isRefused = true
    if (this.#lines.every(({ isRefused }) => isRefused)) this.#close(reason, true)
    else line.rest(reason)
  }

  #emit({ type, ...detail }) {
    this.dispatchEvent(new CustomEvent(type, { detail: { type, ...detail } }))
  }

  #close(reason, refused = false) {
    if (this.#isClosed()) return
    globalThis.removeEventListener?.('online', this.#check)
    globalThis.document?.removeEventListener('visibilitychange', this.#check)
    this.#share?.close()
    for (const line of this.#lines) line.disconnect()
    this.connection = { state: 'closed', reason, refused }
    for (const line of this.#lines) line.close()
    this.#emit({ type: 'connection', ...this.connection })
    for (const reader of this.#readers) reader.wake()
  }
}
