// The sources of the price: what each of them says itself, how old that is, and whether it is used.

import { capital, formatChange, formatDuration, formatPrice } from './format.js'
import * as history from './history.js'
import { element, write } from './write.js'

/** Time between two requests after the sources of all currencies are known. */
const ASK_EVERY_MS = 10_000

const STATES = { outlier: 'Outlier', frozen: 'Frozen', resting: 'Resting', failing: 'No price', unknown: 'Unknown' }

export class Sources {
  #table
  #isVisible = false
  #askedAt = -Infinity
  /** For each currency, the last answer and when it came. */
  #answers = new Map()

  constructor(table) {
    this.#table = table
    new IntersectionObserver(([{ isIntersecting }]) => { this.#isVisible = isIntersecting }).observe(table)
  }

  /** The number of sources that are polled for a currency, if it is known. */
  polled(currency) {
    return this.#answers.get(currency)?.sources.length || undefined
  }

  /** Asks for the sources of each currency: every 2 s until all are known, and then every 10 s while the table is
   *  visible. Returns true if there is an answer. */
  async load(currencies) {
    const isNew = currencies.some((currency) => this.polled(currency) === undefined)
    const wait = ASK_EVERY_MS * (isNew ? 0.2 : 1)
    if (performance.now() - this.#askedAt < wait || (!isNew && (!this.#isVisible || document.hidden))) return false
    this.#askedAt = performance.now()
    const answers = await Promise.all(currencies.map((currency) => history.sources(currency).catch(() => undefined)))
    const at = performance.now()
    answers.forEach((answer, index) => answer && this.#answers.set(currencies[index], { ...answer, at }))
    return answers.some((answer) => answer !== undefined)
  }

  /** Renders the table. `prices` has the price of the feed in each shown currency. `isOld` is true from a failure
   *  of the stream until the stream is live again. The table may be old then. */
  render(prices, isOld) {
    const rows = prices.flatMap(([currency, price]) => {
      const { sources = [], at } = this.#answers.get(currency) ?? {}
      const name = (source) => (prices.length > 1 ? `${source.title} (${currency})` : source.title)
      return sources.map((source) => ({ ...rowOf(source, currency, price, performance.now() - at), name: name(source) }))
    })
    const body = this.#table.tBodies[0]
    // Rows are kept, so that a link keeps the focus.
    if (rows.length > 0) body.querySelector('.none')?.parentElement.remove()
    const shown = [...body.rows]
    rows.forEach(({ source, name, cells }, index) => {
      const row = shown[index] ?? body.appendChild(emptyRow())
      const link = row.cells[0].firstElementChild
      write(link, name)
      if (source.attribution === undefined) link.removeAttribute('href')
      else if (link.href !== source.attribution) link.setAttribute('href', source.attribution)
      cells.forEach((text, cell) => write(row.cells[cell + 1], text))
      row.className = source.state
    })
    if (rows.length > 0) for (const row of shown.slice(rows.length)) row.remove()
    else if (!prices.some(([currency]) => this.#answers.has(currency))) body.replaceChildren()
    else if (body.querySelector('.none') === null) body.replaceChildren(noneRow())
    this.#table.classList.toggle('old', isOld)
  }
}

const emptyRow = () => {
  const name = element('th', '', element('a'))
  name.scope = 'row'
  return element('tr', '', name, ...['number', 'number difference', 'number', 'state-of-source'].map((each) => element('td', each)))
}

const noneRow = () => {
  const cell = element('td', 'none', 'The feed has not recorded yet what its sources say.')
  cell.colSpan = 5
  return element('tr', '', cell)
}

/** The texts of a row: price, difference from the price of the feed, age, state. */
const rowOf = (source, currency, price, elapsed_ms) => {
  const value = source.values.find((one) => one.currency === currency)
  const state = STATES[source.state] ?? (value?.used ? 'Used' : 'Not used')
  return { source, cells: [
    value === undefined ? '–' : formatPrice(value.value, currency),
    value === undefined || price === undefined ? '–' : formatChange(value.value / price - 1),
    value === undefined ? '–' : formatDuration(value.age_ms + elapsed_ms),
    source.reason === undefined || source.state === 'unknown' ? state : capital(source.reason),
  ] }
}
