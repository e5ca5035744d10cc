// The part of the chosen range that the chart shows. It ends at the present, unless the visitor has moved it.

/** The shortest time that can be shown. */
const MIN_MS = 60_000
/** A distance from the present, as a share of the window's length. If the visitor moves the window forward and its end
 *  comes this close, the window ends at the present. */
const SNAP = 0.05

export class Viewport extends EventTarget {
  #range_ms
  #now
  #ms = Infinity
  /** The last moment that is shown, or `null` if the window ends at the present. */
  #end = null

  /** `now` returns the time of the feed. */
  constructor(now) {
    super()
    this.#now = now
  }

  /** Sets the length of the range, and shows all of it. */
  setRange(ms) {
    if (ms === this.#range_ms) return
    this.#range_ms = ms
    this.reset()
  }

  get isZoomed() {
    return this.#ms < this.#range_ms
  }

  get isClosest() {
    return this.#ms <= MIN_MS
  }

  /** True if the window ends at the present. */
  get isLive() {
    return this.#end === null
  }

  /** The first and the last moment that are shown. */
  window() {
    const now = this.#now()
    const ms = Math.min(this.#ms, this.#range_ms)
    const until = this.#end === null ? now : Math.min(Math.max(this.#end, now - this.#range_ms + ms), now)
    return { from: until - ms, until }
  }

  /** Multiplies the length of the window by `factor`. The moment at `share` (0 is the start of the window, 1 its end)
   *  keeps its place. Returns false if nothing has changed. */
  zoom(factor, share = 1) {
    const { from, until } = this.window()
    const ms = Math.min(Math.max((until - from) * factor, MIN_MS), this.#range_ms)
    if (ms === until - from) return false
    const end = this.isLive && share === 1 ? null : from + (until - from) * share + ms * (1 - share)
    return this.#set(ms, end)
  }

  /** Moves the window by a share of its length. Returns false if nothing has changed. */
  pan(share) {
    if (!this.isZoomed) return false
    const { from, until } = this.window()
    const end = until + (until - from) * share
    const isAtEnd = share > 0 && end >= this.#now() - (until - from) * SNAP
    return this.#set(until - from, isAtEnd ? null : end)
  }

  /** Shows the whole range. */
  reset() {
    this.#set(Infinity, null)
  }

  #set(ms, end) {
    const before = this.window()
    this.#ms = ms >= this.#range_ms ? Infinity : ms
    this.#end = this.isZoomed ? end : null
    const after = this.window()
    if (Math.abs(before.from - after.from) < 1 && Math.abs(before.until - after.until) < 1) return false
    this.dispatchEvent(new Event('change'))
    return true
  }
}
