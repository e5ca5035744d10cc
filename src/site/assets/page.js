// The page: shows the feed and the history in the chart and the figures, as the visitor has chosen.

import { Feed } from '/btcfeed.js'
import { key } from './api_key.js'
import { drawing, layout } from './chart.js'
import * as clock from './clock.js'
import { Crosshair } from './crosshair.js'
import { timeZone } from './format.js'
import * as history from './history.js'
import { renderBegin, renderFacts, renderQuotes, renderState } from './render.js'
import { ask } from './report.js'
import { RANGES, Series, silences } from './series.js'
import { UrlState } from './url_state.js'

const chart = document.getElementById('chart')
const crosshair = new Crosshair(chart)
const choices = new UrlState(document.getElementById('choices'))
let series = new Series()

/** The currencies that are always followed if the feed has them. Others are followed once the visitor has chosen them. */
const USUAL = ['USD', 'EUR']

/** State of the connection: the last `connection` and `hello`, the time since which it is not live, the last failure, the currencies
 *  that are followed, the id of the last update, and what a replica has reported since then. */
const link = { connection: { state: 'connecting' }, hello: null, notLiveSince: null, failure: null, currencies: USUAL,
  lastId: 0, report: null }

let feed
function follow(currencies) {
  feed?.close()
  const current = new Feed({ currencies, key })
  feed = current
  const on = (type, handle) => current.addEventListener(type, ({ detail }) => { if (feed === current) handle(detail) })
  for (const type of ['tick', 'status', 'gap']) {
    on(type, (detail) => {
      series.add(detail)
      if (detail.type !== 'gap') Object.assign(link, { lastId: detail.id, report: null })
      if (detail.type === 'tick' && link.connection.state === 'live') clock.setByTick(detail.id)
      redraw()
    })
  }
  on('hello', (detail) => {
    link.hello = detail
    // The status in `hello` is newer than those of the replay.
    if (detail.state !== undefined) series.status = detail.state === null ? null : detail
    choices.setAvailable(detail.currencies)
    followChosen(currencies)
    redraw()
  })
  on('synced', (detail) => {
    series.since = Math.min(series.since, detail.id || clock.now())
    load()
  })
  on('connection', (detail) => {
    // The feed may not have one of the currencies. Without a choice, the server sends its default currency.
    if (detail.refused && currencies.length > 0) return follow([])
    if (detail.state === 'live') link.notLiveSince = link.failure = null
    else link.notLiveSince ??= Date.now()
    if (detail.state === 'waiting') link.failure = detail
    link.connection = detail
    redraw()
  })
}

/** Follows the currencies that the feed has and the page needs, if these are not the ones that are `followed`. */
function followChosen(followed) {
  const has = link.hello.currencies
  const wanted = has.filter((currency) => USUAL.includes(currency) || choices.currencies.includes(currency))
  const currencies = wanted.length > 0 ? wanted : has.slice(0, 1)
  link.currencies = currencies
  // Without a choice, the server sends its default currency. If the feed has only one, that is it.
  if (`${currencies}` === `${followed}` || (followed.length === 0 && has.length === 1)) return
  // The loaded history lacks the new currencies.
  series = new Series()
  follow(currencies)
}

/** True if all data of a range is loaded. */
const isLoaded = (range, from) =>
  (range.interval === undefined ? series.isFull || series.since <= from + 1000 : series.hasCandles(range, from))

/** The longest range. */
const MAX_RANGE_MS = Math.max(...Object.values(RANGES).map(({ ms }) => ms))

async function loadRange(range, from) {
  const currencies = link.currencies.join(',')
  if (range.interval === undefined) {
    series.addOlder(await history.entries(currencies, from, series.since), from)
  } else {
    const at = clock.now()
    series.addCandles(range.interval, await history.candles(currencies, range.interval, from), from, at)
  }
}

let loading = false
/** Delay of the next load after a failure. It doubles each time. */
const backoff = { until: 0, ms: 1000 }
/** Loads the missing data of the chosen range, and the beginning of the feed if the range begins before it. */
async function load() {
  const range = RANGES[choices.range]
  const from = clock.now() - range.ms
  if (loading || performance.now() < backoff.until || link.connection.state !== 'live') return
  const isMissing = !isLoaded(range, from) || (range.interval && series.wantsCandles(range, clock.now()))
  const wantsFirst = (currency) => series.wantsFirst(currency, range, from)
  if (!isMissing && !link.currencies.some(wantsFirst)) return
  loading = true
  try {
    if (isMissing) await loadRange(range, from)
    for (const currency of link.currencies) {
      if (series.last(currency) === undefined) series.addLast(currency, await history.latest(currency))
    }
    for (const currency of link.currencies.filter(wantsFirst)) {
      series.addFirst(currency, await history.first(currency, clock.now() - MAX_RANGE_MS))
    }
    backoff.ms = 1000
    redraw()
  } catch (error) {
    console.info(`Cannot load the history, retrying in ${backoff.ms / 1000} s: ${error.message}`)
    backoff.until = performance.now() + backoff.ms
    backoff.ms = Math.min(backoff.ms * 2, 60_000)
  } finally {
    loading = false
  }
}

const isOutage = (status) => ['stale', 'down'].includes(status?.state)
const interval = () => link.hello?.interval_ms ?? 5000

/** Asks for the state of the feed if ticks are late and the stream does not say why. */
async function askIfLate() {
  const newest = Math.max(0, ...link.currencies.map((currency) => series.last(currency)?.id ?? 0))
  if (link.connection.state !== 'live' || isOutage(series.status) || clock.now() - newest <= 2 * interval() + 1000) return
  const { lastId } = link
  const report = await ask(lastId, link.hello.replica)
  if (report === undefined || link.lastId !== lastId) return
  // Only an update clears the report of a replica. Another replica may not have noticed the outage yet.
  link.report = report ?? link.report
  redraw()
}

/** Age at which a price is stale, even if the feed is live because of other currencies. */
const MAX_AGE_MS = 120_000

/** The data of one currency to draw. */
function panelOf(currency, range, from, until) {
  const points = series.points(currency, range, from)
  const last = series.last(currency)
  const gaps = series.gaps(currency, from)
  const interval_ms = interval()
  gaps.push(...silences(points, gaps, Math.max(12 * interval_ms, 2.5 * (range.interval_ms ?? 0), 10_000)))
  const age = last === undefined ? Infinity : until - last.id
  const isLate = age > 3 * interval_ms + 1000
  const disconnected = link.notLiveSince !== null && Date.now() - link.notLiveSince > 1000
  const outage = isOutage(series.status)
  // If the feed's status is not known, a late price counts as stale.
  const stale = isLate && (outage || link.report !== null || series.status === null || age > MAX_AGE_MS)
  if (last !== undefined && isLate && (disconnected || stale)) {
    const reason = disconnected ? 'disconnected' : outage ? 'source_outage' : 'silence'
    const why = disconnected ? link.failure?.reason : series.why(last.id, until)
    gaps.push({ after: last.id, before: until, reason, open: true, why })
  }
  return { currency, points, gaps, last, age, stale, fresh: last !== undefined && !disconnected && !stale }
}

/** The shortest time that is drawn. */
const MIN_DRAWN_MS = 120_000

/** The moment at which the drawing begins. If the feed is younger than the range, this is the beginning of the feed. */
function begin(panels, range, from, until) {
  const firsts = panels.flatMap(({ points }) => points.slice(0, 1).map(({ t }) => t))
  if (firsts.length === 0 || !isLoaded(range, from)) return from
  return Math.max(from, Math.min(...firsts, until - MIN_DRAWN_MS))
}

function draw() {
  clearTimeout(pending)
  pending = null
  drawnAt = Date.now()
  const range = RANGES[choices.range]
  const until = clock.now()
  const from = until - range.ms
  const all = link.currencies.map((currency) => panelOf(currency, range, from, until))
  const panels = all.filter(({ currency }) => choices.currencies.includes(currency))
  renderState(link, link.report ?? series.status, panels, all)
  renderQuotes(panels, range, from)
  renderFacts(panels, range, from)
  renderBegin(series.began(range, from))
  const at = layout({ from: begin(panels, range, from, until), until, panels }, chart.clientWidth, chart.clientHeight)
  chart.querySelector('.drawing').replaceChildren(...drawing(at))
  crosshair.show(at)
}

let pending = null
let drawnAt = 0
function redraw() {
  // Browsers throttle the timers of a hidden page, but its title is still visible, so it is drawn at once.
  if (document.hidden && Date.now() - drawnAt > 1000) draw()
  else pending ??= setTimeout(draw, 16)
}

choices.addEventListener('change', () => {
  if (link.hello !== null && choices.currencies.some((currency) => !link.currencies.includes(currency))) followChosen(link.currencies)
  load()
  redraw()
})
new ResizeObserver(redraw).observe(chart)
// Once a second, so that the chart moves even without updates, failed loads are retried, and late ticks are noticed.
setInterval(() => {
  load()
  askIfLate()
  redraw()
}, 1000)
document.getElementById('zone').textContent = timeZone()
follow(link.currencies)
