// Data of the page: ticks of the last hour, candles for the time before, gaps and statuses.

import { addPrice } from './candles.js'
import { DAY, HOUR, INTERVALS } from './ranges.js'

/** Age at which ticks are dropped. */
const RETENTION_MS = HOUR + 5 * 60_000
/** Age at which statuses and gaps are dropped. */
const GAPS_MS = 30 * DAY
const MAX_TICKS = 100_000
/** Time from the end of a candle until the candle is complete on every replica. */
const SETTLED_MS = 2000
/** Time for which the candles of the last day are used before they are requested again. Until then, ticks are added at
 *  their end. */
const DAY_VALID_MS = INTERVALS['5m']
/** Shortest time between two requests for candles. */
const RELOAD_MS = 30_000

export class Series {
  /** Moment from which on all ticks are loaded. */
  since = Infinity
  /** The newest status of the feed, or `null` if it is not known. */
  status = null

  #ticks = []
  #statuses = []
  #gaps = []
  #candles = new Map()
  #lasts = {}
  /** Candles of the last day, and when they were requested. */
  #day = { candles: [], at: -Infinity }

  /** The newest tick that has a price in a currency. */
  last(currency) {
    return this.#ticks.findLast((tick) => currency in tick.prices) ?? this.#lasts[currency]
  }

  /** Adds an update of the stream. */
  add(update) {
    if (update.type === 'tick') {
      this.#ticks.push(update)
      this.since = Math.min(this.since, update.id)
      this.#forget(update.id - RETENTION_MS)
    } else if (update.type === 'status') {
      this.#statuses.push(update)
      this.status = update
    } else {
      this.#addGap(update)
    }
  }

  /** Adds entries of the history from before the stream. They are complete from `since` on. */
  addOlder(entries, since) {
    const before = (all) => (entry) => entry.id < (all[0]?.id ?? Infinity)
    const of = (type) => entries.filter((entry) => entry.type === type)
    this.#ticks = [...of('tick').filter(before(this.#ticks)), ...this.#ticks]
    this.#statuses = [...of('status').filter(before(this.#statuses)), ...this.#statuses]
    this.status ??= this.#statuses.at(-1) ?? null
    for (const gap of of('gap')) this.#addGap(gap)
    this.since = Math.min(this.since, since)
  }

  /** Sets the last tick of a currency that has no tick in the loaded data. */
  addLast(currency, tick) {
    this.#lasts[currency] = tick
  }

  /** Sets the candles of the last day, which were requested at the time `at`. */
  addDay(candles, at) {
    this.#day = { candles, at }
  }

  /** True if the candles of the last day are missing or too old. Up to the first full hour of the day they are candles
   *  of 5 minutes, and from then on candles of an hour. If they are used for too long, the day begins inside a candle
   *  of an hour, and the first price of that candle is from before the day. */
  wantsDay(now) {
    return Math.abs(now - this.#day.at) > DAY_VALID_MS
  }

  /** The last day of a currency: its candles, which are continued with ticks. `isKnown` is false if the candles are not
   *  loaded. */
  day(currency, now) {
    const { candles, at } = this.#day
    const found = candles.filter(({ end, prices }) => end > now - DAY && currency in prices)
      .map(({ t, end, prices: { [currency]: { open, high, low, close } } }) => ({ t, end, open, high, low, value: close }))
    const newest = found.at(-1)?.t ?? -Infinity
    for (const { id, prices } of this.#ticks) if (id >= newest && currency in prices) addPrice(found, id, prices[currency], HOUR)
    return { candles: found, isKnown: at > -Infinity }
  }

  /** True if there is no room for more ticks. Then ticks before `since` are not loaded. */
  get isFull() {
    return this.#ticks.length >= MAX_TICKS
  }

  /** Sets the candles of an interval, which were requested at the time `at` for the time since `from`. */
  addCandles(interval, { candles, gaps }, from, at) {
    this.#candles.set(interval, { candles, from, at })
    for (const gap of gaps) this.#addGap(gap)
  }

  /** True if all data from a moment on is loaded: candles of an interval, or ticks if there is no interval. Ticks also
   *  count as loaded if there is no room for more. */
  has(interval, from) {
    if (interval === undefined) return this.isFull || this.since <= from + 1000
    const known = this.#candles.get(interval)
    return known !== undefined && known.from <= from + INTERVALS[interval]
  }

  /** True if candles must be requested, for the first time or again. At the first request, the candle in which the
   *  ticks begin was not complete, and the replica that answered may have been behind the stream. So the candles are
   *  requested again when that candle is complete. */
  wantsCandles(interval, now) {
    const known = this.#candles.get(interval)
    const whole = this.#firstWhole(INTERVALS[interval])
    // If the time of the request is in the future, this machine's clock was set back after the request.
    return known === undefined || known.at > now + INTERVALS[interval]
      || (known.at < whole && now > Math.max(whole + SETTLED_MS, known.at + RELOAD_MS))
  }

  /** The start of the first candle all of whose ticks are loaded. */
  #firstWhole(step) {
    return Math.ceil(this.since / step) * step
  }

  /** The ticks of a currency in a window, and the one before it: `{ t, value }`. */
  ticks(currency, { from, until }) {
    const begin = this.#ticks.findLastIndex((tick) => tick.id < from)
    return this.#ticks.slice(Math.max(begin, 0)).filter((tick) => currency in tick.prices && tick.id <= until)
      .map((tick) => ({ t: tick.id, value: tick.prices[currency] }))
  }

  /** The candles of a currency in a window. Those of the server are continued with candles that are made of ticks, so
   *  that the last one is live. */
  candles(currency, interval, { from, until }) {
    const step = INTERVALS[interval]
    const { candles } = this.#candles.get(interval) ?? { candles: [] }
    const whole = this.#firstWhole(step)
    const found = candles.filter(({ id, prices }) => id + step > from && id < Math.min(whole, until) && currency in prices)
      .map(({ id, prices }) => {
        const { open, high, low, close } = prices[currency]
        return { t: id, end: id + step, open, high, low, value: close }
      })
    for (const { id, prices } of this.#ticks) {
      if (id >= this.since && id + step > from && id <= until && currency in prices) addPrice(found, id, prices[currency], step)
    }
    return found
  }

  /** The gaps of a currency in a window, each with the reason in the feed's status at the time (`why`). */
  gaps(currency, { from, until }) {
    return this.#gaps.filter((gap) => gap.before > from && gap.after < until && (gap.currencies?.includes(currency) ?? true))
      .map((gap) => ({ ...gap, why: this.why(gap.after, gap.before) }))
  }

  /** The reason of the last status that is not `live` between two moments. */
  why(after, before) {
    return this.#statuses.findLast(({ id, state }) => id > after && id <= before && state !== 'live')?.reason
  }

  #addGap(gap) {
    const same = (other) => other.after === gap.after && other.before === gap.before && `${other.currencies}` === `${gap.currencies}`
    if (!this.#gaps.some(same)) this.#gaps.push(gap)
  }

  #forget(moment) {
    const excess = Math.max(this.#ticks.length - MAX_TICKS, 0)
    // Ticks are dropped at most once a minute, unless there are too many.
    if (excess === 0 && this.#ticks[0].id > moment - 60_000) return
    const cut = Math.max(excess, this.#ticks.findIndex((tick) => tick.id > moment))
    this.#ticks.splice(0, cut)
    this.since = this.#ticks[0].id
    this.#statuses = this.#statuses.filter((status) => status === this.status || status.id > moment - GAPS_MS)
    this.#gaps = this.#gaps.filter((gap) => gap.before > moment - GAPS_MS)
  }
}

/** Times without data that are longer than `limit_ms` and that the feed did not report as gaps. Such a time is between
 *  two points or, if all data is loaded, before the first point. */
export const silences = (points, gaps, limit_ms, { from, until }, isLoaded) => {
  const found = []
  const isReported = (after, before) => gaps.some((gap) => gap.after < before && gap.before > after)
  const first = points[0]?.t ?? until
  if (isLoaded && first - from > limit_ms && !isReported(from, first)) found.push({ after: from, before: first, reason: 'unrecorded' })
  for (let i = 1; i < points.length; i++) {
    const [after, before] = [points[i - 1].end ?? points[i - 1].t, points[i].t]
    if (before - after > limit_ms && !isReported(after, before)) found.push({ after, before, reason: 'silence' })
  }
  return found
}
