/** The scenarios of `sdk/scenarios.json` that need no server, and further rules of this SDK. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { parseAddresses, urlOf } from '../btcfeed/address.js'
import { EventParser, retryAfter } from '../btcfeed/connection.js'
import { Cursor } from '../btcfeed/cursor.js'
import { MAX_WAITING, Merge } from '../btcfeed/merge.js'
import { readHistory } from '../btcfeed/history.js'
import { parse } from '../btcfeed/message.js'
import { Feed } from '../btcfeed.js'
import { scenarios } from './fixture.js'

/** Returns the message that a scenario writes in short. */
function message({ tick, gap, synced, raw }) {
  if (tick) return { type: 'tick', id: tick[0], prev: tick[1], prices: {} }
  if (gap) return { type: 'gap', after: gap[0], before: gap[1], reason: gap[2] }
  return raw ?? { type: 'synced', id: synced }
}

const inShort = (found) => found.map(({ update: { id, after, before, reason } }) => id ?? [after, before, reason])

for (const { name, after, chained, messages, expect, last, doubled } of scenarios.cursor) {
  test(`cursor: ${name}`, () => {
    const cursor = new Cursor({ after, chained })
    assert.deepEqual(inShort(messages.flatMap((short) => cursor.receive(message(short)))), expect)
    if (last !== undefined) assert.equal(cursor.last, last)
    if (doubled !== undefined) assert.equal(cursor.doubled, doubled)
  })
}

for (const { name, after, steps, expect, doubled = 0, healed = 0 } of scenarios.merge) {
  test(`merge: ${name}`, () => {
    let now = 0
    const cursor = new Cursor({ after })
    const lines = [0, 1].map((address) => ({ address, gaps: [], connection: { state: 'live' } }))
    const merge = new Merge(cursor, lines, () => now)
    const found = []
    for (const [from, detail] of steps) {
      if (from === 'wait') now += detail * 1000
      else if (from === 'lost') lines[detail].newest = undefined
      else if (from === 'hole') assert.deepEqual([merge.hole.after, merge.hole.until], detail)
      else if (from === 'awaited') assert.equal(merge.isAwaited, detail)
      else if (from === 'history') found.push(...merge.heal(message(detail)))
      else if (from === 'give up') found.push(...merge.giveUp())
      else found.push(...merge.receive(lines[from], message(detail)))
    }
    assert.deepEqual(inShort(found), expect)
    assert.deepEqual([cursor.doubled, merge.healed, merge.hole], [doubled, healed, undefined])
  })
}

for (const { given, websocket, events, error } of scenarios.addresses) {
  test(`address: ${given}`, () => {
    const parsed = () => parseAddresses(given, import.meta.url, 'options')[0]
    if (error) return assert.throws(parsed, (thrown) => thrown.message.includes(error))
    assert.equal(urlOf(parsed(), 'v1/ws', {}).href.replace('http', 'ws'), websocket)
    return assert.equal(urlOf(parsed(), 'v1/prices/stream', {}).href, events)
  })
}

test('a line counts as late after more than 5 s', () => {
  let now = 0
  const lines = [0, 1].map((address) => ({ address, gaps: [], connection: { state: 'live' } }))
  const merge = new Merge(new Cursor(), lines, () => now)
  const receive = (line, id) => {
    merge.receive(lines[line], { type: 'tick', id, prev: id - 1 })
    return merge.late().map(({ address }) => address)
  }
  // Line 1 gets each entry 2 s later than line 0. After second 19 it gets nothing more.
  const late = []
  for (let id = 1; id < 30; id++) {
    now = id * 1000
    late.push(...receive(0, id).map(() => id))
    if (id > 2 && id < 20) assert.deepEqual(receive(1, id - 2), [])
  }
  assert.deepEqual(late, [25, 26, 27, 28, 29])
})

test('many entries behind a hole take little time', () => {
  const lines = [0, 1].map((address) => ({ address, gaps: [], connection: { state: 'live' } }))
  const merge = new Merge(new Cursor({ after: 0 }), lines)
  const began = performance.now()
  for (const line of lines) {
    for (let id = 2; id < MAX_WAITING + 2; id++) merge.receive(line, { type: 'tick', id, prev: id - 1 })
  }
  assert.ok(merge.isFull)
  assert.equal(merge.heal({ type: 'tick', id: 1, prev: 0 }).length, MAX_WAITING + 1)
  assert.ok(performance.now() - began < 1000)
})

test('lastId is not ahead of the event in a listener', async () => {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"type":"tick","id":30,"prev":20,"prices":{}}\n\n')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}`
  const lastIdOf = (type, after) => new Promise((found) => {
    const feed = new Feed({ url, transport: 'sse', after })
    feed.addEventListener(type, () => {
      feed.close()
      found(feed.lastId)
    })
  })
  // The tick comes with a gap before it. A client that closes the feed at the gap has not got the tick.
  assert.deepEqual([await lastIdOf('gap', 10), await lastIdOf('tick', 10), await lastIdOf('tick', 20)], [10, 30, 30])
  server.closeAllConnections()
  server.close()
})

test('prices keep their digits', () => {
  const { prices, exact } = parse('{"type":"tick","id":2,"prev":1,"prices":{"USD":97116.10,"EUR":1e5},"sources":{}}')
  assert.deepEqual([prices, exact], [{ USD: 97116.1, EUR: 100_000 }, { USD: '97116.10', EUR: '1e5' }])
  assert.equal(parse('not JSON'), undefined)
})

test('events may be cut anywhere', () => {
  const text = ': hi\r\nretry: 1500\r\n\r\nid: 7\ndata: {"a":\ndata:1}\n\nevent: gap\rdata: x\r\rdata: incomplete'
  for (let cut = 0; cut <= text.length; cut++) {
    const seen = []
    const parser = new EventParser({ event: (...event) => seen.push(event), retry: (ms) => seen.push(ms) })
    for (const part of [text.slice(0, cut), text.slice(cut)]) parser.read(part)
    assert.deepEqual(seen, [1500, ['{"a":\n1}', ''], ['x', 'gap']], `cut at ${cut}`)
  }
  const parser = new EventParser({ event() {}, retry() {} })
  assert.throws(() => parser.read('x'.repeat(70_000)), /too long/)
})

test('the key is in no URL of a request', async () => {
  const seen = []
  const server = createServer(({ url, headers }, response) => {
    seen.push([url.includes('secret'), headers.authorization])
    response.writeHead(401).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}`
  await assert.rejects(new Feed({ url, transport: 'sse', key: 'secret' })[Symbol.asyncIterator]().next(), /HTTP 401/)
  await readHistory(new URL(url), { key: 'secret' }, { after: 1, until: 2 })
  assert.deepEqual(seen, [[false, 'Bearer secret'], [false, 'Bearer secret']])
  assert.throws(() => new Feed({ url: `${url}/?key=secret` }), ({ message }) => !message.includes('secret'))
  server.closeAllConnections()
  server.close()
})

test('a 404 after a stream is tried again', async () => {
  let count = 0
  const server = createServer((_, response) => {
    const isFeed = count++ % 2 === 0
    response.writeHead(isFeed ? 200 : 404, { 'content-type': isFeed ? 'text/event-stream' : 'text/plain' })
    response.end(isFeed ? `data: {"type":"tick","id":${count},"prev":${Math.max(count - 2, 0)},"prices":{}}\n\n` : 'x')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const feed = new Feed({ url: `http://127.0.0.1:${server.address().port}`, transport: 'sse' })
  const loop = feed[Symbol.asyncIterator]()
  assert.deepEqual([(await loop.next()).value.id, (await loop.next()).value.id], [1, 3])
  feed.close()
  server.closeAllConnections()
  server.close()
})

test('a 404 without an explanation is not from a feed', async () => {
  const server = createServer((_, response) => { response.writeHead(404).end('{"message":"Not Found"}') })
  await new Promise((ready) => { server.listen(0, '127.0.0.1', ready) })
  try {
    const feed = new Feed({ url: `http://127.0.0.1:${server.address().port}`, transport: 'sse' })
    await assert.rejects(feed.pricesAt(), (error) => error.status === undefined && /it answers HTTP 404/.test(error.message))
    feed.close()
  } finally {
    server.close()
  }
})

test('a delay is asked for in seconds or with a date', () => {
  const soon = retryAfter(new Date(Date.now() + 30_000).toUTCString())
  assert.ok(soon > 28_000 && soon <= 30_000)
  assert.deepEqual(['7', '7000', 'x', null].map(retryAfter), [7000, 600_000, 0, 0])
})

test('without an address, the server of the module is the feed', () => {
  assert.equal(parseAddresses(undefined, 'https://feed.example/btc/btcfeed.js', '')[0].href, 'https://feed.example/btc/')
  for (const module of ['file:///x/btcfeed.js', 'data:text/javascript,x']) {
    assert.throws(() => parseAddresses(undefined, module, ''), /^TypeError: missing url outside of a page: /)
  }
})

test('invalid options are errors', () => {
  const url = 'http://localhost'
  for (const [options, expected] of [
    [{}, 'missing url outside of a page: expected ws://, wss://, http:// or https://'],
    [{ url: 'me:secret@host' }, 'invalid url "…@host": expected ws://, wss://, http:// or https://'],
    [{ url, redundancy: 5 }, 'invalid redundancy 5: expected 1 to 4'],
    [{ url, key: 'secret\n' }, 'invalid key: expected printable ASCII characters without spaces'],
    [
      { url, redundancy: 2, limit: 5 },
      'invalid options with redundancy: expected neither changes, every, limit nor clientId',
    ],
    [{ url, transport: 'tcp' }, 'invalid transport "tcp": expected websocket or sse'],
    [{ url, curency: 'USD' }, /^invalid option "curency": expected url, currencies, /],
  ]) assert.throws(() => new Feed(options), { message: expected })
})
