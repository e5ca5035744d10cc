/** The prices at a moment, from the history of a feed. */

import { urlOf } from './address.js'
import { headersOf, textOf } from './connection.js'
import { duration, moment } from './options.js'

/** Timeout of one request. */
const TIMEOUT_MS = 10_000

/**
 * Returns the price in each currency at a moment. The addresses are asked one after the other. An address is skipped if
 * it does not answer like a feed, or answers with 429 or 5xx. Throws if the feed had no price then (`error.status` is
 * 404), if an argument or the key is invalid, or if every address is skipped.
 */
export async function readPricesAt(addresses, { currency, key }, time, { window } = {}) {
  const query = { currency, time: moment(time), window: duration(window) }
  let problem = new Error('the feed does not answer')
  for (const address of addresses) {
    try {
      const options = { signal: AbortSignal.timeout(TIMEOUT_MS), headers: headersOf(key) }
      const response = await fetch(urlOf(address, 'v1/prices/at', query), options)
      const text = await textOf(response)
      if (response.ok) return parse(text)
      const { detail } = JSON.parse(text)
      // A feed explains its errors, so this is another server.
      if (detail === undefined) throw new Error(`it answers HTTP ${response.status}`)
      problem = Object.assign(new Error(detail), { status: response.status })
    } catch (error) {
      problem = new Error(`${address.href}: ${(error.cause ?? error).message || error.message}`)
      continue
    }
    if (problem.status < 500 && problem.status !== 429) break
  }
  throw problem
}

/** Parses the answer. `exact` and `exactAverage` have all digits of the prices, which a number may lose. */
function parse(text) {
  const { time, prices } = JSON.parse(text)
  // Each price is a flat object.
  const texts = text.slice(text.indexOf('"prices"')).match(/\{[^{}]*\}/g) ?? []
  const digits = (of, name) => new RegExp(`"${name}":([0-9.eE+-]+)`).exec(of)?.[1]
  return {
    time,
    prices: Object.fromEntries(prices.map(({ currency, ...price }, place) => [currency, {
      ...price, exact: digits(texts[place], 'price'), exactAverage: digits(texts[place], 'average'),
    }])),
  }
}
