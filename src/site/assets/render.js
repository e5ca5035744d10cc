// The words and numbers around the chart.

import { extremes, isLate } from './series.js'
import { duration, formatAmount, formatPercent, formatPrice, formatTime, gapWords, priceParts, sourceNames } from './format.js'

const byId = (id) => document.getElementById(id)

/** Only what changed is written, so that a screen reader is not told the same again, and a selection stays. */
const write = (element, text) => {
  if (element.textContent !== text) element.textContent = text
}

/** The same of several lines. */
const writeLines = (element, lines) => {
  const shown = lines.length === 0 ? ['–'] : lines
  if ([...element.children].map((line) => line.textContent).join() === shown.join()) return
  element.replaceChildren(...shown.map((text) => Object.assign(document.createElement('span'), { className: 'figure-line', textContent: text })))
}

/** Why there is no more than what is shown. */
export function showBegin(began) {
  write(byId('begin'), began === undefined ? '' : `The feed began at ${formatTime(began)}.`)
}

/** The connection, the feed's health, and what is wrong in plain words. */
export function showState(link, status, panels, all) {
  const ill = all.filter((panel) => panel.ill && panel.last !== undefined).map(({ currency }) => currency)
  const alone = ill.length < all.length ? ill : []
  const { state, words } = stateOf(link, status, panels, alone)
  const element = byId('state')
  element.dataset.state = state
  write(element, words)
  byId('trouble').dataset.state = state
  write(byId('trouble'), troubleOf(state, link, status, panels, ill, alone))
  showAge(panels, link, state)
  const simulated = panels.some(({ currency, last }) => last?.sources[currency].every((source) => source === 'simulated'))
  byId('simulated').hidden = !simulated
  showTitle(panels, state, simulated)
  write(byId('replica'), link.hello?.replica ?? '–')
}

/** `alone` is the currencies that are ill while others are not. */
function stateOf({ connection, shaken, failure }, status, panels, alone) {
  if (connection.state === 'closed') return { state: 'down', words: 'Refused' }
  // A connection that is made anew in a moment is not worth a word.
  const brief = shaken !== null && Date.now() - shaken < 1000 && status !== null
  if (shaken !== null && !brief) {
    return failure === null ? { state: 'connecting', words: 'Connecting' } : { state: 'away', words: 'Disconnected' }
  }
  if (status?.state === 'down') return { state: 'down', words: 'Down' }
  const stale = status?.state === 'stale' || panels.some(({ ill, last }) => ill && last !== undefined)
  if (stale) return { state: 'stale', words: alone.length > 0 ? `Stale: ${alone.join(', ')}` : 'Stale' }
  if (panels.every(({ last }) => last === undefined)) return { state: 'waiting', words: 'Waiting' }
  return { state: 'live', words: 'Live' }
}

function troubleOf(state, { connection, failure }, status, panels, ill, alone) {
  if (connection.state === 'closed') return `The server refused: ${connection.reason}.`
  if (state === 'away') return `Not connected: ${failure.reason}. It comes back by itself, and misses nothing.`
  if (state === 'down' || state === 'stale') return outage(state, status, ill, alone)
  if (panels.every(({ last }) => last === undefined) && connection.state === 'live') return 'Waiting for the first price.'
  return ''
}

/** What the feed says, which it said when the first currency failed; what has failed since; and what happens next. */
function outage(state, status, ill, alone) {
  if (status === null || status.state === 'live') return silence(ill.join(' and '), alone)
  const more = ill.filter((currency) => !status.reason.includes(currency))
  return [`${capital(status.reason)}.`,
    ...(more.length > 0 ? [`No new price in ${more.join(' and ')} either.`] : []),
    ...(state === 'down' ? ['The sources are asked again every few seconds.'] : []),
  ].join(' ')
}

/** No price comes, and the feed does not say that anything is wrong. A server that is cut off from it cannot either. */
const silence = (currencies, alone) => (alone.length > 0
  ? `No new price in ${currencies} has come. The next one appears here by itself.`
  : `Connected, but no new price in ${currencies} comes: the server may be cut off from the feed. New ones appear here by themselves.`)

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.$/, '')

function showAge(panels, { connection }, state) {
  const known = panels.filter(({ last }) => last !== undefined)
  const age = Math.max(...known.map((panel) => panel.age))
  const parts = known.length === 0 ? [] : [age < 1500 ? 'Updated now' : `Updated ${duration(age)} ago`]
  if (state === 'away') parts.push(connection.state === 'waiting' ? `next try in ${duration(connection.retryAt - Date.now())}` : 'trying')
  write(byId('age'), parts.join(', '))
}

function showTitle(panels, state, simulated) {
  const prices = panels.filter(({ last }) => last !== undefined)
    .map(({ currency, last }) => formatPrice(last.exact?.[currency] ?? last.prices[currency], currency))
  const mark = { live: '', waiting: '', connecting: '… ' }[state] ?? '(!) '
  document.title = `${mark}${[...prices, simulated ? 'simulated' : 'btcfeed'].join(' · ')}`
}

/** The price in large type, and what it did over the range. */
export function showQuotes(panels, range, from) {
  for (const element of document.querySelectorAll('.quote')) {
    const panel = panels.find(({ currency }) => currency === element.dataset.currency)
    element.hidden = panel === undefined
    if (panel !== undefined) showQuote(element, panel, range, from)
  }
}

function showQuote(element, { currency, last, points, fresh }, range, from) {
  element.classList.toggle('old', !fresh)
  const price = element.querySelector('.price')
  // The digits as the market gave them, not through a float.
  const value = last && (last.exact?.[currency] ?? last.prices[currency])
  if (price.dataset.value !== `${value}`) {
    price.dataset.value = value
    price.replaceChildren(...(last === undefined ? ['–'] : priceParts(value, currency).map(part)))
    // For those who listen in one piece.
    write(element.querySelector('.spoken'), last === undefined ? 'no price yet' : formatPrice(value, currency))
  }
  const change = element.querySelector('.change')
  // Of candles, from where the one opens that the range begins in.
  const first = points.find(({ t }) => t >= from - (range.interval_ms ?? 0))
  const moved = first === undefined || last === undefined ? undefined : last.prices[currency] - first.value
  change.dataset.direction = moved > 0 ? 'up' : moved < 0 ? 'down' : 'flat'
  const over = isLate(first?.t, range, from) ? `since ${formatTime(first.t)}` : `in the last ${range.words}`
  write(change, moved === undefined ? 'No change to tell yet'
    : `${{ up: '▲', down: '▼', flat: '' }[change.dataset.direction]} ${formatAmount(Math.abs(moved))} (${formatPercent(moved / first.value)}) ${over}`.trim())
}

const part = ({ type, value }) => Object.assign(document.createElement('span'), { className: type, textContent: value })

/** The figures below the chart, and what it shows, in words. */
export function showFacts(panels, range, from) {
  const found = panels.flatMap(({ currency, points }) => {
    // The point before the range is there for the curve to come from.
    const within = extremes(points.filter(({ t }) => t >= from))
    if (within === undefined) return []
    const [low, high] = within.map((value) => formatPrice(value, currency))
    return [{ currency, low, high }]
  })
  for (const side of ['low', 'high']) writeLines(byId(side), found.map((each) => each[side]))
  const sources = new Set(panels.flatMap(({ currency, last }) => last?.sources[currency] ?? []))
  write(byId('sources'), sources.size > 0 ? sourceNames([...sources]) : '–')
  const gaps = panels.flatMap(({ currency, gaps }) => gaps.map((gap) =>
    `${currency}: ${gapWords(gap)} from ${formatTime(gap.after)} ${gap.open ? 'on' : `to ${formatTime(gap.before)}`}`))
  const figures = found.map(({ currency, low, high }) => `${currency} between ${low} and ${high}`)
  write(byId('summary'), figures.length === 0 ? 'There is no price to draw yet.'
    : `In the last ${range.words}: ${[...figures, ...gaps].join('; ')}.`)
}
