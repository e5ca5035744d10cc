// Renders the texts around the chart.

import { renderFigures } from './figures.js'
import { capital, currencyName, formatAmount, formatDuration, formatPercent, formatPrice, formatSince, formatTime, gapReason, priceParts } from './format.js'
import { element, write } from './write.js'

const byId = (id) => document.getElementById(id)

/** Renders the beginning of the feed, if the shown window begins before it. */
export function renderBegin({ begin, from, now }) {
  const isToday = new Date(begin).toDateString() === new Date(now).toDateString()
  write(byId('begin'), begin > from ? `The feed began ${isToday ? 'at' : 'on'} ${formatSince(begin, now)}.` : '')
}

/** Renders the state of the connection and of the feed, and an explanation if something is wrong. */
export function renderState(link, status, panels, all) {
  const stale = all.filter((panel) => panel.stale && panel.last !== undefined).map(({ currency }) => currency)
  const partial = stale.length < all.length ? stale : []
  const { state, words } = stateOf(link, status, panels, partial)
  const shown = byId('state')
  shown.dataset.state = state
  write(shown, words)
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
  if (state === 'degraded') return `${capital(status.reason)}.`
  if (panels.every(({ last }) => last === undefined) && connection.state === 'live') return 'Waiting for the first price.'
  return ''
}

/** The explanation of an outage: the reason in the feed's status, which was written when the first currency failed; the
 *  currencies that have failed since then; and what the server does next. */
function explainOutage(state, status, stale, partial) {
  if (status === null || ['live', 'degraded'].includes(status.state)) return explainSilence(stale, partial)
  // The newest status may be about clocks.
  if (!status.reason.startsWith('no price')) return explainSilence(stale, partial, 'the exchanges give no valid price')
  const more = stale.filter((currency) => !status.reason.includes(currency))
  return [`${capital(status.reason)}.`,
    ...(more.length > 0 ? [`No new price in ${more.join(' and ')} either.`] : []),
    ...(state === 'down' ? ['The server polls the sources again every few seconds.'] : []),
  ].join(' ')
}

/** The explanation if prices are late although the stream reports no problem. For example, a replica that has lost its
 *  connection to the store reports nothing on the stream. */
const explainSilence = (currencies, partial, reason = 'the server may be cut off from the feed') => (partial.length > 0
  ? `No new price in ${currencies.join(' and ')}. The next one appears automatically.`
  : `Connected, but without new prices in ${currencies.join(' and ')}. ${capital(reason)}. New prices appear automatically.`)

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

/** Renders the latest prices, their changes in the shown window, and the figures of each. */
export function renderQuotes(panels, series, view, words, sources) {
  document.documentElement.style.setProperty('--quotes', panels.length)
  document.documentElement.toggleAttribute('data-several', panels.length > 1)
  const quotes = [...document.querySelectorAll('.quote')]
  for (const quote of quotes) quote.hidden = !panels.some(({ currency }) => currency === quote.dataset.currency)
  for (const panel of panels) {
    const quote = quotes.find(({ dataset }) => dataset.currency === panel.currency) ?? quoteOf(quotes[0], panel.currency)
    renderPrice(quote, panel)
    renderChange(quote.querySelector('.change'), panel, view, words)
    renderFigures(quote, series, panel.currency, view, sources.polled(panel.currency))
  }
}

/** A copy of a quote, for another currency. */
function quoteOf(other, currency) {
  const quote = other.cloneNode(true)
  Object.assign(quote, { hidden: false, className: 'quote' }).dataset.currency = currency
  quote.querySelector('h2 span').textContent = `in ${currencyName(currency)}`
  other.parentElement.append(quote)
  return quote
}

function renderPrice(quote, { currency, last, fresh }) {
  quote.classList.toggle('old', !fresh)
  const price = quote.querySelector('.price')
  // The exact digits, not a float.
  const value = last && (last.exact?.[currency] ?? last.prices[currency])
  if (price.dataset.value === `${currency} ${value}`) return
  price.dataset.value = `${currency} ${value}`
  price.replaceChildren(...(value === undefined ? ['–'] : priceParts(value, currency).map(({ type, value: text }) => element('span', type, text))))
  // Screen readers read the price from one element, not from its parts.
  write(quote.querySelector('.spoken'), value === undefined ? 'no price yet' : formatPrice(value, currency))
}

function renderChange(shown, { base, moved, direction, lateSince }, view, words) {
  shown.dataset.direction = direction
  const time = view.isZoomed || lateSince === undefined ? period(view, words) : `since ${formatSince(lateSince, view.now)}`
  write(shown, base === undefined ? 'No change yet'
    : `${{ up: '▲', down: '▼', flat: '' }[direction]} ${formatAmount(Math.abs(moved))} (${formatPercent(moved / base)}) ${time}`.trim())
}

/** The time that the chart shows, in words. */
const period = ({ from, until, now, isZoomed }, words) => (
  isZoomed ? `from ${formatSince(from, now)} to ${formatSince(until, now)}` : `in the last ${words}`)

/** Renders the description of the chart for screen readers. */
export function renderSummary(panels, bounds, view, words) {
  const figures = panels.flatMap(({ currency }, index) => (bounds[index] === undefined ? []
    : [`${currency} between ${bounds[index].map((value) => formatPrice(value, currency)).join(' and ')}`]))
  const gaps = panels.flatMap(({ currency, gaps }) => gaps.map((gap) =>
    `${currency}: ${gapReason(gap)} (${gap.open ? `since ${formatTime(gap.after)}` : `${formatTime(gap.after)} to ${formatTime(gap.before)}`})`))
  write(byId('summary'), figures.length === 0 ? 'There is no price to draw yet.'
    : `${capital(period(view, words))}: ${[...figures, ...gaps].join('; ')}.`)
}
