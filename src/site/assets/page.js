// The page: puts what the feed says where one can see it.

import { Feed } from '/btcfeed.js'
import { drawing, layout } from './chart.js'
import * as clock from './clock.js'
import { Choices } from './url_state.js'
import { Crosshair } from './crosshair.js'
import * as history from './history.js'
import { RANGES, Series, silences } from './series.js'
import { showBegin, showFacts, showQuotes, showState } from './render.js'
import { zone } from './format.js'

const chart = document.getElementById('chart')
const crosshair = new Crosshair(chart)
const choices = new Choices(document.getElementById('choices'))
const series = new Series()

/** Who serves us, and how the connection is: since when it has not been live, and what the last try failed with. */
const link = { connection: { state: 'connecting' }, hello: null, shaken: null, failure: null, offered: ['USD', 'EUR'] }

function follow(currencies) {
  const feed = new Feed({ currencies })
  for (const type of ['tick', 'status', 'gap']) {
    feed.addEventListener(type, ({ detail }) => {
      series.add(detail)
      if (detail.type === 'tick' && link.connection.state === 'live') clock.hear(detail.id)
      redraw()
    })
  }
  feed.addEventListener('hello', ({ detail }) => {
    link.hello = detail
    // What it says of the feed is newer than what is replayed, which ends with the same.
    if (detail.state !== undefined) series.status = detail.state === null ? null : detail
    choices.offer(detail.currencies)
    link.offered = detail.currencies
    redraw()
  })
  feed.addEventListener('synced', ({ detail }) => {
    series.since = Math.min(series.since, detail.id || clock.now())
    load()
  })
  feed.addEventListener('connection', ({ detail }) => {
    // Not every feed has both currencies; what it has it tells to those who do not choose.
    if (detail.refused && currencies.length > 0) return follow([])
    if (detail.state === 'live') link.shaken = link.failure = null
    else link.shaken ??= Date.now()
    if (detail.state === 'waiting') link.failure = detail
    link.connection = detail
    redraw()
  })
}

/** Whether all that a range needs is here. */
const isHere = (range, from) =>
  (range.interval === undefined ? series.isFull || series.since <= from + 1000 : series.hasCandles(range, from))

/** The longest that one can look back. */
const LONGEST_MS = Math.max(...Object.values(RANGES).map(({ ms }) => ms))

async function loadRange(range, from) {
  const currencies = link.offered.join(',')
  if (range.interval === undefined) {
    series.addOlder(await history.entries(currencies, from, series.since), from)
  } else {
    const at = clock.now()
    series.addCandles(range.interval, await history.candles(currencies, range.interval, from), from, at)
  }
}

/** Asks for what the chosen range needs and is not here yet, and for why there is no more. */
let loading = false
/** After a failure it is asked again in a while, twice as long each time. */
const patience = { until: 0, ms: 1000 }
async function load() {
  const range = RANGES[choices.range]
  const from = clock.now() - range.ms
  if (loading || performance.now() < patience.until || link.connection.state !== 'live') return
  const isMissing = !isHere(range, from) || (range.interval && series.wantsCandles(range, clock.now()))
  const wantsFirst = (currency) => series.wantsFirst(currency, range, from)
  if (!isMissing && !link.offered.some(wantsFirst)) return
  loading = true
  try {
    if (isMissing) await loadRange(range, from)
    for (const currency of link.offered) {
      if (series.last(currency) === undefined) series.addLast(currency, await history.latest(currency))
    }
    for (const currency of link.offered.filter(wantsFirst)) {
      series.addFirst(currency, await history.first(currency, clock.now() - LONGEST_MS))
    }
    patience.ms = 1000
    redraw()
  } catch (error) {
    console.info(`The history is not there yet: ${error.message}`)
    patience.until = performance.now() + patience.ms
    patience.ms = Math.min(patience.ms * 2, 60_000)
  } finally {
    loading = false
  }
}

/** A price this old is old, whatever the feed says of the other currency. */
const LONG_MS = 120_000

/** What is to be seen of one currency. */
function look(currency, range, from, until) {
  const points = series.points(currency, range, from)
  const last = series.last(currency)
  const gaps = series.gaps(currency, from)
  const interval_ms = link.hello?.interval_ms ?? 5000
  gaps.push(...silences(points, gaps, Math.max(12 * interval_ms, 2.5 * (range.interval_ms ?? 0), 10_000)))
  const age = last === undefined ? Infinity : until - last.id
  const late = age > 3 * interval_ms + 1000
  const away = link.shaken !== null && Date.now() - link.shaken > 1000
  const out = ['stale', 'down'].includes(series.status?.state)
  // Where nobody said that the feed is well, a late price is not taken for a good one.
  const ill = late && (out || series.status === null || age > LONG_MS)
  if (last !== undefined && late && (away || ill)) {
    const reason = away ? 'disconnected' : out ? 'source_outage' : 'silence'
    gaps.push({ after: last.id, before: until, reason, open: true, why: away ? link.failure?.reason : series.why(last.id, until) })
  }
  return { currency, points, gaps, last, age, ill, fresh: last !== undefined && !away && !ill }
}

/** The least to show. */
const SHORTEST_MS = 120_000

/** Of a feed that is younger than the range all there is, rather than a long nothing. */
function begin(panels, range, from, until) {
  const firsts = panels.flatMap(({ points }) => points.slice(0, 1).map(({ t }) => t))
  if (firsts.length === 0 || !isHere(range, from)) return from
  return Math.max(from, Math.min(...firsts, until - SHORTEST_MS))
}

function draw() {
  clearTimeout(pending)
  pending = null
  drawnAt = Date.now()
  const range = RANGES[choices.range]
  const until = clock.now()
  const from = until - range.ms
  const all = link.offered.map((currency) => look(currency, range, from, until))
  const panels = all.filter(({ currency }) => choices.currencies.includes(currency))
  showState(link, series.status, panels, all)
  showQuotes(panels, range, from)
  showFacts(panels, range, from)
  showBegin(series.began(range, from))
  const at = layout({ from: begin(panels, range, from, until), until, panels }, chart.clientWidth, chart.clientHeight)
  chart.querySelector('.drawing').replaceChildren(...drawing(at))
  crosshair.show(at)
}

let pending = null
let drawnAt = 0
function redraw() {
  // Where nobody looks timers sleep, but the title may still be read.
  if (document.hidden && Date.now() - drawnAt > 1000) draw()
  else pending ??= setTimeout(draw, 16)
}

choices.addEventListener('change', () => {
  load()
  redraw()
})
new ResizeObserver(redraw).observe(chart)
// Time goes on without an update, and what could not be loaded is tried again.
setInterval(() => {
  load()
  redraw()
}, 1000)
document.getElementById('zone').textContent = zone()
follow(link.offered)
