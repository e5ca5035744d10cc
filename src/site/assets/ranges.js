// The ranges that a visitor can choose. A visitor can also zoom into a part of a range. This file selects the data from
// which a part is drawn.

const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

/** Lengths of the candles that the page asks for. */
export const INTERVALS = { '1m': MINUTE, '5m': 5 * MINUTE, '1h': HOUR, '1d': DAY }

/** The ranges. A part within the last hour is drawn from ticks, any other from candles of one of the `intervals`. */
export const RANGES = {
  '15m': { ms: HOUR / 4, words: '15 minutes' },
  '1h': { ms: HOUR, words: 'hour' },
  '6h': { ms: 6 * HOUR, words: '6 hours', intervals: ['1m'] },
  '24h': { ms: DAY, words: '24 hours', intervals: ['1m', '5m'] },
  '7d': { ms: 7 * DAY, words: '7 days', intervals: ['5m', '1h'] },
  '30d': { ms: 30 * DAY, words: '30 days', intervals: ['1h'] },
}

/** Maximum number of candles for a part. If every interval of a range gives more, the longest interval is used. */
const MANY = 400
/** Least width of a candle in pixels. Narrower ones are joined. */
const MIN_WIDTH = 5
const STEPS = [1, 2, 3, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1440].map((minutes) => minutes * MINUTE)

/** The interval of the candles for a part of a range, or `undefined` if it is drawn from ticks. */
export const intervalOf = ({ intervals }, { from, until }, now) => {
  if (intervals === undefined || (until - from <= HOUR && from >= now - HOUR)) return undefined
  return intervals.find((interval) => (until - from) / INTERVALS[interval] <= MANY) ?? intervals.at(-1)
}

/** The length of the candles that are drawn, so that `width` pixels have room for them. */
export const stepOf = (interval, { from, until }, width) => {
  const least = Math.max(INTERVALS[interval], (until - from) * MIN_WIDTH / width)
  return STEPS.find((step) => step >= least && step % INTERVALS[interval] === 0) ?? DAY
}

/** True if a moment is not near the beginning of a range, so that data from this moment on does not cover the range. */
export const isLate = (moment, { from, until }) => moment > from + (until - from) / 8
