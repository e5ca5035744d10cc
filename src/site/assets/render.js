// Renders the texts and figures around the chart.

import { formatAmount, formatDuration, formatPercent, formatPrice, formatSources, formatTime, gapReason, priceParts } from './format.js'
import { extremes, isLate } from './series.js'

const byId = (id) => document.getElementById(id)

/** Sets a text only if it has changed, so that screen readers do not repeat it and a selection is kept. */
const write = (element, text) => {
  if (element.textContent !== text) element.textContent = text
}

/** Sets several lines only if they have changed. */
const writeLines = (element, lines) => {
  const shown = lines.length === 0 ? ['–'] : lines
  if ([...element.children].map((line) => line.textContent).join() === shown.join()) return
  element.replaceChildren(...shown.map((text) => Object.assign(document.createElement('span'), { className: 'figure-line', textContent: text })))
}

/** Renders the beginning of the feed, if the chosen range begins before it. */
export function renderBegin(began) {
  write(byId('begin'), began === undefined ? '' : `The feed began at ${formatTime(began)}.`)
}

/** Renders the state of the connection and of the feed, and an explanation if something is wrong. */
export function renderState(link, status, panels, all) {
  const stale = all.filter((panel) => panel.stale && panel.last !== undefined).map(({ currency }) => currency)
  const partial = stale.length < all.length ? stale : []
  const { state, words } = stateOf(link, status, panels, partial)
  const element = byId('state')
  element.dataset.state = state
  write(element, words)
  byId('trouble').dataset.state = state
  write(byId('trouble'), explain(state, link, status, panels, stale, partial))
  renderAge(panels, link, state)
  const simulated = panels.some(({ currency, last }) => last?.sources[currency].every((source) => source === 'simulated'))
  byId('simulated').hidden = !simulated
  renderTitle(panels, state, simulated)
  write(byId('replica'), link.hello?.replica ?? '–')
}

/** `partial` are the stale currencies if others are not stale. */
function stateOf({ connection, notLiveSince, failure }, status, panels, partial) {
  if (connection.state === 'closed') return { state: 'down', words: 'Rejected' }
  // A reconnect that takes less than a second is not shown.
  const brief = notLiveSince !== null && Date.now() - notLiveSince < 1000 && status !== null
  if (notLiveSince !== null && !brief) {
    return failure === null ? { state: 'connecting', words: 'Connecting' } : { state: 'away', words: 'Disconnected' }
  }
  if (status?.state === 'down') return { state: 'down', words: 'Down' }
  const stale = status?.state === 'stale' || panels.some(({ stale, last }) => stale && last !== undefined)
  if (stale) return { state: 'stale', words: partial.length > 0 ? `Stale: ${partial.join(', ')}` : 'Stale' }
  if (panels.every(({ last }) => last === undefined)) return { state: 'waiting', words: 'Waiting' }
  return status?.state === 'degraded' ? { state: 'degraded', words: 'Degraded' } : { state: 'live', words: 'Live' }
}

function explain(state, { connection, failure, report, currencies }, status, panels, stale, partial) {
  if (connection.state === 'closed') return `The server rejected the connection: ${connection.reason}.`
  if (state === 'away') return `Not connected: ${failure.reason}. The page reconnects automatically and misses nothing.`
  if (state === 'down' || state === 'stale') {
    return report === null ? explainOutage(state, status, stale, partial) : explainSilence(currencies, [], report.reason)
  }
  if (state === 'degraded') return `Few sources: ${status.reason}.`
  if (panels.every(({ last }) => last === undefined) && connection.state === 'live') return 'Waiting for the first price.'
  return ''
}

/** The explanation of an outage: the reason in the feed's status, which was written when the first currency failed; the
 *  currencies that have failed since then; and what the server does next. */
function explainOutage(state, status, stale, partial) {
  if (status === null || ['live', 'degraded'].includes(status.state)) return explainSilence(stale, partial)
  const more = stale.filter((currency) => !status.reason.includes(currency))
  return [`${capital(status.reason)}.`,
    ...(more.length > 0 ? [`No new price in ${more.join(' and ')} either.`] : []),
    ...(state === 'down' ? ['The server polls the sources again every few seconds.'] : []),
  ].join(' ')
}

/** The explanation if prices are late although the stream reports no problem. A replica without a connection to the store cannot
 *  report one. */
const explainSilence = (currencies, partial, reason = 'the server may be cut off from the feed') => (partial.length > 0
  ? `No new price in ${currencies.join(' and ')}. The next one appears automatically.`
  : `Connected, but without new prices in ${currencies.join(' and ')}. ${capital(reason)}. New prices appear automatically.`)

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.$/, '')

function renderAge(panels, { connection }, state) {
  const known = panels.filter(({ last }) => last !== undefined)
  const age = Math.max(...known.map((panel) => panel.age))
  const parts = known.length === 0 ? [] : [age < 1500 ? 'Updated now' : `Updated ${formatDuration(age)} ago`]
  if (state === 'away') parts.push(connection.state === 'waiting' ? `reconnecting in ${formatDuration(connection.retryAt - Date.now())}` : 'reconnecting')
  write(byId('age'), parts.join(', '))
}

function renderTitle(panels, state, simulated) {
  const prices = panels.filter(({ last }) => last !== undefined)
    .map(({ currency, last }) => formatPrice(last.exact?.[currency] ?? last.prices[currency], currency))
  const prefix = { live: '', waiting: '', connecting: '… ' }[state] ?? '(!) '
  document.title = `${prefix}${[...prices, simulated ? 'simulated' : 'btcfeed'].join(' · ')}`
}

/** Renders the latest prices, and their changes over the range. */
export function renderQuotes(panels, range, from) {
  for (const element of document.querySelectorAll('.quote')) {
    const panel = panels.find(({ currency }) => currency === element.dataset.currency)
    element.hidden = panel === undefined
    if (panel !== undefined) renderQuote(element, panel, range, from)
  }
}

function renderQuote(element, { currency, last, points, fresh }, range, from) {
  element.classList.toggle('old', !fresh)
  const price = element.querySelector('.price')
  // The exact digits, not a float.
  const value = last && (last.exact?.[currency] ?? last.prices[currency])
  if (price.dataset.value !== `${value}`) {
    price.dataset.value = value
    price.replaceChildren(...(last === undefined ? ['–'] : priceParts(value, currency).map(part)))
    // Screen readers read the price from one element, not from its parts.
    write(element.querySelector('.spoken'), last === undefined ? 'no price yet' : formatPrice(value, currency))
  }
  const change = element.querySelector('.change')
  // The first candle of a range may begin before the range.
  const first = points.find(({ t }) => t >= from - (range.interval_ms ?? 0))
  const moved = first === undefined || last === undefined ? undefined : last.prices[currency] - first.value
  change.dataset.direction = moved > 0 ? 'up' : moved < 0 ? 'down' : 'flat'
  const period = isLate(first?.t, range, from) ? `since ${formatTime(first.t)}` : `in the last ${range.words}`
  write(change, moved === undefined ? 'No change yet'
    : `${{ up: '▲', down: '▼', flat: '' }[change.dataset.direction]} ${formatAmount(Math.abs(moved))} (${formatPercent(moved / first.value)}) ${period}`.trim())
}

const part = ({ type, value }) => Object.assign(document.createElement('span'), { className: type, textContent: value })

/** Renders the figures below the chart, and its description for screen readers. */
export function renderFacts(panels, range, from) {
  const found = panels.flatMap(({ currency, points }) => {
    // The first point may be before the range, because the curve begins outside of the chart.
    const within = extremes(points.filter(({ t }) => t >= from))
    if (within === undefined) return []
    const [low, high] = within.map((value) => formatPrice(value, currency))
    return [{ currency, low, high }]
  })
  for (const side of ['low', 'high']) writeLines(byId(side), found.map((each) => each[side]))
  const sources = new Set(panels.flatMap(({ currency, last }) => last?.sources[currency] ?? []))
  write(byId('sources'), sources.size > 0 ? formatSources([...sources]) : '–')
  const gaps = panels.flatMap(({ currency, gaps }) => gaps.map((gap) =>
    `${currency}: ${gapReason(gap)} (${gap.open ? `since ${formatTime(gap.after)}` : `${formatTime(gap.after)} to ${formatTime(gap.before)}`})`))
  const figures = found.map(({ currency, low, high }) => `${currency} between ${low} and ${high}`)
  write(byId('summary'), figures.length === 0 ? 'There is no price to draw yet.'
    : `In the last ${range.words}: ${[...figures, ...gaps].join('; ')}.`)
}
