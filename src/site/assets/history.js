// Requests over HTTP: the data from before the page was opened, and the state of the feed and of its sources.

import { key } from './api_key.js'
import * as clock from './clock.js'
import { DAY, HOUR, INTERVALS } from './ranges.js'

/** Maximum number of entries in one response. */
const PAGE_ENTRIES = 5000
/** Maximum number of entries for one range. */
const MAX_ENTRIES = 100_000

/** Address of the feed. It may be behind a path, so the address is relative to this file. */
export const address = new URL('..', import.meta.url).href

const headers = key === undefined ? {} : { authorization: `Bearer ${key}` }

const get = async (path, query, alsoValid) => {
  const signal = AbortSignal.timeout(15_000)
  const response = await fetch(`${address}v1/${path}?${new URLSearchParams(query)}`, { headers, signal, cache: 'no-cache' })
  if (!response.ok && response.status !== alsoValid) throw new Error(`${path}: HTTP ${response.status}`)
  clock.setByResponse(Date.parse(response.headers.get('date')))
  return response.json()
}

/** Ticks, statuses and gaps between two moments, both included, oldest first. If there are too many, the oldest are
 *  dropped, so that none is missing just before the data of the stream. */
export const entries = async (currencies, from, until) => {
  const found = []
  let start = { since: Math.floor(from) }
  do {
    const query = { format: 'full', currency: currencies, ...start, until: Math.floor(until), limit: PAGE_ENTRIES }
    const { prices, next } = await get('prices', query)
    found.push(...prices)
    found.splice(0, Math.max(found.length - MAX_ENTRIES, 0))
    start = next === null ? null : { after: next }
  } while (start !== null)
  return found
}

/** The newest tick that has a price in a currency, or `undefined` if there is none or the request fails. */
export const latest = (currency) => get('prices/latest', { format: 'full', currency }).catch(() => undefined)

/** The first entry that the feed ever had, or `null` if it is no longer kept or older than 30 days, or `undefined` if
 *  there is no entry in the last 30 days. */
export const first = async (currencies) => {
  const since = Math.floor(clock.now() - 30 * DAY)
  const { prices } = await get('prices', { format: 'full', currency: currencies, since, limit: 3 })
  return prices.length === 0 ? undefined : prices.find(({ prev }) => prev === 0) ?? null
}

/** Start times of requests for candles are rounded down to this, so that many clients send the same request. */
const ROUND_MS = 300_000

/** Candles of an interval (`1m`, `5m`, `1h`) from a moment on, and the gaps among them. */
export const candles = (currencies, interval, from) =>
  get('candles', { interval, currency: currencies, since: Math.floor(from / ROUND_MS) * ROUND_MS, limit: 3000 })

/** Candles of the 24 hours before `now`: of 5 minutes each until the first full hour, and of an hour each after it. */
export const day = async (currencies, now) => {
  const from = now - DAY
  const hour = Math.ceil(from / HOUR) * HOUR
  const request = (interval, query) => get('candles', { interval, currency: currencies, ...query })
  const pages = await Promise.all([
    request('5m', { since: Math.floor(from / ROUND_MS) * ROUND_MS, until: hour - 1 }), request('1h', { since: hour }),
  ])
  return pages.flatMap(({ interval, candles: found }) => found.map(({ id, prices }) => ({ t: id, end: id + INTERVALS[interval], prices })))
}

/** The beginning of the oldest day that has candles, at most 31 days ago, or `undefined` if there is none. */
export const oldestDay = async (currencies) => {
  const since = Math.floor((clock.now() - 31 * DAY) / DAY) * DAY
  const { candles: days } = await get('candles', { interval: '1d', currency: currencies, since, limit: 1 })
  return days[0]?.id
}

/** The sources that are polled for a currency. */
export const sources = (currency) => get('sources', { currency })

/** The report of a replica about the feed. It comes with the status 503 if the newest tick is too old. */
export const report = () => get('status', {}, 503)
