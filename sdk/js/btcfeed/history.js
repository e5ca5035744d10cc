/** Reads missing entries from the history of a feed. */

import { urlOf } from './address.js'
import { headersOf, textOf } from './connection.js'
import { parse } from './message.js'

/** Timeout of one request. */
const TIMEOUT_MS = 2_000

/** Returns the messages of the history after one id and up to another, or `undefined` if the request fails. */
export async function readHistory(address, { currency, key }, { after, until }) {
  const url = urlOf(address, 'v1/prices', { currency, format: 'full,ndjson', after, until })
  try {
    const options = { signal: AbortSignal.timeout(TIMEOUT_MS), cache: 'no-store', headers: headersOf(key) }
    const response = await fetch(url, options)
    if (!response.ok) return undefined
    return (await textOf(response)).split('\n').map(parse).filter((message) => message !== undefined)
  } catch { return undefined }
}
