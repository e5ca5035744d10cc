// What is drawn of each currency: its points, the times without a price, and whether its price is old.

import { joined } from './candles.js'
import { INTERVALS, isLate, stepOf } from './ranges.js'
import { silences } from './series.js'

/** Age at which a price is stale, even if the feed is live because of other currencies. */
const MAX_AGE_MS = 120_000

export const isOutage = (status) => ['stale', 'down'].includes(status?.state)

/** The data of a currency in a window. `view` is `{ from, until, now, interval, width, isLoaded, begin }`. `begin` is
 *  the id of the first entry of the feed, if it is known. */
export function panelOf(series, link, currency, view) {
  const { from, until, now, interval } = view
  const points = interval === undefined ? series.ticks(currency, view)
    : joined(series.candles(currency, interval, view), stepOf(interval, view, view.width))
  // The last candle can end after the window, but the curve ends with the window.
  for (const point of points.slice(-1)) if (point.end > until) point.end = until
  const gaps = series.gaps(currency, view)
  const limit_ms = Math.max(12 * link.interval_ms, interval === undefined ? 0 : 1.5 * INTERVALS[interval], 10_000)
  gaps.push(...silences(points, gaps, limit_ms, view, view.isLoaded))
  const last = series.last(currency)
  const age = last === undefined ? Infinity : now - last.id
  const isBehind = age > 3 * link.interval_ms + 1000
  const disconnected = link.notLiveSince !== null && Date.now() - link.notLiveSince > 1000
  const outage = isOutage(series.status)
  // If the feed's status is not known, a late price counts as stale.
  const stale = isBehind && (outage || link.report !== null || series.status === null || age > MAX_AGE_MS)
  if (last !== undefined && last.id < until && isBehind && (disconnected || stale)) {
    const reason = disconnected ? 'disconnected' : outage ? 'source_outage' : 'silence'
    const why = disconnected ? link.failure?.reason : series.why(last.id, until)
    gaps.push({ after: last.id, before: until, reason, open: true, why })
  }
  return { currency, points, gaps, last, age, stale, fresh: last !== undefined && !disconnected && !stale, ...changeOf(points, view) }
}

/** The change in the window: the price at the beginning of the window (`base`) and the difference (`moved`). If the
 *  curve begins much later than the window, `lateSince` is the moment at which the curve begins, and `base` is its
 *  first price. */
function changeOf(points, view) {
  const first = points.find(({ t, end = t }) => end >= view.from)
  if (first === undefined) return { direction: 'flat', tone: 'flat' }
  const base = first.open ?? first.value
  const moved = points.at(-1).value - base
  const direction = moved > 0 ? 'up' : moved < 0 ? 'down' : 'flat'
  // The first candle usually starts earlier than the feed.
  const since = Math.max(first.t, view.begin ?? 0)
  return { base, moved, direction, tone: direction, lateSince: isLate(since, view) ? since : undefined }
}
