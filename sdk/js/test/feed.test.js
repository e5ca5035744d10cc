/** The shared scenarios on running replicas, over server-sent events and over WebSocket if this Node has one. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { Feed } from '../btcfeed.js'
import { readEntries, scenarios, startFixture, until } from './fixture.js'

/** Time for which connections break at random moments. */
const TROUBLE_MS = (Number(process.env.BTCFEED_SDK_SECONDS) || 10) * 1000
const TRANSPORTS = globalThis.WebSocket === undefined ? ['sse'] : ['websocket', 'sse']
const REPLICAS = 2

let fixture
before(async () => { fixture = await startFixture(REPLICAS) })
after(() => fixture.end())

/** Runs a scenario. Returns the updates. */
async function run({ options, path = '', steps, lossy }, transport) {
  const servers = (lossy ? fixture.lossy : fixture.proxies).slice(0, options.redundancy ?? 1)
  const url = servers.map((address) => address + path)
  const all = { ...options, url, transport, silence: 1500, clientId: options.clientId && randomUUID() }
  const seen = []
  let feed = new Feed(all)
  let loop = feed[Symbol.asyncIterator]()
  const read = async () => {
    const { value } = await loop.next()
    seen.push(value)
    return value
  }
  const open = (changed) => {
    feed.close()
    feed = new Feed({ ...all, since: undefined, ...changed })
    loop = feed[Symbol.asyncIterator]()
  }
  for (const { read: count, cut, break: bytes, proxy = 0, resume, reopen, trouble } of steps) {
    for (let entries = 0; entries < count;) if ((await read()).type !== 'gap') entries++
    if (cut !== undefined) await fixture.change(`proxy/${proxy}/cut?ms=${cut}`)
    if (bytes !== undefined) await fixture.change(`proxy/${proxy}/break?bytes=${bytes}`)
    if (resume !== undefined || reopen !== undefined) {
      feed.close()
      await new Promise((wake) => setTimeout(wake, resume ?? reopen))
      open({ after: reopen === undefined ? feed.lastId : undefined })
    }
    if (trouble) {
      let isOver = false
      const troubles = fixture.change(`proxy/0/trouble?ms=${TROUBLE_MS}`).then(() => { isOver = true })
      while (!isOver) await read()
      await troubles
    }
  }
  const { statistics } = feed
  feed.close()
  return { seen, statistics }
}

for (const transport of TRANSPORTS) {
  for (const scenario of scenarios.feed.filter(({ transports = TRANSPORTS }) => transports.includes(transport))) {
    test(`${transport}: ${scenario.name}`, { timeout: TROUBLE_MS + 60_000 }, async () => {
      if (scenario.error) {
        return assert.rejects(run(scenario, transport), (error) => error.message.includes(scenario.error))
      }
      const { seen, statistics } = await run(scenario, transport)
      const { options: { currencies = ['USD'] }, expect, gaps = [], missing = 0, healed = 0 } = scenario
      const reasons = seen.filter(({ type }) => type === 'gap').map(({ reason }) => reason)
      assert.deepEqual(gaps[0] === '*' ? reasons.slice(1) : reasons, gaps[0] === '*' ? [] : gaps)
      const entries = seen.filter(({ type }) => type !== 'gap')
      const history = await readEntries(fixture.direct[0], currencies, entries[0].id, entries.at(-1).id)
      const contents = ({ id, prices, state }) => JSON.stringify([id, prices ?? state])
      const received = entries.map(contents)
      // Every received entry is in the history. The entries have the order of the history, and none comes twice.
      assert.deepEqual(history.map(contents).filter((entry) => received.includes(entry)), received)
      if (expect === 'history') assert.ok(history.length - entries.length <= missing, `${received} is not all`)
      for (const { exact = {}, prices } of entries) {
        for (const [currency, text] of Object.entries(exact)) assert.equal(Number(text), prices[currency])
      }
      assert.ok(statistics.taken > 0)
      return assert.ok(statistics.healed >= healed, `${statistics.healed} were healed`)
    })
  }
}

test('the prices at a moment have all their digits', async () => {
  const feed = new Feed({ url: fixture.direct, currencies: ['USD', 'EUR'] })
  const { value: tick } = await feed[Symbol.asyncIterator]().next()
  feed.close()
  const { prices } = await feed.pricesAt(tick.id, { window: '1s' })
  assert.deepEqual(Object.fromEntries(Object.entries(prices).map(([code, { exact }]) => [code, exact])), tick.exact)
  assert.equal(prices.USD.id, tick.id)
  assert.equal(prices.USD.age_ms, 0)
  assert.equal(prices.USD.price, Number(prices.USD.exact))
  assert.ok(prices.EUR.covered >= 0 && prices.EUR.covered <= 1)
  assert.deepEqual(Object.keys((await feed.pricesAt()).prices), ['USD', 'EUR'])
  await assert.rejects(feed.pricesAt('2020-01-01'), (error) => error.status === 404 && /no price in USD/.test(error.message))
  await assert.rejects(feed.pricesAt(tick.id, { window: '2h' }), /invalid window/)
})

test('an endless answer is rejected', async () => {
  const server = createServer((_, response) => {
    const send = () => { while (response.write('x'.repeat(65_536))); }
    response.on('drain', send)
    send()
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const feed = new Feed({ url: `http://127.0.0.1:${server.address().port}`, transport: 'sse' })
    await assert.rejects(feed.pricesAt(), /the answer has more than 16777216 bytes/)
    feed.close()
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

test('a WebSocket that Node lacks is an error', { skip: globalThis.WebSocket !== undefined }, () => {
  assert.throws(() => new Feed({ url: 'http://localhost', transport: 'websocket' }), /^Error: missing WebSocket: /)
})

test('a server that is no feed ends the loop', async () => {
  const feed = new Feed({ url: `${fixture.direct[0]}/docs/x` })
  await assert.rejects(feed[Symbol.asyncIterator]().next(), /unknown path/)
})

test('events name the address of the connection', async () => {
  const url = fixture.direct[0]
  const feed = new Feed({ url })
  const addresses = []
  for (const type of ['connection', 'hello']) {
    feed.addEventListener(type, ({ detail }) => addresses.push(`${type} ${detail.state ?? detail.replica}: ${detail.url}`))
  }
  await feed[Symbol.asyncIterator]().next()
  await until('a live feed', () => feed.connection.state === 'live')
  assert.equal(feed.connection.url, `${url}/`)
  for (const seen of addresses) assert.ok(seen.endsWith(`: ${url}/`), seen)
  assert.ok(addresses.some((seen) => seen.startsWith('hello ')))
  feed.close()
})

test('an absent server is tried again until it starts', async () => {
  await fixture.change('replica/0/kill')
  const feed = new Feed({ url: fixture.direct[0] })
  const states = []
  feed.addEventListener('connection', ({ detail }) => states.push(detail.state))
  const next = feed[Symbol.asyncIterator]().next()
  await until('two attempts', () => states.filter((state) => state === 'waiting').length > 1)
  await fixture.change('replica/0/start')
  assert.equal((await next).value.type, 'tick')
  feed.close()
})
