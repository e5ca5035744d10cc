/**
 * Several lines to one feed, merged: the first copy of each entry is delivered, and the others are dropped. The `prev`
 * of each entry names the one before it. An entry that does not continue the last one waits in `#waiting` until another
 * line or the history has closed the hole before it.
 */

import { NEVER_WRITTEN } from './cursor.js'

/** Time by which a line may be later than another one. After that, it is replaced. */
const MAX_LAG_MS = 5_000
/** If no new entry comes for this time, and the newest id of the feed is less than our last id, the feed counts as
 *  restored from a copy. */
const REWIND_AFTER_MS = 10_000

/** Reasons of gaps in which entries of the feed are missing, and not only prices. */
const MISSING_ENTRIES = ['history_expired', 'history_lost', 'replay_limit']
/** Maximum number of waiting entries. */
export const MAX_WAITING = 10_000

/** Returns true if a gap may be the reason why entries are missing. */
const explains = ({ reason }) => !NEVER_WRITTEN.includes(reason)

export class Merge {
  /** Number of entries that were delivered from the history. */
  healed = 0

  #cursor
  #lines
  #now
  #movedAt
  /** Entries behind a hole, `{ entry, gaps, address }`, in the order of their ids. No address means the history. */
  #waiting = []
  /** Gaps of the history that have not been used yet. */
  #gaps = []

  /** Creates a merge of `lines` with a cursor. `now` returns the time in milliseconds. */
  constructor(cursor, lines, now = Date.now) {
    this.#cursor = cursor
    this.#lines = lines
    this.#now = now
    this.#movedAt = now()
  }

  /** The hole before the first waiting entry, `{ after, before, until }`, or `undefined`. `until` is the id of the last
   *  missing entry. */
  get hole() {
    const first = this.#waiting[0]?.entry
    return first && { after: this.#cursor.last, before: first.id, until: first.prev }
  }

  /** True if so many entries wait that a line that cannot close the hole must not be read. */
  get isFull() { return this.#waiting.length >= MAX_WAITING }

  /** True if a line has not come to the end of the hole yet, so that it may still send the missing entries. */
  get isAwaited() {
    const { until } = this.hole
    return this.#lines.some(({ newest }) => newest < until)
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

  /**
   * Receives a message of the history. A gap there does not explain a hole, because the history of another address
   * may have what this one lacks. The gap is delivered if the hole is given up.
   */
  heal(message) {
    switch (message.type) {
      case 'gap':
        this.#gaps.push(message)
        return []
      case 'tick': case 'status': return this.#healEntry(message)
    }
    return this.#drain(this.#cursor.receive(message))
  }

  /** Delivers the entry after the hole, with a gap before it, because nothing can close the hole. */
  giveUp() {
    const first = this.#waiting.shift()
    const found = this.#takeGaps(first.entry.id)
    const isExplained = first.gaps.some(explains)
    const gaps = [...first.gaps, ...found.filter((gap) => !(isExplained && explains(gap)))]
    return this.#drain(this.#deliver({ ...first, gaps }))
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
    if (this.#isKnown(entry.id)) {
      this.#cursor.doubled++
      return []
    }
    return this.#add({ entry, gaps, address: line.address })
  }

  #healEntry(entry) {
    const gaps = this.#takeGaps(entry.id)
    return this.#isKnown(entry.id) ? [] : this.#add({ entry, gaps })
  }

  /** Takes the gaps of the history that end at this entry or before. Several addresses may explain the same hole, so
   *  only the last explanation is returned. */
  #takeGaps(id) {
    const found = this.#gaps.filter(({ before }) => before <= id && before > this.#cursor.last)
    this.#gaps = this.#gaps.filter(({ before }) => before > id)
    const best = found.findLast(explains)
    return found.filter((gap) => gap === best || !explains(gap))
  }

  /** Delivers an entry, or adds it to the waiting ones. */
  #add(added) {
    if (this.#cursor.continues(added.entry)) return this.#drain(this.#deliver(added))
    this.#waiting.splice(this.#place(added.entry.id), 0, added)
    return []
  }

  #isKnown(id) {
    return id <= this.#cursor.last || this.#waiting[this.#place(id)]?.entry.id === id
  }

  /** Returns the place of the first waiting entry that has this id or a later one. */
  #place(id) {
    let [first, end] = [0, this.#waiting.length]
    while (first < end) {
      const middle = (first + end) >> 1
      if (this.#waiting[middle].entry.id < id) first = middle + 1
      else end = middle
    }
    return first
  }

  #deliver({ entry, gaps, address }) {
    this.#movedAt = this.#now()
    if (address === undefined) this.healed++
    // If the entry follows our last one, no entry is missing, even if its line lacked some. So gaps of missing entries
    // are dropped.
    const isNext = entry.prev === this.#cursor.last
    const missing = gaps.filter(({ reason }) => !isNext || !MISSING_ENTRIES.includes(reason))
    const found = [...missing, entry].flatMap((message) => this.#cursor.receive(message))
    for (const one of found) one.address = address
    return found
  }

  /** Delivers the waiting entries that the hole no longer holds back. */
  #drain(found) {
    let taken = 0
    for (; taken < this.#waiting.length; taken++) {
      const { entry } = this.#waiting[taken]
      const isKnown = entry.id <= this.#cursor.last
      if (!isKnown && !this.#cursor.continues(entry)) break
      if (!isKnown) found.push(...this.#deliver(this.#waiting[taken]))
    }
    this.#waiting.splice(0, taken)
    if (this.#waiting.length === 0) this.#gaps = []
    return found
  }

  /**
   * Receives the end of a line's replay. A line may be a little later than another one, so an id before our last one
   * is usually ignored. If every line is before our last id, and no entry has come for a while, the feed was restored
   * from a copy. It then continues at the id of this message.
   */
  #synced(line, message) {
    line.newest = Math.max(line.newest ?? 0, message.id)
    const gaps = line.gaps.splice(0).flatMap((gap) => this.#cursor.receive(gap))
    const { last, moved } = this.#cursor
    const isRestored = this.#now() - this.#movedAt > REWIND_AFTER_MS && this.#lines.every(({ newest }) => newest < last)
    return message.id < last && moved && !isRestored ? gaps : [...gaps, ...this.#cursor.receive(message)]
  }
}
