/** Prints the id of each tick with the time of its arrival in Unix milliseconds. Also prints each gap. When stdin ends,
 *  prints the statistics and exits. Usage: node print.js REDUNDANCY URL… */

import { Feed } from '../btcfeed.js'

const [redundancy, ...url] = process.argv.slice(2)
const feed = new Feed({ url, redundancy: Number(redundancy) })
process.stdin.on('end', () => {
  console.log(JSON.stringify(feed.statistics))
  process.exit()
}).resume()
feed.addEventListener('tick', ({ detail }) => console.log(detail.id, performance.timeOrigin + performance.now()))
feed.addEventListener('gap', ({ detail }) => console.log('gap', JSON.stringify(detail)))
