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
const DAY = 1440
const STEPS = [1 / 6, 1 / 2, 1, 2, 3, 5, 10, 15, 30, 60, 120, 180, 240, 360, 480, 720, DAY, 2 * DAY, 5 * DAY, 10 * DAY]
  .map((minutes) => minutes * MINUTE)

/** The round local times between two moments, and the step between them. The step is the shortest of `STEPS` that
 *  divides the time between the two moments into at most `count` parts. If none is long enough, it is the longest. */
export const timeTicks = (from, until, count) => {
  const step = STEPS.find((candidate) => (until - from) / candidate <= count) ?? STEPS.at(-1)
  const offset = (t) => new Date(t).getTimezoneOffset() * MINUTE
  const ticks = []
  // The offset changes where summer time begins or ends.
  for (let local = Math.ceil((from - offset(from)) / step) * step; local + offset(from) <= until + step; local += step) {
    const t = local + offset(local + offset(from))
    if (t >= from && t <= until) ticks.push(t)
  }
  return { ticks, step }
}

/** The domain from the lowest to the highest value, with a margin. It has at least the size `minimum`, so that small
 *  changes look small. */
export const domainOf = (low, high, minimum) => {
  const margin = Math.max((high - low) * 0.1, (minimum - (high - low)) / 2)
  return [low - margin, high + margin]
}
