// Prints every price, over two replicas at once: node example.ts http://localhost:8080 http://localhost:8081
import { Feed } from 'btcfeed'

const feed = new Feed({ url: process.argv.slice(2), currencies: ['USD', 'EUR'], redundancy: 2 })
feed.addEventListener('connection', ({ detail }) => console.error(detail.state, detail.reason ?? ''))
for await (const update of feed) {
  if (update.type === 'tick') console.log(update.timedate, update.exact.USD, update.exact.EUR)
  if (update.type === 'status') console.warn(update.state, update.reason)
  if (update.type === 'gap') console.warn('missing', update.after, update.before, update.reason)
}
