// What the page knows of the feed: ticks of the last hour, candles of what is older, gaps and statuses.

const HOUR = 3_600_000
const KEPT_MS = 65 * 60_000
const MOST_TICKS = 100_000
/** How long after its end a candle is whole wherever one asks, and how long it is at least until one asks again. */
const SETTLED_MS = 2000
const AGAIN_MS = 30_000

/** What one can look at: an hour and less tick by tick, more as candles. */
export const RANGES = {
  '15m': { ms: HOUR / 4, words: '15 minutes' },
  '1h': { ms: HOUR, words: 'hour' },
  '6h': { ms: 6 * HOUR, words: '6 hours', interval: '1m', interval_ms: 60_000 },
  '24h': { ms: 24 * HOUR, words: '24 hours', interval: '5m', interval_ms: 300_000 },
}

export class Series {
  /** From this moment on every tick is here. */
  since = Infinity
  /** What the feed said last of its health; `null` if that is not known. */
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

  /** Takes in an update of the stream. */
  add(update) {
    if (update.type === 'tick') {
      this.#ticks.push(update)
      this.since = Math.min(this.since, update.id)
      this.#forget(update.id - KEPT_MS)
    } else if (update.type === 'status') {
      this.#statuses.push(update)
      this.status = update
    } else {
      this.#addGap(update)
    }
  }

  /** Takes in what was before, which the stream does not have; complete from `since` on. */
  addOlder(entries, since) {
    const before = (all) => (entry) => entry.id < (all[0]?.id ?? Infinity)
    const of = (type) => entries.filter((entry) => entry.type === type)
    this.#ticks = [...of('tick').filter(before(this.#ticks)), ...this.#ticks]
    this.#statuses = [...of('status').filter(before(this.#statuses)), ...this.#statuses]
    this.status ??= this.#statuses.at(-1) ?? null
    for (const gap of of('gap')) this.#addGap(gap)
    this.since = Math.min(this.since, since)
  }

  /** Takes in the last tick of a currency that has had none for longer than we look back. */
  addLast(currency, tick) {
    this.#lasts[currency] = tick
  }

  /** Takes in with which tick a currency begins, of all that one can look at, and with which entry the feed does. */
  addFirst(currency, first) {
    this.#firsts[currency] = first
  }

  /** Whether the curve of a currency begins so late that one should know why. */
  wantsFirst(currency, range, from) {
    return this.#firsts[currency] === undefined && isLate(this.points(currency, range, from)[0]?.t, range, from)
  }

  /** When the feed began, if it did so late in a range. */
  began(range, from) {
    const [begin] = Object.values(this.#firsts).flatMap((first) => first.begin?.id ?? [])
    return isLate(begin, range, from) ? begin : undefined
  }

  /** Whether there are more ticks than are kept: then those before `since` are not asked for again. */
  get isFull() {
    return this.#ticks.length >= MOST_TICKS
  }

  /** Takes in candles; `from` is where they were asked from, `at` when. */
  addCandles(interval, { candles, gaps }, from, at) {
    this.#candles.set(interval, { candles, from, at })
    for (const gap of gaps) this.#addGap(gap)
  }

  /** Whether candles are there from a moment on. */
  hasCandles({ interval, interval_ms }, from) {
    const known = this.#candles.get(interval)
    return known !== undefined && known.from <= from + interval_ms
  }

  /** Whether it is time to ask for candles again. The one in which the ticks begin was not over when they were asked for, and
   *  who answered may have been behind the stream; so it is asked for once more when it is. */
  wantsCandles({ interval, interval_ms }, now) {
    const known = this.#candles.get(interval)
    const whole = this.#firstWhole(interval_ms)
    // A moment in the future is from a clock that has been set since.
    return known === undefined || known.at > now + interval_ms
      || (known.at < whole && now > Math.max(whole + SETTLED_MS, known.at + AGAIN_MS))
  }

  /** From here on every tick of every candle is here. */
  #firstWhole(interval_ms) {
    return Math.ceil(this.since / interval_ms) * interval_ms
  }

  /** The curve of a currency from a moment on: points with a time and a value and, of candles, the lowest and highest. */
  points(currency, range, from) {
    if (range.interval === undefined) {
      const begin = this.#ticks.findLastIndex((tick) => tick.id < from)
      return this.#ticks.slice(Math.max(begin, 0)).filter((tick) => currency in tick.prices)
        .map((tick) => ({ t: tick.id, value: tick.prices[currency] }))
    }
    const gaps = this.gaps(currency, from)
    const first = this.#firsts[currency]?.tick?.id
    return this.#candlesOf(currency, range, from).flatMap((candle, place, all) => pointsOf(candle, all[place - 1], gaps, first))
  }

  /** Candles as they came. Where every tick is here they are made of those, and the one before goes on with them, so that
   *  the end is as live as the price. A tick that is in a candle already changes nothing. */
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
    // The last one is not over: it ends with the last tick, or when it was asked for.
    const [newest, tick] = [found.at(-1), this.last(currency)]
    if (newest !== undefined) newest.end = Math.min(newest.end, tick?.id >= newest.start ? tick.id : Math.max(at, newest.start))
    return found
  }

  /** The gaps that a currency has after a moment, each with the reason that the feed gave while it lasted. */
  gaps(currency, from) {
    return this.#gaps.filter((gap) => gap.before > from && (gap.currencies?.includes(currency) ?? true))
      .map((gap) => ({ ...gap, why: this.why(gap.after, gap.before) }))
  }

  /** What the feed said between two moments was wrong with it. */
  why(after, before) {
    return this.#statuses.findLast(({ id, state }) => id > after && id <= before && state !== 'live')?.reason
  }

  #addGap(gap) {
    const same = (other) => other.after === gap.after && other.before === gap.before && `${other.currencies}` === `${gap.currencies}`
    if (!this.#gaps.some(same)) this.#gaps.push(gap)
  }

  #forget(moment) {
    const excess = Math.max(this.#ticks.length - MOST_TICKS, 0)
    // Now and then is enough.
    if (excess === 0 && this.#ticks[0].id > moment - 60_000) return
    const cut = Math.max(excess, this.#ticks.findIndex((tick) => tick.id > moment))
    this.#ticks.splice(0, cut)
    this.since = this.#ticks[0].id
    this.#statuses = this.#statuses.filter((status) => status === this.status || status.id > moment - 24 * HOUR)
    this.#gaps = this.#gaps.filter((gap) => gap.before > moment - 24 * HOUR)
  }
}

/** Whether a moment is so late in a range that what is shown is not all of it. */
export const isLate = (moment, range, from) => moment > from + range.ms / 8

/** A candle is drawn where it closes; but not within a gap. One that follows no other is drawn from where it opens too, which
 *  is not before the `first` tick, and one that a gap ends in from there on. */
const pointsOf = ({ start, end, open, low, high, close }, previous, gaps, first) => {
  const ended = gaps.find((gap) => gap.after < start && gap.before >= start && gap.before < end)
  const begun = gaps.find((gap) => gap.after > start && gap.after < end && gap.before >= end)
  const begin = first > start && first < end ? first : start
  const opens = ended?.before ?? (previous?.end === start ? undefined : begin)
  const opening = opens === undefined ? [] : [{ t: opens, value: open, low: open, high: open }]
  return [...opening, { t: begun?.after ?? end, value: close, low, high }]
}

/** The lowest and the highest of points; `undefined` if there are none. */
export const extremes = (points) => {
  if (points.length === 0) return undefined
  let [lowest, highest] = [Infinity, -Infinity]
  for (const { value, low = value, high = value } of points) {
    lowest = Math.min(lowest, low)
    highest = Math.max(highest, high)
  }
  return [lowest, highest]
}

/** Gaps that nobody told: times in which no update came, though others come far more often. */
export const silences = (points, gaps, usual_ms) => {
  const found = []
  for (let i = 1; i < points.length; i++) {
    const [after, before] = [points[i - 1].t, points[i].t]
    if (before - after <= usual_ms) continue
    const told = gaps.some((gap) => gap.after < before && gap.before > after)
    if (!told) found.push({ after, before, reason: 'silence' })
  }
  return found
}
