// Finds out what is wrong while ticks are late and the stream does not say why. A replica that has lost its connection
// to the store gets no status that it could send on the stream, but it knows the age of its newest tick.

import * as history from './history.js'

/** Time between two requests. */
const ASK_EVERY_MS = 2500
/** Time for which an update may be on its way. */
const UNDERWAY_MS = 1000

let askedAt = -Infinity

/** Asks for a report about the feed, if there has been no request for a while. Returns a state and its reason, or
 *  `null` if nothing is wrong, or `undefined` without a request or an answer. `lastId` is the id of the last update
 *  that `replica` has sent. Behind a load balancer, another replica may answer. */
export async function ask(lastId, replica) {
  if (performance.now() - askedAt < ASK_EVERY_MS) return undefined
  askedAt = performance.now()
  const report = await history.report().catch(() => undefined)
  // A replica that is full answers with a problem.
  if (report?.store === undefined) return undefined
  if (report.last_id > lastId) {
    // If the update arrives in this time, the caller ignores the answer.
    await new Promise((wake) => { setTimeout(wake, UNDERWAY_MS) })
    return { state: 'stale', reason: `the server ${replica} gets no updates, but others do` }
  }
  if (['live', 'degraded'].includes(report.state)) return null
  return { state: report.state, reason: report.store.up ? report.reason : 'the server cannot reach its store' }
}
