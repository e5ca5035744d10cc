// Data of the page: ticks of the last hour, candles for the time before, gaps and statuses.

const HOUR = 3_600_000
/** Age at which ticks are dropped. */
const RETENTION_MS = 65 * 60_000
const MAX_TICKS = 100_000
/** Time after its end at which a candle is complete on every replica. */
const SETTLED_MS = 2000
/** Shortest time between two requests for candles. */
const RELOAD_MS = 30_000

/** Ranges that a visitor can choose. Ranges up to an hour are drawn from ticks, longer ones from candles. */
export const RANGES = {
  '15m': { ms: HOUR / 4, words: '15 minutes' },
  '1h': { ms: HOUR, words: 'hour' },
  '6h': { ms: 6 * HOUR, words: '6 hours', interval: '1m', interval_ms: 60_000 },
  '24h': { ms: 24 * HOUR, words: '24 hours', interval: '5m', interval_ms: 300_000 },
}

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
  #firsts = {}

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

  /** Sets the first tick of a currency in the longest range, and the first entry of the feed. */
  addFirst(currency, first) {
    this.#firsts[currency] = first
  }

  /** True if the curve of a currency begins late in a range and the reason is not known yet. */
  wantsFirst(currency, range, from) {
    return this.#firsts[currency] === undefined && isLate(this.points(currency, range, from)[0]?.t, range, from)
  }

  /** The beginning of the feed, if it is late in a range. */
  began(range, from) {
    const [begin] = Object.values(this.#firsts).flatMap((first) => first.begin?.id ?? [])
    return isLate(begin, range, from) ? begin : undefined
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

  /** True if candles from a moment on are loaded. */
  hasCandles({ interval, interval_ms }, from) {
    const known = this.#candles.get(interval)
    return known !== undefined && known.from <= from + interval_ms
  }

  /** True if candles must be requested again. The candle in which the ticks begin was not complete at the first request, and the
   *  replica that answered may have been behind the stream. So candles are requested again when it is complete. */
  wantsCandles({ interval, interval_ms }, now) {
    const known = this.#candles.get(interval)
    const whole = this.#firstWhole(interval_ms)
    // If the time is in the future, this machine's clock was set back after the request.
    return known === undefined || known.at > now + interval_ms
      || (known.at < whole && now > Math.max(whole + SETTLED_MS, known.at + RELOAD_MS))
  }

  /** The start of the first candle all of whose ticks are loaded. */
  #firstWhole(interval_ms) {
    return Math.ceil(this.since / interval_ms) * interval_ms
  }

  /** The curve of a currency from a moment on: points with a time and a value. Points of candles have a low and a high too. */
  points(currency, range, from) {
    if (range.interval === undefined) {
      const begin = this.#ticks.findLastIndex((tick) => tick.id < from)
      return this.#ticks.slice(Math.max(begin, 0)).filter((tick) => currency in tick.prices)
        .map((tick) => ({ t: tick.id, value: tick.prices[currency] }))
    }
    const gaps = this.gaps(currency, from)
    const first = this.#firsts[currency]?.tick?.id
    return this.#candlesOf(currency, range, from).flatMap((candle, index, all) => pointsOf(candle, all[index - 1], gaps, first))
  }

  /** The candles of the server, continued with candles that are built from ticks, so that the end of the curve is live. Adding
   *  a tick to a candle that contains it already changes nothing. */
  #candlesOf(currency, { interval, interval_ms }, from) {
    const { candles, at } = this.#candles.get(interval) ?? { candles: [], at: 0 }
    const whole = this.#firstWhole(interval_ms)
    const found = candles.filter(({ id, prices }) => id + interval_ms >= from && id < whole && currency in prices)
      .map(({ id, prices }) => ({ start: id, end: id + interval_ms, ...prices[currency] }))
    for (const { id, prices } of this.#ticks) {
      const value = prices[currency]
      if (id < this.since || id + interval_ms < from || value === undefined) continue
      const start = Math.floor(id / interval_ms) * interval_ms
      const last = found.at(-1)
      if (start < last?.start) continue
      if (last?.start !== start) found.push({ start, end: start + interval_ms, open: value, low: value, high: value, close: value })
      else Object.assign(last, { close: value, low: Math.min(last.low, value), high: Math.max(last.high, value) })
    }
    // The last candle is not complete. It ends with the last tick, or at the time of the request.
    const [newest, tick] = [found.at(-1), this.last(currency)]
    if (newest !== undefined) newest.end = Math.min(newest.end, tick?.id >= newest.start ? tick.id : Math.max(at, newest.start))
    return found
  }

  /** The gaps of a currency after a moment, each with the reason in the feed's status at the time (`why`). */
  gaps(currency, from) {
    return this.#gaps.filter((gap) => gap.before > from && (gap.currencies?.includes(currency) ?? true))
      .map((gap) => ({ ...gap, why: this.why(gap.after, gap.before) }))
  }

  /** The reason of the last status between two moments whose state is not `live`. */
  why(after, before) {
    return this.#statuses.findLast(({ id, state }) => id > after && id <= before && state !== 'live')?.reason
  }

  #addGap(gap) {
    const same = (other) => other.after === gap.after && other.before === gap.before && `${other.currencies}` === `${gap.currencies}`
    if (!this.#gaps.some(same)) this.#gaps.push(gap)
  }

  #forget(moment) {
    const excess = Math.max(this.#ticks.length - MAX_TICKS, 0)
    // Ticks are dropped at most once a minute.
    if (excess === 0 && this.#ticks[0].id > moment - 60_000) return
    const cut = Math.max(excess, this.#ticks.findIndex((tick) => tick.id > moment))
    this.#ticks.splice(0, cut)
    this.since = this.#ticks[0].id
    this.#statuses = this.#statuses.filter((status) => status === this.status || status.id > moment - 24 * HOUR)
    this.#gaps = this.#gaps.filter((gap) => gap.before > moment - 24 * HOUR)
  }
}

/** True if a moment is not near the beginning of a range, so that data from this moment on does not cover the range. */
export const isLate = (moment, range, from) => moment > from + range.ms / 8

/** The points of a candle. There is a point for its close: at its end, or at the start of a gap that covers its end. If there is
 *  no candle right before it, or a gap covers its start, there is also a point for its open: at its start, at the `first` tick if
 *  that is later, or at the end of the gap. */
const pointsOf = ({ start, end, open, low, high, close }, previous, gaps, first) => {
  const startGap = gaps.find((gap) => gap.after < start && gap.before >= start && gap.before < end)
  const endGap = gaps.find((gap) => gap.after > start && gap.after < end && gap.before >= end)
  const begin = first > start && first < end ? first : start
  const opens = startGap?.before ?? (previous?.end === start ? undefined : begin)
  const opening = opens === undefined ? [] : [{ t: opens, value: open, low: open, high: open }]
  return [...opening, { t: endGap?.after ?? end, value: close, low, high }]
}

/** The lowest and the highest value of points, or `undefined` if there are no points. */
export const extremes = (points) => {
  if (points.length === 0) return undefined
  let [lowest, highest] = [Infinity, -Infinity]
  for (const { value, low = value, high = value } of points) {
    lowest = Math.min(lowest, low)
    highest = Math.max(highest, high)
  }
  return [lowest, highest]
}

/** Gaps that the feed did not report: times longer than `limit_ms` without an update. */
export const silences = (points, gaps, limit_ms) => {
  const found = []
  for (let i = 1; i < points.length; i++) {
    const [after, before] = [points[i - 1].t, points[i].t]
    if (before - after <= limit_ms) continue
    const reported = gaps.some((gap) => gap.after < before && gap.before > after)
    if (!reported) found.push({ after, before, reason: 'silence' })
  }
  return found
}
