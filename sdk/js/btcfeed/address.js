/** The addresses of a feed, and the URLs of what it serves. */

/** Paths of streams. They are not part of the address of a feed, but users may paste them. */
const STREAM_PATH = /(\/(v1\/ws|ws|pricefeed|v1\/prices\/stream|prices\/stream))?\/?$/

/**
 * Returns the addresses of a feed as URLs without the paths of its streams. `given` is one address or several. An
 * address begins with http, https, ws or wss; in a page it may be relative. `module` is the URL of btcfeed.js. If no
 * address is given, the feed is at the folder of this URL. `options` lists the options of a feed, for an error message.
 */
export function parseAddresses(given, module, options) {
  const all = [given ?? []].flat()
  if (all.length > 0) return all.map((address) => parseAddress(address, options))
  // A module from a file or from a `data:` URL has no server.
  if (!/^https?:/.test(module)) throw invalid('missing url outside of a page')
  return [new URL('.', module)]
}

function parseAddress(given, options) {
  let url
  try { url = new URL(given, globalThis.location?.href) } catch { /* Rejected below. */ }
  if (!/^(ws|http)s?:$/.test(url?.protocol)) throw invalid(`invalid url "${redact(given)}"`)
  if (url.username || url.password) throw new TypeError('invalid url: a feed has no user names and passwords')
  if (url.search) {
    // The values may be secrets.
    const names = [...url.searchParams.keys()].join(', ')
    throw new TypeError(`invalid url with a query (${names}): expected options instead (${options})`)
  }
  url.hash = ''
  url.protocol = url.protocol.replace('ws', 'http')
  url.pathname = url.pathname.replace(STREAM_PATH, '') + '/'
  return url
}

/** Returns an address without the user name and the password in front of its host, for an error. */
const redact = (given) => `${given}`.replace(/^.*@/s, '…@')

function invalid(problem) {
  return new TypeError(`${problem}: expected ws://, wss://, http:// or https://`)
}

/** Returns the URL of a path on the feed, with a query. Entries that are `undefined` are left out. */
export function urlOf(address, path, query) {
  const url = new URL(path, address)
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value)
  return url
}
