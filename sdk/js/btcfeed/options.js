/** The options of a feed. The head of `btcfeed.js` describes them. */

const PATHS = { websocket: 'v1/ws', sse: 'v1/prices/stream' }
const MAX_REDUNDANCY = 4
export const OPTIONS = 'url, currencies, since, after, changes, every, limit, clientId, key, redundancy, shared, transport, silence'

/** Checks the options, and returns them with their defaults, with the path and the query of a stream. */
export function readOptions(options) {
  const {
    url, currencies = [], since, after, changes, every, limit, clientId, key, redundancy = 1, shared = false, silence,
    transport = globalThis.WebSocket === undefined ? 'sse' : 'websocket', ...unknown
  } = options
  for (const name in unknown) throw invalid('option', name, OPTIONS)
  if (since !== undefined && after !== undefined) {
    throw new TypeError('invalid options since and after: expected only one of them')
  }
  if (after !== undefined && !/^\d+$/.test(after)) throw invalid('after', `${after}`, 'the id of an update')
  // It is a secret, so the error does not quote it.
  if (key !== undefined && !/^[!-~]+$/.test(key)) {
    throw new TypeError('invalid key: expected printable ASCII characters without spaces')
  }
  if (!Object.hasOwn(PATHS, transport)) throw invalid('transport', transport, 'websocket or sse')
  if (!(Number.isInteger(redundancy) && redundancy >= 1 && redundancy <= MAX_REDUNDANCY)) {
    throw invalid('redundancy', redundancy, `1 to ${MAX_REDUNDANCY}`)
  }
  if ((redundancy > 1 || shared) && (changes || every !== undefined || limit || clientId !== undefined)) {
    const option = shared ? 'shared' : 'redundancy'
    throw new TypeError(`invalid options with ${option}: expected neither changes, every, limit nor clientId`)
  }
  if (redundancy > 1 && shared) throw new TypeError('invalid options shared and redundancy: expected only one of them')
  if (transport === 'websocket' && globalThis.WebSocket === undefined) {
    throw new Error('missing WebSocket: expected transport sse, a browser, Deno, Bun, or Node 22 or later')
  }
  return {
    url, key, redundancy, shared, silence, transport,
    path: PATHS[transport],
    query: {
      format: 'full', hello: true, currency: [currencies].flat().join(',') || undefined, changes: changes || undefined,
      every: duration(every), limit: limit || undefined, client_id: clientId,
    },
    since: moment(since),
    after: after === undefined ? undefined : Number(after),
    chained: !changes && every === undefined,
  }
}

/** Returns a moment as a parameter. */
export const moment = (given) => (given instanceof Date ? given.toISOString() : given)

/** Returns a duration as a parameter. Numbers are milliseconds. */
export const duration = (given) => (typeof given === 'number' ? `${given}ms` : given)

function invalid(name, value, expected) {
  return new TypeError(`invalid ${name} ${JSON.stringify(value)}: expected ${expected}`)
}
