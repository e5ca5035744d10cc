// Candles: `{ t, end, open, high, low, value }`. `t` is the start, `end` is `t` plus the length, `value` is the close.

/** Adds a price to a list of candles of the length `step`. A price from before the last candle is ignored. If the last
 *  candle comes from the server, it may already contain the price. Its high and low then stay the same. */
export function addPrice(candles, moment, value, step) {
  const t = Math.floor(moment / step) * step
  const last = candles.at(-1)
  if (t < last?.t) return
  if (t !== last?.t) candles.push({ t, end: t + step, open: value, high: value, low: value, value })
  else Object.assign(last, { value, low: Math.min(last.low, value), high: Math.max(last.high, value) })
}

/** Joins candles, or ticks (`{ t, value }`), into longer candles. */
export function joined(points, step) {
  const found = []
  for (const { t, open, high, low, value } of points) {
    const start = Math.floor(t / step) * step
    const last = found.at(-1)
    if (start !== last?.t) {
      found.push({ t: start, end: start + step, open: open ?? value, high: high ?? value, low: low ?? value, value })
    } else {
      Object.assign(last, { value, low: Math.min(last.low, low ?? value), high: Math.max(last.high, high ?? value) })
    }
  }
  return found
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
