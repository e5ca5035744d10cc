// npm install PATH/sdk/js, or in a page: import { Feed } from 'http://localhost:8080/btcfeed.js'
import { Feed } from 'btcfeed'

const feed = new Feed({ url: 'http://localhost:8080', currencies: ['USD', 'EUR'] })
for await (const update of feed) {
  if (update.type === 'tick') console.log(update.timedate, update.prices.USD, update.prices.EUR)
  if (update.type === 'gap') console.warn('missing', update.after, update.before, update.reason)
}
