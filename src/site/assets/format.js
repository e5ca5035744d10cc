// Formats of numbers, times and names. Intl formats prices, shares, dates and times of day for the visitor's locale.

import { DAY } from './ranges.js'

const price = (currency) => new Intl.NumberFormat(undefined, {
  style: 'currency', currency, currencyDisplay: 'narrowSymbol', minimumFractionDigits: 2, maximumFractionDigits: 2,
})
/** The formats of the currencies that have been shown. */
const prices = {}
const format = (currency) => prices[currency] ??= price(currency)
const twoDigits = { minimumFractionDigits: 2, maximumFractionDigits: 2 }
const percent = new Intl.NumberFormat(undefined, { style: 'percent', ...twoDigits })
const change = new Intl.NumberFormat(undefined, { style: 'percent', signDisplay: 'exceptZero', ...twoDigits })
const amount = new Intl.NumberFormat(undefined, twoDigits)
const times = (options) => new Intl.DateTimeFormat(undefined, options)
const hour = { hour: 'numeric', minute: '2-digit' }
const clock = times(hour)
const seconds = times({ ...hour, second: '2-digit' })
const day = times({ weekday: 'short', ...hour })
const date = times({ month: 'short', day: 'numeric' })
const dateTime = times({ month: 'short', day: 'numeric', ...hour })

export const formatPrice = (value, currency) => format(currency).format(value)
/** The parts of a price (`{ type, value }`), so that the symbol and the decimals can have a style of their own. */
export const priceParts = (value, currency) => format(currency).formatToParts(value)
export const formatAmount = (value) => amount.format(value)
export const formatPercent = (share) => percent.format(Math.abs(share))
/** A change with its sign. */
export const formatChange = (share) => change.format(share)
/** The direction of a change. A change that is too small to be shown is flat. */
export const directionOf = (share) => (share >= 0.00005 ? 'up' : share <= -0.00005 ? 'down' : 'flat')
export const formatTime = (ms) => clock.format(ms)
/** A moment of the past: the time of day if it is on the day of `now`, otherwise with the weekday or the date. */
export const formatMoment = (ms, now, today = seconds) => {
  if (sameDay(ms, now)) return today.format(ms)
  return (now - ms < 6 * DAY ? day : dateTime).format(ms)
}
/** A moment of the past without seconds. */
export const formatSince = (ms, now) => formatMoment(ms, now, clock)
/** A label of the time axis. `step` is the time between two labels, and `length` that of the whole axis. */
export const formatAxisTime = (ms, step, length) => {
  if (step < 60_000) return seconds.format(ms)
  const isMidnight = new Date(ms).getHours() === 0 && new Date(ms).getMinutes() === 0
  return (step >= DAY || (length > 1.01 * DAY && isMidnight) ? date : clock).format(ms)
}
/** Returns a format for the labels of an axis, with as many decimals as its step needs. */
export const axisFormat = (step, isShare) => {
  const unit = isShare ? step * 100 : step
  const digits = [0, 1, 2, 3].find((count) => Math.abs(unit * 10 ** count - Math.round(unit * 10 ** count)) < 1e-6) ?? 4
  const options = isShare ? { style: 'percent', signDisplay: 'exceptZero' } : {}
  const format = new Intl.NumberFormat(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits, ...options })
  return (value) => format.format(value)
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

/** A text with a capital first letter and without the full stop at its end. */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.$/, '')

/** The name of a currency in a sentence. */
export const currencyName = (currency) => ({
  USD: 'US dollars', EUR: 'euros', GBP: 'pounds', JPY: 'Japanese yen', CHF: 'Swiss francs', CAD: 'Canadian dollars', AUD: 'Australian dollars',
})[currency] ?? currency

/** The reason of a gap in words. */
export const gapReason = (gap) => ({
  source_outage: 'No price from the sources',
  history_expired: 'Older than the history',
  history_lost: 'Lost by the store',
  held_too_long: 'The store could not be written',
  unexplained: 'Missing for an unknown reason',
  silence: 'No update received',
  unrecorded: 'No data',
  disconnected: 'Not connected',
})[gap.reason] ?? gap.reason

export const timeZone = () => {
  const offset = new Intl.DateTimeFormat('en', { timeZoneName: 'shortOffset' })
    .formatToParts(Date.now()).find((part) => part.type === 'timeZoneName').value
  return `Times are local (${offset}).`
}
