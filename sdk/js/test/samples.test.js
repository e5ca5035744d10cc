/** The samples of the API reference, as users run them. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startFixture } from './fixture.js'

const file = (path) => fileURLToPath(new URL(path, import.meta.url))

let fixture
const folder = mkdtempSync(join(tmpdir(), 'btcfeed-'))
before(async () => {
  fixture = await startFixture(1)
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(file('..'), join(folder, 'node_modules/btcfeed'))
})
after(() => {
  fixture.end()
  rmSync(folder, { recursive: true })
})

const PRINTED = { get: /^\{ timedate: '.*', price: [\d.]+ \}/, follow: /^20\d\d-.*Z [\d.]+ [\d.]+/ }

for (const [name, printed] of Object.entries(PRINTED)) {
  test(`sample ${name}.js prints prices`, { timeout: 30_000 }, async () => {
    const program = join(folder, `${name}.mjs`)
    const source = readFileSync(file(`../../../examples/docs/${name}.js`), 'utf8')
    writeFileSync(program, source.replaceAll('http://localhost:8080', fixture.direct[0]))
    const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    for await (const part of child.stdout) {
      output += part
      if (printed.test(output)) break
    }
    child.kill()
    assert.match(output, printed)
  })
}
