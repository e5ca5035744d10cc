// The feed's clock: the curve ends at its now, not at this machine's, which may be wrong or be set while one looks.

/** A difference that is worth minding. */
const WORTH_MS = 3000
/** How long what the stream said of the time is better than what an answer over HTTP says. */
const GOOD_FOR_MS = 60_000

let skew_ms = 0
let heardAt = -Infinity

export const now = () => Date.now() + skew_ms

/** A tick of the live stream has come: its id is the time, give or take its way here. */
export const hear = (ms) => {
  heardAt = performance.now()
  if (Math.abs(ms - now()) > WORTH_MS) set(ms)
}

/** An answer over HTTP has come, with its date. */
export const suppose = (ms) => {
  if (performance.now() - heardAt > GOOD_FOR_MS) set(ms)
}

const set = (ms) => {
  const skew = ms - Date.now()
  skew_ms = Math.abs(skew) > WORTH_MS ? skew : 0
}
