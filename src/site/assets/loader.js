// Loads from the history what the series lacks. After a failure it waits, longer each time.

import * as clock from './clock.js'
import * as history from './history.js'

/** The pause after a failed load. After each further failure it is twice as long, up to a minute. */
export class Pause {
  #until = 0
  #next_ms = 1000

  get isOver() {
    return performance.now() >= this.#until
  }

  /** Begins a pause, and returns its length in milliseconds. */
  begin() {
    const length_ms = this.#next_ms
    this.#until = performance.now() + length_ms
    this.#next_ms = Math.min(length_ms * 2, 60_000)
    return length_ms
  }

  /** The next pause is a short one again. */
  reset() {
    this.#next_ms = 1000
  }
}

export class Loader {
  /** The first entry of the feed, or `null` if it is no longer kept or older than 30 days, or `undefined` if it is not
   *  known yet. */
  begin
  /** The beginning of the oldest day that has candles, at most 31 days ago, or `undefined` if it is not known yet. If
   *  there is no such day, the time of the answer. */
  oldestDay

  /** True if the last request failed. */
  hasFailed = false

  #loading = false
  #pause = new Pause()

  /** Loads what is missing of these:
   *  - the data since the moment `wanted.from`: the candles of `wanted.interval`, or ticks if it is `undefined`. With
   *    this data comes the last price of each currency,
   *  - the candles of the last day,
   *  - with `wantsBegin`, the first entry of the feed,
   *  - the beginning of the oldest day that has candles.
   *  Returns true if something was missing and the load has succeeded. */
  async load(series, currencies, wanted, wantsBegin) {
    if (this.#loading || !this.#pause.isOver) return false
    const jobs = [
      ...(isMissing(series, wanted) ? [() => loadPart(series, currencies, wanted), () => loadLasts(series, currencies)] : []),
      ...(series.wantsDay(clock.now()) ? [() => loadDay(series, currencies)] : []),
      ...(wantsBegin && this.begin === undefined && hasPrice(series, currencies) ? [() => this.#loadBegin(currencies)] : []),
      ...(this.oldestDay === undefined && hasPrice(series, currencies) ? [() => this.#loadOldestDay(currencies)] : []),
    ]
    if (jobs.length === 0) return false
    this.#loading = true
    try {
      for (const job of jobs) await job()
      this.#pause.reset()
      this.hasFailed = false
      return true
    } catch (error) {
      console.info(`Cannot load the history, retrying in ${this.#pause.begin() / 1000} s: ${error.message}`)
      this.hasFailed = true
      return false
    } finally {
      this.#loading = false
    }
  }

  async #loadBegin(currencies) {
    this.begin = await history.first(currencies.join(',')) ?? null
  }

  async #loadOldestDay(currencies) {
    this.oldestDay = await history.oldestDay(currencies.join(',')) ?? clock.now()
  }
}

export async function loadDay(series, currencies) {
  const at = clock.now()
  series.addDay(await history.day(currencies.join(','), at), at)
}

async function loadLasts(series, currencies) {
  for (const currency of currencies.filter((one) => series.last(one) === undefined)) {
    series.addLast(currency, await history.latest(currency))
  }
}

const hasPrice = (series, currencies) => currencies.some((currency) => series.last(currency) !== undefined)

const isMissing = (series, { interval, from }) => (
  !series.has(interval, from) || (interval !== undefined && series.wantsCandles(interval, clock.now())))

async function loadPart(series, currencies, { interval, from }) {
  if (interval === undefined) {
    series.addOlder(await history.entries(currencies.join(','), from, series.since), from)
  } else {
    const at = clock.now()
    series.addCandles(interval, await history.candles(currencies.join(','), interval, from), from, at)
  }
}
