// What is said, and how numbers and times are written: in the reader's own way, by Intl.

const price = (currency) => new Intl.NumberFormat(undefined, {
  style: 'currency', currency, currencyDisplay: 'narrowSymbol', minimumFractionDigits: 2, maximumFractionDigits: 2,
})
const prices = { USD: price('USD'), EUR: price('EUR') }
const percent = new Intl.NumberFormat(undefined, { style: 'percent', minimumFractionDigits: 2, maximumFractionDigits: 2 })
const amount = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 })
const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' })
const seconds = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit', second: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { weekday: 'short', hour: 'numeric', minute: '2-digit' })
const list = new Intl.ListFormat('en', { type: 'conjunction' })

export const formatPrice = (value, currency) => prices[currency].format(value)
/** A price in parts (`{ type, value }`), for a page that sets its symbol and its decimals smaller. */
export const priceParts = (value, currency) => prices[currency].formatToParts(value)
export const formatAmount = (value) => amount.format(value)
export const formatPercent = (share) => percent.format(Math.abs(share))
export const formatTime = (ms) => clock.format(ms)
export const formatSeconds = (ms) => seconds.format(ms)
/** A moment of a range of a day, which may have been yesterday. */
export const formatMoment = (ms, now) => (sameDay(ms, now) ? seconds : day).format(ms)
/** The labels of an axis: as many decimals as its step has. */
export const axisFormat = (step) => {
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9))
  return new Intl.NumberFormat(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

const sameDay = (one, other) => new Date(one).toDateString() === new Date(other).toDateString()

/** `8 s`, `3 min`, `2 h 5 min`, `3 days`. */
export const duration = (ms) => {
  const total = Math.max(0, Math.round(ms / 1000))
  if (total < 100) return `${total} s`
  const minutes = Math.round(total / 60)
  if (minutes < 100) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return `${Math.round(hours / 24)} days`
}

const names = { coinbase: 'Coinbase', kraken: 'Kraken', bitstamp: 'Bitstamp', coindesk: 'CoinDesk', simulated: 'simulated market' }
export const sourceNames = (sources) => list.format(sources.map((source) => names[source] ?? source))

/** Why there is nothing in a gap. */
export const gapWords = (gap) => ({
  source_outage: 'No price could be agreed',
  history_expired: 'Older than what is kept',
  history_lost: 'Lost by the store',
  unexplained: 'Missed, and nobody said why',
  silence: 'No update came',
  disconnected: 'Not connected',
})[gap.reason] ?? gap.reason

export const zone = () => {
  const offset = new Intl.DateTimeFormat('en', { timeZoneName: 'shortOffset' })
    .formatToParts(Date.now()).find((part) => part.type === 'timeZoneName').value
  return `Times are local (${offset}).`
}
