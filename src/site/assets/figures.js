// The figures beside a price: its change and its bounds in the last day, and how sure it is.

import { extremes } from './candles.js'
import { directionOf, formatChange, formatPrice, formatSince } from './format.js'
import { DAY, INTERVALS } from './ranges.js'
import { write } from './write.js'

/** The last day of a currency: its candles, `share` (the change of the price, 0.01 for 1 %), and `since` (the moment of
 *  the first price, if the prices do not cover the whole day). `begin` is the id of the first entry of the feed, if it
 *  is known. */
export function dayOf(series, currency, now, begin = 0) {
  const { candles, isKnown } = series.day(currency, now)
  const price = series.last(currency)?.prices[currency]
  // The first candle normally contains the moment 24 hours ago. Its `open` counts as the price of that moment.
  const [first] = candles
  if (!isKnown || first === undefined || price === undefined) return { candles }
  const isYoung = first.t > now - DAY + 2 * INTERVALS['5m']
  return { candles, share: price / first.open - 1, since: isYoung ? Math.max(first.t, begin) : undefined }
}

/** Renders the figures of a currency. `polled` is the number of sources that are polled for it, if it is known. */
export function renderFigures(element, series, currency, { now, begin }, polled) {
  const set = (name, text, title) => {
    const cell = element.querySelector(`[data-figure=${name}]`)
    write(cell.querySelector('dd'), text ?? '–')
    if (title !== undefined) write(cell.querySelector('dt'), title)
    return cell
  }
  const { candles, share, since } = dayOf(series, currency, now, begin)
  const change = set('change', share === undefined ? undefined : formatChange(share), since === undefined ? '24 h change' : `Since ${formatSince(since, now)}`)
  change.dataset.direction = directionOf(share)
  const [low, high] = share === undefined ? [] : extremes(candles).map((value) => formatPrice(value, currency))
  set('high', high)
  set('low', low)
  const last = series.last(currency)
  const used = last?.sources[currency]?.length
  // With a single source, `confidence` is 0, but the price is not certain. So `confidence` is not shown.
  const confidence = used > 1 ? last.confidence?.[currency] : undefined
  set('confidence', confidence === undefined ? undefined : `± ${formatPrice(confidence, currency)}`)
  set('sources', used === undefined ? undefined : polled === undefined ? `${used}` : `${used} of ${polled}`)
}
