/**
 * One connection to a feed: a WebSocket, or server-sent events that are read with `fetch`.
 *
 * `openWebSocket` and `openEvents` return a function that closes the connection. They call these handlers:
 *
 *     opened()                                  the server has accepted
 *     alive()                                   events only: bytes have come, with or without a message
 *     message(text)                             a message has come
 *     retry(ms)                                 events only: the server asks for this minimum delay before each further
 *                                               connection
 *     ended({ reason, soon, … })                the connection has failed or ended. `soon`: another replica can take
 *                                               over at once
 *     explained({ reason, … })                  WebSocket only, after `ended`: the answer to a plain request
 *
 * If the server has rejected the client, the argument of `ended` or `explained` has more fields. `permanent`: another
 * attempt would be rejected too. `noFeed`: the answer is not that of a feed. `notBefore_ms`: the minimum delay before
 * the next attempt.
 */

/** Timeout of the request that asks why a WebSocket failed. */
const EXPLAIN_TIMEOUT_MS = 10_000
/** Upper bound for `Retry-After` and `retry:`. */
const MAX_ASKED_MS = 600_000
/** The maximum length of an event. The messages of a feed are much shorter; the limit protects the memory. */
const MAX_EVENT_CHARACTERS = 65_536

/** The maximum length of a response that is not a stream. The responses of a feed are less than a tenth as long. The
 *  limit protects the memory. */
const MAX_TEXT_BYTES = 16 * 1024 * 1024

/** Reads the text of a response. Throws if it is too long. */
export async function textOf(response) {
  const [reader, decoder] = [response.body.getReader(), new TextDecoder()]
  let [text, bytes] = ['', 0]
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    bytes += value.length
    if (bytes > MAX_TEXT_BYTES) {
      reader.cancel().catch(() => { /* The connection is closed either way. */ })
      throw new Error(`the answer has more than ${MAX_TEXT_BYTES} bytes`)
    }
    text += decoder.decode(value, { stream: true })
  }
}

/** Returns true if a request that was answered with this status would be rejected again. 426 does not count: it
 *  only says that the plain request of `openWebSocket` is not the handshake of a WebSocket. */
function isPermanent(status) {
  return status >= 200 && status <= 499 && ![408, 425, 426, 429].includes(status)
}

/** Returns why an answer is not a stream, for `ended` or `explained`. */
async function refusal(response) {
  const { status } = response
  const { detail } = (await textOf(response).then(JSON.parse).catch(() => undefined)) ?? {}
  const other = status < 300 ? `there is no feed at this address: it answers HTTP ${status}`
    : `the server answered with HTTP ${status}`
  return {
    reason: (status >= 300 && detail) || other, permanent: isPermanent(status),
    // Every feed has the paths of the streams, and explains its errors. So a 404 or 405 without `detail` is not from a
    // feed.
    noFeed: status < 300 || ([404, 405].includes(status) && !detail),
    notBefore_ms: retryAfter(response.headers.get('retry-after')),
  }
}

/** Returns the delay in a header `Retry-After`, which has seconds or a date. */
export function retryAfter(value) {
  const asked_ms = /^\d+$/.test(value) ? value * 1000 : new Date(value ?? '') - Date.now()
  return Math.min(Math.max(asked_ms || 0, 0), MAX_ASKED_MS)
}

/** The headers of a request. The key is in a header where that is possible, because servers and proxies log URLs. */
export function headersOf(key) {
  return key === undefined ? {} : { authorization: `Bearer ${key}` }
}

/** Opens a WebSocket. Throws if it can never be opened, for example from a page over https to an http address. */
export function openWebSocket(url, key, handlers) {
  const secured = new URL(url)
  // Browsers do not let a page add headers to the request of a WebSocket.
  if (key !== undefined) secured.searchParams.set('key', key)
  secured.protocol = url.protocol.replace('http', 'ws')
  const socket = new WebSocket(secured)
  let [opened, closed] = [false, false]
  const current = (handle) => (event) => { if (!closed) handle(event) }
  const end = (detail) => {
    closed = true
    handlers.ended(detail)
  }
  socket.onopen = current(() => {
    opened = true
    handlers.opened()
  })
  socket.onmessage = current(({ data }) => handlers.message(data))
  socket.onclose = current(({ code, reason }) => {
    if (code >= 4500 && code <= 4999) end({ reason: reason || `the server closed with code ${code}`, permanent: true })
    else if (opened) end({ reason: reason || 'the connection was lost', soon: code === 1001 })
  })
  // If a socket fails to open, some runtimes emit no `close` event. Browsers do not report why a handshake failed, so
  // a plain request asks for the reason.
  socket.onerror = current(() => {
    if (opened) return
    end({ reason: 'the connection failed' })
    fetch(url, { signal: AbortSignal.timeout(EXPLAIN_TIMEOUT_MS), cache: 'no-store', headers: headersOf(key) })
      .then(refusal).then(handlers.explained).catch(() => { /* The retry is scheduled already. */ })
  })
  return () => {
    closed = true
    socket.close()
  }
}

/** Opens a stream of server-sent events. */
export function openEvents(url, key, handlers) {
  const abort = new AbortController()
  const current = (handle) => (...detail) => { if (!abort.signal.aborted) handle(...detail) }
  const end = current((detail) => {
    abort.abort()
    handlers.ended(detail)
  })
  readEvents(url, key, abort.signal, current, end, handlers)
    .then(() => end({ reason: 'the connection was lost' }))
    .catch((error) => end({ reason: `the connection failed: ${(error.cause ?? error).message || error.cause?.code}` }))
  return () => abort.abort()
}

async function readEvents(url, key, signal, current, end, handlers) {
  const headers = { ...headersOf(key), accept: 'text/event-stream' }
  const response = await fetch(url, { signal, cache: 'no-store', headers })
  if (response.status !== 200 || !response.headers.get('content-type')?.startsWith('text/event-stream')) {
    return end(await refusal(response))
  }
  current(handlers.opened)()
  const parser = new EventParser({
    retry: current((ms) => handlers.retry(Math.min(ms, MAX_ASKED_MS))),
    event: current((data, name) => {
      if (name !== 'goodbye') return handlers.message(data)
      const { reason, message } = JSON.parse(data)
      return end({ reason: message || `the server ended the stream: ${reason}`, soon: reason === 'draining' })
    }),
  })
  const decoder = new TextDecoder()
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read()
    if (done) return undefined
    current(handlers.alive)()
    parser.read(decoder.decode(value, { stream: true }))
  }
}

/** Parser of an event stream (HTML Living Standard §9.2.6). Its input may be cut anywhere. */
export class EventParser {
  #handlers
  #line = ''
  #data = ''
  #name = ''

  constructor(handlers) { this.#handlers = handlers }

  read(text) {
    const lines = (this.#line + text).split(/\r\n|\n|\r(?!$)/)
    this.#line = lines.pop()
    if (this.#line.length + this.#data.length > MAX_EVENT_CHARACTERS) throw new Error('an event is too long')
    for (const line of lines) this.#readLine(line)
  }

  #readLine(line) {
    if (line === '') {
      const [data, name] = [this.#data, this.#name]
      this.#data = this.#name = ''
      if (data !== '') this.#handlers.event(data.slice(0, -1), name)
      return
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line)
    if (field === 'data') this.#data += `${value}\n`
    if (field === 'event') this.#name = value
    if (field === 'retry' && /^\d+$/.test(value)) this.#handlers.retry(Number(value))
  }
}
