// The price in a frame on another page: the latest price, its change in a day and the curve of that day.

import { Feed } from '../btcfeed.js'
import { key } from './api_key.js'
import { extremes } from './candles.js'
import * as clock from './clock.js'
import { dayOf } from './figures.js'
import { directionOf, formatChange, formatDuration, formatPrice, formatSince } from './format.js'
import { address, first } from './history.js'
import { Pause, loadDay } from './loader.js'
import { isOutage } from './panels.js'
import { DAY } from './ranges.js'
import { linear } from './scale.js'
import { Series } from './series.js'
import { write } from './write.js'

const find = (selector) => document.querySelector(selector)
const series = new Series()
const pause = new Pause()
/** State of the connection; the currency, which is known when the feed has answered; and `begin`, the id of the first
 *  entry of the feed, which is looked up if the prices do not cover the whole last day. */
const link = { isLive: false, wasLive: false, isLoading: false, currency: undefined, interval_ms: 5000,
  begin: undefined }

function follow(currencies) {
  const feed = new Feed({ url: address, currencies, key })
  feed.addEventListener('tick', ({ detail }) => {
    series.add(detail)
    if (link.isLive) clock.setByTick(detail.id)
    draw()
  })
  feed.addEventListener('status', ({ detail }) => series.add(detail))
  feed.addEventListener('hello', ({ detail }) => {
    const currency = currencies[0] ?? detail.currencies[0]
    Object.assign(link, { currency, interval_ms: detail.interval_ms })
    if (detail.state) series.status = detail
    write(find('#currency'), currency)
    // The live page reads the currency from the fragment of its URL.
    find('#page').href = `./#currency=${currency}`
  })
  feed.addEventListener('connection', ({ detail }) => {
    // A refusal can mean that the feed does not have the currency.
    if (detail.refused && currencies.length > 0) return follow([])
    link.isLive = detail.state === 'live'
    link.wasLive ||= link.isLive
    if (link.isLive) load()
    draw()
  })
}

async function load() {
  if (link.isLoading || !pause.isOver || !series.wantsDay(clock.now()) || link.currency === undefined) return
  link.isLoading = true
  try {
    await loadDay(series, [link.currency])
    if (dayOf(series, link.currency, clock.now()).since !== undefined) link.begin ??= (await first(link.currency))?.id
    pause.reset()
    draw()
  } catch (error) {
    console.info(`Cannot load the history, retrying in ${pause.begin() / 1000} s: ${error.message}`)
  } finally {
    link.isLoading = false
  }
}

function draw() {
  const { currency } = link
  const last = currency && series.last(currency)
  const now = clock.now()
  const age = last === undefined ? Infinity : now - last.id
  const isStale = age > 3 * link.interval_ms + 1000
  const isSimulated = last?.sources[currency].every((source) => source === 'simulated')
  const [state, words] = !link.isLive ? ['away', link.wasLive ? 'Disconnected' : 'Connecting']
    : isStale || isOutage(series.status) ? ['stale', last ? `${formatDuration(age)} old` : 'No price yet'] : ['live', 'Live']
  find('#state').dataset.state = state
  find('#state').toggleAttribute('data-simulated', isSimulated === true)
  write(find('#state'), isSimulated ? `Simulated · ${words}` : words)
  find('main').classList.toggle('old', state !== 'live')
  if (last === undefined) return
  const price = formatPrice(last.exact?.[currency] ?? last.prices[currency], currency)
  write(find('.price'), price)
  write(find('.spoken'), price)
  const { share, since, candles } = dayOf(series, currency, now, link.begin)
  for (const each of [find('[data-figure]'), find('.spark')]) each.dataset.direction = directionOf(share)
  write(find('.dt'), since === undefined ? '24 h change' : `Since ${formatSince(since, now)}`)
  write(find('.dd'), share === undefined ? '–' : formatChange(share))
  find('.spark path').setAttribute('d', curve(candles, now))
}

/** The curve of a day in a box of 100 by 30. */
function curve(candles, now) {
  const bounds = extremes(candles)
  if (bounds === undefined) return ''
  const [x, y] = [linear(now - DAY, now, 0, 100), linear(bounds[0], bounds[1] + 0.01, 29, 1)]
  return candles.map(({ t, end, value }, index) => {
    const isNext = index > 0 && candles[index - 1].end === t
    return `${isNext ? 'L' : 'M'}${x(Math.max(t, now - DAY)).toFixed(1)} ${y(value).toFixed(1)}H${x(Math.min(end, now)).toFixed(1)}`
  }).join('')
}

setInterval(() => {
  if (link.isLive) load()
  draw()
}, 1000)
const wanted = new URLSearchParams(location.hash.slice(1)).get('currency')?.toUpperCase()
follow(wanted ? [wanted] : [])
