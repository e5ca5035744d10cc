// Scales: from values to coordinates, and round numbers for the labels of an axis.

/** A linear scale from the domain `from`–`to` to the range `a`–`b`. */
export const linear = (from, to, a, b) => (value) => a + ((value - from) / (to - from)) * (b - a)

/** About `count` round numbers between two prices, and the step between them. */
export const priceTicks = (low, high, count) => {
  const wanted = (high - low) / count
  const power = 10 ** Math.floor(Math.log10(wanted))
  const steps = [1, 2, 2.5, 5, 10].map((factor) => factor * power)
  const step = steps.reduce((best, other) => (Math.abs(other - wanted) < Math.abs(best - wanted) ? other : best))
  const ticks = []
  for (let n = Math.ceil(low / step); n * step <= high; n++) ticks.push(n * step)
  return { ticks, step }
}

const MINUTE = 60_000
const STEPS = [1, 2, 3, 5, 10, 15, 30, 60, 120, 180, 240, 360, 480, 720].map((minutes) => minutes * MINUTE)

/** At most `count` moments between two others, at round local times. */
export const timeTicks = (from, until, count) => {
  const step = STEPS.find((candidate) => (until - from) / candidate <= count) ?? STEPS.at(-1)
  const offset = new Date(until).getTimezoneOffset() * MINUTE
  const ticks = []
  for (let t = Math.ceil((from - offset) / step) * step + offset; t <= until; t += step) ticks.push(t)
  return ticks
}

/** The domain from the lowest to the highest price, with a margin. It has a minimum size, so that small changes look small. */
export const priceDomain = (low, high) => {
  const minimum = high * 0.0004
  const margin = Math.max((high - low) * 0.1, (minimum - (high - low)) / 2)
  return [low - margin, high + margin]
}
