// Clock of the feed. The chart ends at the feed's time, because this machine's clock may be wrong or be adjusted at any
// time.

/** Difference below which this machine's clock is used as it is. */
const TOLERANCE_MS = 3000
/** Time after a live tick in which responses over HTTP do not set the clock. */
const TICK_VALID_MS = 60_000

let skew_ms = 0
let tickAt = -Infinity

/** Current time of the feed. */
export const now = () => Date.now() + skew_ms

/** Sets the clock by a live tick. Its id is the time, apart from the network's latency. */
export const setByTick = (ms) => {
  tickAt = performance.now()
  if (Math.abs(ms - now()) > TOLERANCE_MS) set(ms)
}

/** Sets the clock by the date of a response over HTTP, unless a tick has come recently. */
export const setByResponse = (ms) => {
  if (performance.now() - tickAt > TICK_VALID_MS) set(ms)
}

const set = (ms) => {
  const skew = ms - Date.now()
  skew_ms = Math.abs(skew) > TOLERANCE_MS ? skew : 0
}
