// The page: shows the feed and the history in the chart and the figures, as the visitor has chosen.

import { Feed } from '../btcfeed.js'
import { key } from './api_key.js'
import { extremes } from './candles.js'
import { drawing, layout } from './chart.js'
import * as clock from './clock.js'
import { Crosshair } from './crosshair.js'
import { dayOf } from './figures.js'
import { timeZone } from './format.js'
import { Gestures } from './gestures.js'
import * as history from './history.js'
import { Loader } from './loader.js'
import { isOutage, panelOf } from './panels.js'
import { HOUR, RANGES, intervalOf } from './ranges.js'
import { renderBegin, renderQuotes, renderState, renderSummary } from './render.js'
import { ask } from './report.js'
import { Series } from './series.js'
import { Sources } from './sources.js'
import { UrlState } from './url_state.js'
import { Viewport } from './viewport.js'

const byId = (id) => document.getElementById(id)
const chart = byId('chart')
const crosshair = new Crosshair(chart)
const choices = new UrlState(byId('choices'))
const viewport = new Viewport(clock.now)
viewport.setRange(RANGES[choices.range].ms)
const gestures = new Gestures(chart, viewport, crosshair, byId('zoom'))
const sources = new Sources(byId('sources'))
const loader = new Loader()
let series = new Series()

/** The currencies that are always followed if the feed has them. Others are followed once the visitor has chosen
 *  them. */
const USUAL = ['USD', 'EUR']

/** State of the connection: the last `connection` and `hello`, the time since which it is not live, the last failure,
 *  the currencies that are followed, the id of the last update, and what a replica has reported since then. */
const link = { connection: { state: 'connecting' }, hello: null, interval_ms: 5000, notLiveSince: null, failure: null,
  currencies: USUAL, lastId: 0, report: null }

let feed
function follow(currencies) {
  feed?.close()
  const current = new Feed({ url: history.address, currencies, key })
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
    Object.assign(link, { hello: detail, interval_ms: detail.interval_ms })
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
    // The server rejects a currency that the feed does not have. If none is named, it sends its default currency.
    if (detail.refused && currencies.length > 0) return follow([])
    if (detail.state === 'live') link.notLiveSince = link.failure = null
    else link.notLiveSince ??= Date.now()
    if (detail.state === 'waiting') link.failure = detail
    link.connection = detail
    redraw()
  })
}

/** Follows the currencies that the feed has and the page needs. Keeps the connection if `followed` has the same. */
function followChosen(followed) {
  const has = link.hello.currencies
  const wanted = has.filter((currency) => USUAL.includes(currency) || choices.currencies.includes(currency))
  const currencies = wanted.length > 0 ? wanted : has.slice(0, 1)
  link.currencies = currencies
  // If no currency is named, the server sends its default currency. If the feed has only one, that one is the default.
  if (`${currencies}` === `${followed}` || (followed.length === 0 && has.length === 1)) return
  // The loaded history lacks the new currencies.
  series = new Series()
  follow(currencies)
}

/** What is shown: the window, the interval of its candles, and the moment from which on data is loaded for it. */
function viewNow() {
  const range = RANGES[choices.range]
  const now = clock.now()
  const window = viewport.window()
  const interval = intervalOf(range, window, now)
  // Candles are loaded for the whole range, so that the window can be moved within it.
  const loadedFrom = interval === undefined ? Math.min(window.from, now - Math.min(range.ms, HOUR)) : now - range.ms
  return { ...window, now, interval, loadedFrom, isZoomed: viewport.isZoomed, width: crosshair.width ?? chart.clientWidth,
    begin: loader.begin?.id, isLoaded: series.has(interval, window.from) }
}

/** Loads what the view, the figures and the table of the sources lack. */
async function load() {
  if (link.connection.state !== 'live') return
  const { from, now, interval, loadedFrom } = viewNow()
  if (await loader.load(series, link.currencies, { interval, from: loadedFrom }, wantsBegin(from))) {
    choices.setOldest(loader.oldestDay, now)
    redraw()
  }
  if (await sources.load(choices.currencies.filter((currency) => link.currencies.includes(currency)))) redraw()
}

/** True if the ticks of a currency do not go back to `from`, or its prices do not cover the last day. */
const wantsBegin = (from) => link.currencies.some((currency) => !(series.ticks(currency, { from: 0, until: Infinity })[0]?.t < from)
  || dayOf(series, currency, clock.now()).since !== undefined)

/** Asks for the state of the feed if ticks are late and the stream does not say why. */
async function askIfLate() {
  const newest = Math.max(0, ...link.currencies.map((currency) => series.last(currency)?.id ?? 0))
  if (link.connection.state !== 'live' || isOutage(series.status) || clock.now() - newest <= 2 * link.interval_ms + 1000) return
  const { lastId } = link
  const report = await ask(lastId, link.hello.replica)
  if (report === undefined || link.lastId !== lastId) return
  // Only an update clears a report. If the answer says that nothing is wrong, it may come from another replica, which
  // has not noticed the outage yet.
  link.report = report ?? link.report
  redraw()
}

function draw() {
  clearTimeout(pending)
  pending = null
  drawnAt = Date.now()
  const { words } = RANGES[choices.range]
  const view = viewNow()
  const all = link.currencies.map((currency) => panelOf(series, link, currency, view))
  const panels = all.filter(({ currency }) => choices.currencies.includes(currency))
  const several = panels.length > 1
  panels.forEach((panel, index) => { if (several) panel.tone = `line-${index}` })
  renderState(link, link.report ?? series.status, panels, all)
  renderQuotes(panels, series, view, words, sources)
  renderSummary(panels, panels.map(({ points }) => extremes(points.filter(({ t, end = t }) => end >= view.from))), view, words)
  renderBegin(view)
  sources.render(panels.map(({ currency, last }) => [currency, last?.prices[currency]]), link.failure !== null)
  const audit = `?format=audit&currency=${panels.map(({ currency }) => currency)}`
  if (panels.length > 0 && byId('audit').search !== audit) byId('audit').search = audit
  const notice = view.isLoaded ? '' : link.connection.state !== 'live' ? 'Not connected'
    : loader.hasFailed ? 'The history cannot be loaded now' : 'Loading the history'
  const at = layout({ ...view, panels, notice }, chart.clientWidth, chart.clientHeight)
  chart.querySelector('.drawing').replaceChildren(...drawing(at))
  crosshair.show(at)
  gestures.show()
  renderDetails(at)
}

/** Renders the table and the snippet if the visitor has opened them. The code of each is loaded only then. */
function renderDetails(at) {
  if (byId('data').open) import('./table.js').then(({ renderTable }) => renderTable(byId('data').querySelector('table'), at))
  if (byId('embed').open) import('./snippet.js').then(({ showSnippet }) => showSnippet(byId('snippet'), choices.currencies[0]))
}

let pending = null
let drawnAt = 0
function redraw() {
  // Browsers throttle the timers of a hidden page, but the title of the page is still visible. So a hidden page is
  // drawn without a timer, at most once a second.
  if (document.hidden && Date.now() - drawnAt > 1000) draw()
  else pending ??= setTimeout(draw, 16)
}

choices.addEventListener('change', () => {
  if (link.hello !== null && choices.currencies.some((currency) => !link.currencies.includes(currency))) followChosen(link.currencies)
  viewport.setRange(RANGES[choices.range].ms)
  load()
  redraw()
})
viewport.addEventListener('change', () => {
  load()
  redraw()
})
for (const id of ['data', 'embed']) byId(id).addEventListener('toggle', redraw)
byId('copy').addEventListener('click', async () => {
  const { copySnippet } = await import('./snippet.js')
  byId('copied').textContent = await copySnippet(byId('snippet')) ? 'Copied.' : 'Press Ctrl+C or ⌘C to copy.'
})
new ResizeObserver(redraw).observe(chart)
// Once a second, so that the chart moves even without updates, failed loads are retried, and late ticks are noticed.
setInterval(() => {
  load()
  askIfLate()
  redraw()
}, 1000)
byId('zone').textContent = timeZone()
follow(link.currencies)
