// Formats of numbers, times and names. Intl formats them for the visitor's locale.

const price = (currency) => new Intl.NumberFormat(undefined, {
  style: 'currency', currency, currencyDisplay: 'narrowSymbol', minimumFractionDigits: 2, maximumFractionDigits: 2,
})
/** The formats of the currencies that have been shown. */
const prices = {}
const format = (currency) => prices[currency] ??= price(currency)
const percent = new Intl.NumberFormat(undefined, { style: 'percent', minimumFractionDigits: 2, maximumFractionDigits: 2 })
const amount = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 })
const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' })
const seconds = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit', second: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { weekday: 'short', hour: 'numeric', minute: '2-digit' })
const list = new Intl.ListFormat('en', { type: 'conjunction' })

export const formatPrice = (value, currency) => format(currency).format(value)
/** The parts of a price (`{ type, value }`), so that the symbol and the decimals can have a style of their own. */
export const priceParts = (value, currency) => format(currency).formatToParts(value)
export const formatAmount = (value) => amount.format(value)
export const formatPercent = (share) => percent.format(Math.abs(share))
export const formatTime = (ms) => clock.format(ms)
/** A moment of the last 24 hours: with seconds if it is today, otherwise with the day of the week. */
export const formatMoment = (ms, now) => (sameDay(ms, now) ? seconds : day).format(ms)
/** Format for the labels of an axis, with as many decimals as its step needs. */
export const axisFormat = (step) => {
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9))
  return new Intl.NumberFormat(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

const sameDay = (one, other) => new Date(one).toDateString() === new Date(other).toDateString()

/** A duration such as `8 s`, `3 min`, `2 h 5 min` or `3 days`. */
export const formatDuration = (ms) => {
  const total = Math.max(0, Math.round(ms / 1000))
  if (total < 100) return `${total} s`
  const minutes = Math.round(total / 60)
  if (minutes < 100) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return `${Math.round(hours / 24)} days`
}

const names = {
  coinbase: 'Coinbase', kraken: 'Kraken', bitstamp: 'Bitstamp', gemini: 'Gemini', bitfinex: 'Bitfinex', bitvavo: 'Bitvavo', binance: 'Binance',
  cryptocom: 'Crypto.com', bitflyer: 'bitFlyer', btcmarkets: 'BTC Markets', independentreserve: 'Independent Reserve',
  coinbase_spot: 'Coinbase spot price', coingecko: 'CoinGecko', coindesk: 'CoinDesk', simulated: 'simulated market',
}
export const formatSources = (sources) => list.format(sources.map((source) => names[source] ?? source))

/** The reason of a gap in words. */
export const gapReason = (gap) => ({
  source_outage: 'No price from the sources',
  history_expired: 'Older than the history',
  history_lost: 'Lost by the store',
  held_too_long: 'The store could not be written',
  unexplained: 'Missing for an unknown reason',
  silence: 'No update received',
  disconnected: 'Not connected',
})[gap.reason] ?? gap.reason

export const timeZone = () => {
  const offset = new Intl.DateTimeFormat('en', { timeZoneName: 'shortOffset' })
    .formatToParts(Date.now()).find((part) => part.type === 'timeZoneName').value
  return `Times are local (${offset}).`
}
