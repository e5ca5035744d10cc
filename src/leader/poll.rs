//! Polls the exchanges on schedule and puts the results into the outbox.

use super::clock::FeedClock;
use super::health::HealthMonitor;
use super::options::Options;
use super::outbox::Outbox;
use super::term::{LastPrice, Yielding};
use crate::aggregate::{Aggregator, Poll};
use crate::feed::Event;
use crate::store::Record;
use crate::tick::{Audit, Currency, TickId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::{MissedTickBehavior, interval_at};
use tracing::debug;

/// Number of consecutive polls without a price after which the leader stands down, if the feed is also down.
const MAX_EMPTY_POLLS: u32 = 3;

/// Polls once in each interval. The first poll is one interval after the newest tick, or now if that moment has passed
/// or there is no tick. Returns if another replica should lead: the feed is down and there is still no valid price, or
/// this machine's clock is wrong. If there can be no other replica (`may_yield` is false), it polls forever.
pub(super) async fn poll(
    options: &Options,
    aggregator: &mut Aggregator,
    health: &mut HealthMonitor,
    outbox: &Outbox,
    clock: &FeedClock,
    last_prices: &BTreeMap<Currency, LastPrice>,
    may_yield: bool,
) -> Yielding {
    let now = Instant::now();
    let newest = last_prices.values().map(|last| last.at).max();
    let first = newest.map_or(now, |at| (at + options.interval).clamp(now, now + options.interval));
    let mut polls = interval_at(first.into(), options.interval);
    polls.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut empty_polls = 0;
    loop {
        polls.tick().await;
        let poll: Poll = aggregator.poll(clock.time_of_poll(TickId::now())).await;
        debug!(?poll, "polled");
        clock.note_sources(&poll.times);
        let time = clock.now_or(TickId::now());
        if let Some(status) = health.clock_status(clock.fault(), time) {
            outbox.push(Record::now(Event::Status(status)));
        }
        if let Some(status) = health.update(&poll, Instant::now(), time) {
            outbox.push(Record::now(Event::Status(status)));
        }
        empty_polls = if poll.tick.is_some() { 0 } else { empty_polls + 1 };
        if let Some(tick) = poll.tick {
            let record = Record::now(Event::Tick { tick, outages: Vec::new() });
            let record = record.with_audit(&Audit { parameters: poll.parameters, inputs: poll.inputs });
            outbox.push(Record { poll: poll.trace.map(Arc::new), ..record });
        }
        if may_yield && empty_polls >= MAX_EMPTY_POLLS && health.is_down() {
            // This is longer than the retry pause of any replica, so another one acquires the lease first.
            return Yielding { why: "this replica gets no valid price", pause: options.lease_ttl * 2 };
        }
        if may_yield && clock.should_yield() {
            let why = "this machine's clock is wrong";
            // The pause is short: if no other replica can lead, this one must lead again soon.
            return Yielding { why, pause: options.retry_pause() * 2 };
        }
    }
}
