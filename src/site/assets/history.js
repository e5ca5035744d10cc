// What was before the page was opened, asked for over HTTP.

import * as clock from './clock.js'

/** The most entries in one answer, and in all answers for one range. */
const PAGE = 5000
const MOST = 100_000

const get = async (path, query) => {
  const answer = await fetch(`${path}?${new URLSearchParams(query)}`, { signal: AbortSignal.timeout(15_000), cache: 'no-cache' })
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
  clock.suppose(Date.parse(answer.headers.get('date')))
  return answer.json()
}

/** Ticks, statuses and gaps from one moment to another, both included, oldest first. Of a fast feed's the oldest are left out,
 *  so that what is there meets what the stream has. */
export const entries = async (currencies, from, until) => {
  const found = []
  let start = { since: Math.floor(from) }
  do {
    const query = { format: 'full', currency: currencies, ...start, until: Math.floor(until), limit: PAGE }
    const { prices, next } = await get('/v1/prices', query)
    found.push(...prices)
    found.splice(0, Math.max(found.length - MOST, 0))
    start = next === null ? null : { after: next }
  } while (start !== null)
  return found
}

/** The newest tick that has a price in a currency, or nothing if there has been none. */
export const latest = (currency) => get('/v1/prices/latest', { format: 'full', currency }).catch(() => undefined)

/** The first tick with a price in a currency since a moment, and the entry before which there is nothing of it; neither if
 *  there is none. */
export const first = async (currency, from) => {
  const { prices } = await get('/v1/prices', { format: 'full', currency, since: Math.floor(from), limit: 20 })
  return { tick: prices.find(({ type }) => type === 'tick'), begin: prices.find(({ prev }) => prev === 0) }
}

/** What a request for candles begins with is rounded down to this, so that many ask the same. */
const ROUND_MS = 300_000

/** Candles of an interval (`1m`, `5m`) from a moment on, and the gaps among them. */
export const candles = (currencies, interval, from) =>
  get('/v1/candles', { interval, currency: currencies, since: Math.floor(from / ROUND_MS) * ROUND_MS, limit: 2000 })
