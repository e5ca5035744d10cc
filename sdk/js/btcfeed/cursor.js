/**
 * The position of a client in the feed. It tells which updates the client has, which are missing, and where the next
 * connection begins. Every SDK has this class, and `sdk/scenarios.json` tests all of them alike.
 *
 * Each entry names the entry before it in `prev`. No update is returned twice or out of order, unless the feed itself
 * goes back to an older id (`#synced`). If the server sends every entry, none is missing without a gap.
 */

/** Maximum number of returned gaps that are remembered. Before an entry, a server sends at most one for each currency,
 *  and a few others. */
const MAX_REPORTED_GAPS = 16
/** Reasons of gaps in which nothing was removed from the feed: there was no price, or ticks were never written. They do
 *  not explain why an entry is missing. */
export const NEVER_WRITTEN = ['source_outage', 'held_too_long']

/** Midnight of the day on which Bitcoin began. No entry has an older id. So a client that begins after an older id
 *  misses nothing if it gets the first entry of a feed. */
const FIRST_DAY_MS = 1_230_940_800_000

export class Cursor {
  /** Id of the last update that was received, or the one to begin after. The next connection resumes after it. */
  last
  /** True if an update has been received. */
  moved = false
  /** True if all entries are requested, so that the `prev` of each one must be the id of the one before. */
  chained
  /** Number of known updates that were dropped. */
  doubled = 0
  /** Gaps that were returned, and whose `before` is still ahead. After a reconnect, the server sends them again. */
  #reported = []

  constructor({ after, chained = true } = {}) {
    this.last = after
    this.chained = chained
  }

  /**
   * Receives a message. Returns the updates to deliver, as `[{ update, after }]`. If a client stops before it has read
   * `update`, it must resume after the id `after`.
   */
  receive(message) {
    switch (message?.type) {
      case 'tick': case 'status': return this.#entry(message)
      case 'gap': return this.#gap(message)
      case 'synced': return this.#synced(message.id)
    }
    // An entry of a new type continues the chain. Other messages may have an `id` and a `prev` by chance.
    if (Number.isSafeInteger(message?.id) && message.prev === this.last && message.id > this.last) {
      this.#moveTo(message.id)
    }
    return []
  }

  /** Returns true if the entry can be delivered now without an `unexplained` gap. */
  continues({ id, prev }) {
    return this.last === undefined || prev <= this.last || this.#isExplained(id)
  }

  #entry(update) {
    const after = this.last
    if (update.id <= after) {
      this.doubled++
      return []
    }
    const found = []
    const isNext = update.prev === after || (update.prev === 0 && after < FIRST_DAY_MS)
    if (this.chained && after !== undefined && !isNext && !this.#isExplained(update.id)) {
      found.push({ update: { type: 'gap', after, before: update.id, reason: 'unexplained' }, after })
    }
    this.#moveTo(update.id)
    found.push({ update, after })
    return found
  }

  /** Returns true if a gap explains why entries before `id` are missing. */
  #isExplained(id) {
    return this.#reported.some(({ before, reason }) => before === id && !NEVER_WRITTEN.includes(reason))
  }

  /** Returns the gap, unless it was returned before. */
  #gap(gap) {
    const text = JSON.stringify(gap)
    if (gap.before <= this.last || this.#reported.some((known) => JSON.stringify(known) === text)) return []
    this.#reported = [...this.#reported.slice(1 - MAX_REPORTED_GAPS), gap]
    return [{ update: gap, after: this.last }]
  }

  /**
   * Receives the end of the replay, which gives an id to a client that has none. If `id` is less than `last`, then
   * `last` is in the future of the feed, for example because the feed has lost its newest entries. The cursor moves
   * back to `id`, because it would otherwise drop the next entries as known.
   *
   * A server that leaves out ticks may send an `id` that is less than that of the last entry. Such an `id` is ignored.
   */
  #synced(id) {
    const after = this.last
    if (after <= id || (this.moved && !this.chained)) return []
    this.last = id
    this.#reported = []
    if (!this.moved) return []
    return [{ update: { type: 'gap', after, before: id, reason: 'unexplained' }, after }]
  }

  #moveTo(id) {
    this.last = id
    this.moved = true
    this.#reported = this.#reported.filter(({ before }) => before > id)
  }
}
