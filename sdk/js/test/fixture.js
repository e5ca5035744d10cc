/** The shared scenarios, and the feed of `sdk/fixture.py`. */

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const file = (path) => fileURLToPath(new URL(path, import.meta.url))

export const scenarios = JSON.parse(readFileSync(file('../../scenarios.json')))

/** Starts the fixture with this number of replicas. Returns its addresses, and functions to change and to end it. */
export async function startFixture(replicas) {
  const arguments_ = [file('../../fixture.py'), String(replicas)]
  const child = spawn('python3', arguments_, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const { value, done } = await lines.next()
  if (done) throw new Error('the fixture did not start')
  const addresses = JSON.parse(value)
  return {
    ...addresses,
    async change(path) {
      const response = await fetch(`${addresses.control}/${path}`, { method: 'POST' })
      if (response.status !== 204) throw new Error(`${path}: HTTP ${response.status}`)
    },
    end: () => child.stdin.end(),
  }
}

/** Returns the entries of a replica with ids from `first` to `last`. */
export async function readEntries(address, currencies, first, last) {
  const query = `format=full&limit=100000&since=${first}&until=${last}&currency=${currencies.join(',')}`
  const { prices } = await (await fetch(`${address}/v1/prices?${query}`)).json()
  return prices.filter(({ type, id }) => type !== 'gap' && id >= first && id <= last)
}

/** Waits until a condition is true. */
export async function until(what, condition) {
  for (const end = Date.now() + 30_000; !(await condition());) {
    if (Date.now() > end) throw new Error(`waited 30 s for ${what}`)
    await new Promise((wake) => setTimeout(wake, 20))
  }
}
