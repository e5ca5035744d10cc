/**
 * One connection for all tabs of an origin. A lock of the browser decides which tab holds it. That tab sends the
 * entries that it receives to the others, which then close their own connections. If the tab is closed, the browser
 * gives the lock to the next one.
 *
 * A tab begins with a connection of its own, so that its replay does not depend on another tab. When the replay is over
 * and the holder sends an entry that the tab already has, or the next one, the tab follows the holder. If entries are
 * missing, or none comes for a while, the tab connects again, after its last id.
 */

import { NEVER_WRITTEN } from './cursor.js'

/** Messages that are sent to the other tabs. */
const SHARED = ['tick', 'status', 'gap']

export class Share {
  #name
  #line
  #cursor
  #deliver
  #channel
  #isHolder = false
  #release = () => {}
  #waiting = new AbortController()
  /** Gaps that have come before the next entry. */
  #gaps = []

  /** True if this runtime can share a connection. Pages over plain http cannot, unless the host is this machine. */
  static get isPossible() {
    return globalThis.BroadcastChannel !== undefined && globalThis.navigator?.locks !== undefined
  }

  /** Creates a share of the feeds with this name. `deliver` gets the updates of other tabs. */
  constructor(name, line, cursor, deliver) {
    this.#name = name
    this.#line = line
    this.#cursor = cursor
    this.#deliver = deliver
  }

  open() {
    this.#channel = new BroadcastChannel(this.#name)
    this.#channel.onmessage = ({ data }) => this.#receive(data)
    const { signal } = this.#waiting
    navigator.locks.request(this.#name, { signal }, () => new Promise((release) => {
      this.#release = release
      this.#isHolder = true
      if (this.#isFollowing) this.#line.connect()
    })).catch(() => { /* The feed was closed before it had the lock. */ })
  }

  close() {
    this.#channel?.close()
    this.#waiting.abort()
    this.#release()
  }

  /** Sends a message of this tab's connection to the others, if this tab holds the connection. */
  send(message) {
    if (this.#isHolder && SHARED.includes(message?.type)) this.#channel.postMessage(message)
  }

  get #isFollowing() { return this.#line.connection.shared === true }

  #receive(message) {
    if (this.#isHolder) return
    if (message.type === 'gap') {
      this.#gaps.push(message)
      return
    }
    const gaps = this.#gaps.splice(0)
    const isKnown = message.id <= this.#cursor.last
    const isNext = message.prev === this.#cursor.last
    if (!this.#isFollowing) {
      if (this.#line.connection.state !== 'live' || !(isKnown || isNext)) return
      this.#line.follow()
    }
    // A known entry does not restart the timer of the line. If only known entries come, for example because the feed
    // was restored from a copy, the timer ends and the line connects.
    if (isKnown) return
    if (!isNext) {
      this.#line.connect()
      return
    }
    this.#line.followed()
    // The entry follows the last one of this tab, so the tab lacks no entry, even if the holder does. Only gaps in
    // which nothing was written are delivered.
    const outages = gaps.filter(({ reason }) => NEVER_WRITTEN.includes(reason))
    this.#deliver([...outages, message].flatMap((one) => this.#cursor.receive(one)))
  }
}
