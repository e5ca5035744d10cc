/**
 * Several lines to one feed, merged: the first copy of each entry is delivered, and the others are dropped. The `prev`
 * of each entry names the one before it. An entry that does not continue the last one waits in `#waiting` until another
 * line or the history has closed the hole before it.
 */

/** Time by which a line may be later than another one. After that, it is replaced. */
const MAX_LAG_MS = 5_000
/** Time without a new entry after which a feed that begins before our last id counts as restored from a copy. */
const REWIND_AFTER_MS = 10_000

/** Reasons of gaps in which entries of the feed are missing, and not only prices. */
const MISSING_ENTRIES = ['history_expired', 'history_lost', 'replay_limit']

export class Merge {
  /** Number of entries that were delivered from the history. */
  healed = 0

  #cursor
  #lines
  #now
  #movedAt
  /** Entries behind a hole, `{ entry, gaps, address }`, in the order of their ids. */
  #waiting = []

  /** Creates a merge of `lines` with a cursor. `now` returns the time in milliseconds. */
  constructor(cursor, lines, now = Date.now) {
    this.#cursor = cursor
    this.#lines = lines
    this.#now = now
    this.#movedAt = now()
  }

  /** The hole before the first waiting entry, `{ after, before, until }`, or `undefined`. `until` is its last id. */
  get hole() {
    const first = this.#waiting[0]?.entry
    return first && { after: this.#cursor.last, before: first.id, until: first.prev }
  }

  /** Receives a message of a line. Returns the updates to deliver, like a cursor. */
  receive(line, message) {
    switch (message?.type) {
      case 'tick': case 'status':
        line.newest = message.id
        if (line.behind?.id <= message.id) line.behind = undefined
        return this.#entry(line, message)
      case 'gap':
        line.gaps.push(message)
        return []
      case 'synced': return this.#synced(line, message)
    }
    return this.#drain(this.#cursor.receive(message))
  }

  /** Receives a message of the history. */
  heal(message) {
    if (message.type === 'gap') return this.#drain(this.#cursor.receive(message))
    if (!(message.id > this.#cursor.last) || !this.#cursor.continues(message)) return []
    this.healed++
    return this.#drain(this.#deliver({ entry: message, gaps: [] }))
  }

  /** Delivers the entry after the hole, with a gap before it, because nothing can close the hole. */
  giveUp() {
    return this.#drain(this.#deliver(this.#waiting.shift()))
  }

  /** Returns the lines that are so late that they are to be replaced. */
  late() {
    const [last, now] = [this.#cursor.last, this.#now()]
    const late = []
    for (const line of this.#lines) {
      if (line.connection.state !== 'live' || line.newest >= last) continue
      line.behind ??= { id: last, at: now }
      if (now - line.behind.at > MAX_LAG_MS) late.push(line)
    }
    return late.length < this.#lines.length ? late : []
  }

  /** A gap that a line reports does not explain a hole: another line or the history may have what this line lacks. */
  #entry(line, entry) {
    const gaps = line.gaps.splice(0)
    const place = this.#waiting.findLastIndex((waiting) => waiting.entry.id <= entry.id)
    if (entry.id <= this.#cursor.last || this.#waiting[place]?.entry.id === entry.id) {
      this.#cursor.doubled++
      return []
    }
    if (!this.#cursor.continues(entry)) {
      this.#waiting.splice(place + 1, 0, { entry, gaps, address: line.address })
      return []
    }
    return this.#drain(this.#deliver({ entry, gaps, address: line.address }))
  }

  #deliver({ entry, gaps, address }) {
    this.#movedAt = this.#now()
    // What one line lacks is not missing if another line had it.
    const isNext = entry.prev === this.#cursor.last
    const missing = gaps.filter(({ reason }) => !isNext || !MISSING_ENTRIES.includes(reason))
    const found = [...missing, entry].flatMap((message) => this.#cursor.receive(message))
    for (const one of found) one.address = address
    return found
  }

  /** Delivers the waiting entries that the hole no longer holds back. */
  #drain(found) {
    while (this.#waiting.length > 0) {
      const { entry } = this.#waiting[0]
      const isKnown = entry.id <= this.#cursor.last
      if (!isKnown && !this.#cursor.continues(entry)) break
      const first = this.#waiting.shift()
      if (!isKnown) found.push(...this.#deliver(first))
    }
    return found
  }

  /**
   * Receives the end of a line's replay. A line may be a little later than another one, so an id before our last one
   * usually means nothing. The feed continues there only if every line is there, and nothing has come for a while.
   */
  #synced(line, message) {
    line.newest = Math.max(line.newest ?? 0, message.id)
    const gaps = line.gaps.splice(0).flatMap((gap) => this.#cursor.receive(gap))
    const { last, moved } = this.#cursor
    const isRestored = this.#now() - this.#movedAt > REWIND_AFTER_MS && this.#lines.every(({ newest }) => newest < last)
    return message.id < last && moved && !isRestored ? gaps : [...gaps, ...this.#cursor.receive(message)]
  }
}
