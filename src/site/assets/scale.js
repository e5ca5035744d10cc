// From values to places on the screen, and the round numbers to label them with.

/** A straight line through two points: `linear(domain from, to, range from, to)`. */
export const linear = (from, to, a, b) => (value) => a + ((value - from) / (to - from)) * (b - a)

/** Round numbers between two prices, about `count` of them, and the step between them. */
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

/** Moments between two others, at most `count`, that are round on a local clock. */
export const timeTicks = (from, until, count) => {
  const step = STEPS.find((candidate) => (until - from) / candidate <= count) ?? STEPS.at(-1)
  const offset = new Date(until).getTimezoneOffset() * MINUTE
  const ticks = []
  for (let t = Math.ceil((from - offset) / step) * step + offset; t <= until; t += step) ticks.push(t)
  return ticks
}

/** From the lowest to the highest with some air; a market that stands still is not blown up to a storm. */
export const priceDomain = (low, high) => {
  const least = high * 0.0004
  const air = Math.max((high - low) * 0.1, (least - (high - low)) / 2)
  return [low - air, high + air]
}
