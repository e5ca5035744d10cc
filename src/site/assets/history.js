// Requests over HTTP: the data from before the page was opened, and the state of the feed.

import { key } from './api_key.js'
import * as clock from './clock.js'

/** Maximum number of entries in one response. */
const PAGE_ENTRIES = 5000
/** Maximum number of entries for one range. */
const MAX_ENTRIES = 100_000

const headers = key === undefined ? {} : { authorization: `Bearer ${key}` }

const get = async (path, query, alsoValid) => {
  const signal = AbortSignal.timeout(15_000)
  const response = await fetch(`${path}?${new URLSearchParams(query)}`, { headers, signal, cache: 'no-cache' })
  if (!response.ok && response.status !== alsoValid) throw new Error(`${path}: HTTP ${response.status}`)
  clock.setByResponse(Date.parse(response.headers.get('date')))
  return response.json()
}

/** Ticks, statuses and gaps between two moments, both included, oldest first. If there are too many, the oldest are dropped, so
 *  that nothing is missing before the data of the stream. */
export const entries = async (currencies, from, until) => {
  const found = []
  let start = { since: Math.floor(from) }
  do {
    const query = { format: 'full', currency: currencies, ...start, until: Math.floor(until), limit: PAGE_ENTRIES }
    const { prices, next } = await get('/v1/prices', query)
    found.push(...prices)
    found.splice(0, Math.max(found.length - MAX_ENTRIES, 0))
    start = next === null ? null : { after: next }
  } while (start !== null)
  return found
}

/** The newest tick that has a price in a currency, or `undefined` if there is none or the request fails. */
export const latest = (currency) => get('/v1/prices/latest', { format: 'full', currency }).catch(() => undefined)

/** The first tick after a moment that has a price in a currency (`tick`), and the first entry of the feed (`begin`). Each is
 *  `undefined` if it is not among the first entries after the moment. */
export const first = async (currency, from) => {
  const { prices } = await get('/v1/prices', { format: 'full', currency, since: Math.floor(from), limit: 20 })
  return { tick: prices.find(({ type, prices }) => type === 'tick' && currency in prices), begin: prices.find(({ prev }) => prev === 0) }
}

/** Start times of requests for candles are rounded down to this, so that many clients send the same request. */
const ROUND_MS = 300_000

/** Candles of an interval (`1m`, `5m`) from a moment on, and the gaps among them. */
export const candles = (currencies, interval, from) =>
  get('/v1/candles', { interval, currency: currencies, since: Math.floor(from / ROUND_MS) * ROUND_MS, limit: 2000 })

/** The report of a replica about the feed. If the feed is late, it has the status 503. */
export const report = () => get('/v1/status', {}, 503)
