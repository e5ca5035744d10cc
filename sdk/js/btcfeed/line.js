/**
 * A line to a feed: one connection after the other, to one or several addresses, with a delay between two attempts. The
 * delays grow and are random, so that clients do not all reconnect at the same moment.
 */

import { openEvents, openWebSocket } from './connection.js'
import { parse } from './message.js'

/** Timeout for opening a connection. */
const CONNECT_TIMEOUT_MS = 10_000
/**
 * Times without a message after which a WebSocket counts as dead: the first one, and the longest one. If four intervals
 * of the feed are longer than the first one, they count instead. Browsers do not report pings, and a feed that is down
 * sends nothing, so a good connection can be silent. Therefore the time doubles after each silent connection, until an
 * update comes.
 */
const [SILENCE_MS, MAX_SILENCE_MS] = [15_000, 120_000]
/** Time without data after which an event stream counts as dead. Servers send a comment every 15 s, even if the feed is
 *  down. So this time does not grow, and it allows for two late comments. */
const EVENTS_SILENCE_MS = 50_000
const MAX_INTERVAL_MS = 86_400_000
/** First and longest delay before a retry. The delay doubles each time, and is randomised. */
const [FIRST_RETRY_MS, MAX_RETRY_MS] = [250, 15_000]

export class Line {
  /** `{ state: 'idle' | 'connecting' | 'replaying' | 'live' | 'waiting' | 'closed', retryAt?, reason? }` */
  connection = { state: 'idle' }
  /** Index of the line's address among the addresses of the feed. */
  address
  /** Newest id that has come over this connection. */
  newest
  /** `{ id, at }` while the line lacks an entry that the feed has already delivered: the id of this entry, and the
   *  moment when `Merge` noticed it. */
  behind
  /** Gaps that the line has received since its last entry. */
  gaps = []
  /** True if the server has rejected the line permanently. */
  isRefused = false

  #owner
  #openConnection
  #silence_ms
  /** True if the server sends comments while the feed has nothing to send. */
  #hasComments
  #timer
  #drop = () => {}
  #current = {}
  #isOpen = false
  /** True if a connection has been open. */
  #wasOpen = false
  /** Attempts since the last successful one. */
  #attempts = 0
  /** Number of silent connections that were replaced since the last update. */
  #silentConnections = 0
  #interval_ms = 0
  #lastMessageAt = 0
  /** Minimum delay before a retry, set by the server. */
  #minRetry_ms = 0
  /** End of the server's `Retry-After`. */
  #notBefore = 0

  /**
   * Creates a line. Its owner has `url(line)`, the URL for the next connection; `key`, the API key; `next(line)`, the
   * index of the next address; `onMessage(line, message)`; `onConnection(line)`, after each change of `connection`;
   * `onOpen(line, again)`; `onRefused(line, reason)`; and `isKnown()`, true if an update has been received.
   */
  constructor(owner, address, transport, silence_ms) {
    this.#owner = owner
    this.address = address
    this.#openConnection = transport === 'sse' ? openEvents : openWebSocket
    this.#hasComments = transport === 'sse'
    this.#silence_ms = silence_ms ?? (this.#hasComments ? EVENTS_SILENCE_MS : SILENCE_MS)
  }

  isClosed() { return this.connection.state === 'closed' }

  connect() {
    if (this.isClosed()) return
    this.disconnect()
    const current = this.#current
    const when = (handle) => (detail) => { if (this.#current === current) handle(detail) }
    try {
      this.#drop = this.#openConnection(this.#owner.url(this), this.#owner.key, {
        opened: when(() => {
          this.#isOpen = true
          this.#owner.onOpen(this, this.#wasOpen)
          this.#wasOpen = true
          this.#onActivity()
          this.setConnection({ state: 'replaying' })
        }),
        alive: when(() => this.#onActivity()),
        message: when((text) => this.#onMessage(text)),
        retry: when((ms) => { this.#minRetry_ms = ms }),
        ended: when((detail) => this.#onEnd(detail)),
        explained: (detail) => { if (this.#current.endedBy === current) this.#onExplained(detail) },
      })
    } catch (error) {
      // A page over https may not connect to ws, for example. A retry would not help.
      return this.#owner.onRefused(this, error.message)
    }
    this.setConnection({ state: 'connecting' })
    this.#setTimer(CONNECT_TIMEOUT_MS, () => this.#retry('the server does not answer'))
  }

  /** Drops the connection without waiting for its end: a dead connection may take minutes to close. */
  disconnect() {
    clearTimeout(this.#timer)
    this.#current = {}
    this.#isOpen = false
    this.newest = this.behind = undefined
    this.gaps = []
    this.#drop()
    this.#drop = () => {}
  }

  close() {
    this.disconnect()
    this.setConnection({ state: 'closed' })
  }

  /** Closes the connection. From now on, another tab sends its updates to this one. */
  follow() {
    this.disconnect()
    this.setConnection({ state: 'live', shared: true })
    this.followed()
  }

  /** Restarts the timer after an update from the other tab. When the timer expires, the line connects by itself. */
  followed() {
    this.#lastMessageAt = Date.now()
    this.#setTimer(this.#silenceLimit() * (1 + Math.random() / 4), () => this.connect())
  }

  /** Replaces the connection by one to the next address. */
  replace(reason) {
    this.#retry(reason, true)
  }

  /** Closes the connection. The next attempt follows after 50 to 100 % of the longest delay. */
  rest(reason) {
    this.disconnect()
    this.#move()
    this.#retryIn(MAX_RETRY_MS * (1 + Math.random()) / 2, reason)
  }

  /** Reconnects at once if the line is silent or waits for a retry. The owner calls this when the network is back or
   *  the page is visible again. */
  check() {
    const silent = this.connection.state === 'live' && Date.now() - this.#lastMessageAt > this.#silenceLimit()
    const waits = this.connection.state === 'waiting' && !this.connection.unread && Date.now() >= this.#notBefore
    if (silent || waits) this.connect()
  }

  setConnection(connection) {
    if (this.isClosed()) return
    this.connection = connection
    this.#owner.onConnection(this)
  }

  /** Records that an update has come, so the line works. With `changes` or `every`, `chained` is false. Silence is then
   *  normal, so the longer timeout stays. */
  onUpdate(chained) {
    this.#attempts = 0
    if (chained) this.#silentConnections = 0
  }

  #move() { this.address = this.#owner.next(this) }

  #onMessage(text) {
    this.#onActivity()
    const message = parse(text)
    if (message?.type === 'hello') this.#interval_ms = Math.min(Number(message.interval_ms) || 0, MAX_INTERVAL_MS)
    if (message?.type === 'synced') this.#attempts = 0
    this.#owner.onMessage(this, message)
  }

  #onEnd({ reason, soon, permanent, noFeed, notBefore_ms = 0 }) {
    if (permanent && !(noFeed && this.#owner.isKnown())) return this.#owner.onRefused(this, reason)
    const ended = this.#current
    this.#retry(reason, soon)
    this.#current.endedBy = ended
    this.#waitUntil(notBefore_ms, reason)
  }

  #onExplained({ reason, permanent, noFeed, notBefore_ms }) {
    if (this.connection.state !== 'waiting') return
    if (permanent && !(noFeed && this.#owner.isKnown())) return this.#owner.onRefused(this, reason)
    this.#waitUntil(notBefore_ms, reason)
  }

  /** Obeys the server's `Retry-After`. */
  #waitUntil(ms, reason) {
    if (ms === 0 || this.connection.state !== 'waiting') return
    this.#notBefore = Date.now() + ms
    this.#retryIn(Math.max(ms, this.connection.retryAt - Date.now()), reason)
  }

  /** Schedules a retry with backoff, or `soon` if another replica can take over at once. */
  #retry(reason, soon = false) {
    this.disconnect()
    this.#move()
    const bound = Math.min(FIRST_RETRY_MS * 2 ** (soon ? 0 : this.#attempts++), MAX_RETRY_MS)
    this.#retryIn(this.#minRetry_ms + bound * (soon ? Math.random() : (1 + Math.random()) / 2), reason)
  }

  #retryIn(delay_ms, reason) {
    this.setConnection({ state: 'waiting', reason, retryAt: Math.ceil(Date.now() + delay_ms) })
    this.#setTimer(delay_ms, () => this.connect())
  }

  #setTimer(ms, callback) {
    clearTimeout(this.#timer)
    // A listener may have closed the feed.
    if (!this.isClosed()) this.#timer = setTimeout(callback, ms)
  }

  /** Restarts the silence timer. A silent connection may be dead, and is replaced. The limit is random, because all
   *  clients get the last update of a feed at the same moment. */
  #onActivity() {
    this.#lastMessageAt = Date.now()
    if (!this.#isOpen) return
    const limit_ms = this.#silenceLimit()
    const longer_ms = Math.min(limit_ms * 2 ** this.#silentConnections, MAX_SILENCE_MS)
    const chosen_ms = (this.#hasComments ? limit_ms : Math.max(limit_ms, longer_ms)) * (1 + Math.random() / 4)
    this.#setTimer(chosen_ms, () => {
      this.#silentConnections++
      this.#move()
      this.connect()
    })
  }

  #silenceLimit() {
    return this.#hasComments ? this.#silence_ms : Math.max(this.#silence_ms, 4 * this.#interval_ms)
  }
}
