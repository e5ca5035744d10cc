//! Writes the records of the outbox into the store, in order and each once.

use super::anchor::Anchor;
use super::chain::newest_chain;
use super::clock::{FeedClock, Times};
use super::options::Options;
use super::outbox::Outbox;
use super::term::{LastPrice, Term};
use crate::feed::{Entry, Event, Feed, GapReason, Outage};
use crate::store::{Lease, Record, Store, StoreError};
use crate::telemetry::FaultLog;
use crate::telemetry::traces::{self, Stopwatch};
use crate::text::format_duration;
use crate::tick::{Currency, Tick, TickId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tracing::{debug, warn};

/// The maximum number of lost entries that are restored before the next record is written.
const TAIL: usize = 50;

/// The part of a leader that writes to the store.
pub(super) struct Writer<'a> {
    pub(super) options: &'a Options,
    pub(super) store: &'a dyn Store,
    pub(super) feed: &'a dyn Feed,
    pub(super) term: &'a Term,
    pub(super) outbox: &'a Outbox,
    /// The newest price of each currency in the feed.
    pub(super) last_prices: BTreeMap<Currency, LastPrice>,
    pub(super) clock: &'a FeedClock,
    /// The last entry that was written.
    pub(super) anchor: &'a mut Option<Anchor>,
    /// Entries that were written and have not come back through the feed yet. If the store loses them now, only this
    /// replica has them.
    pub(super) unseen: Vec<Arc<Entry>>,
    /// Limits the log lines about failures to write.
    pub(super) write_fault: FaultLog,
    /// Limits the log lines about failures to restore.
    pub(super) restore_fault: FaultLog,
    /// The newest id of the store before the last restore, if no record was written since.
    pub(super) restored_after: Option<TickId>,
}

impl Writer<'_> {
    /// Writes records as they come, until another replica must write before this one. Returns the name of that replica.
    pub(super) async fn run(&mut self) -> String {
        loop {
            if let Some(claimant) = self.write_first().await {
                return claimant;
            }
        }
    }

    /// Writes records until the outbox is empty, or until another replica must write.
    pub(super) async fn flush(&mut self) {
        while self.outbox.len() > 0 && self.write_first().await.is_none() {}
    }

    /// Tries to write the first record. If that fails, the next call tries again. Returns the name of a replica that
    /// must write first.
    async fn write_first(&mut self) -> Option<String> {
        let record = self.outbox.first().await;
        // More records may be dropped during the append. This tick does not report them.
        let dropped = self.outbox.dropped();
        if self.clock.is_unproven()
            && let Ok(now) = self.store.now().await
        {
            self.clock.compare(Times::now(now));
        }
        let mut record = self.clock.reckon(record);
        let moment = (record.at, record.reckoned.map(|reckoned| reckoned.moment));
        if let Event::Tick { tick, outages } = &mut record.event {
            *outages = ended_outages(&self.last_prices, tick, moment, self.options.stale_after, dropped > 0);
        }
        let lease = self.term.lease();
        self.unseen.retain(|entry| entry.id > self.feed.head());
        let seen = self.unseen.last().map_or(self.feed.head(), |entry| entry.id);
        let watch = Stopwatch::start();
        match self.store.append(&lease, &record, seen).await {
            Ok(entry) => {
                self.outbox.remove(&record, dropped);
                self.write_fault.clear();
                self.restored_after = None;
                traces::appended(entry.id.ms(), record.poll.as_deref(), watch);
                let is_suspect = self.clock.is_suspect(&record, entry.id, entry.prev);
                self.note_written(&record, entry);
                if is_suspect && let Ok(now) = self.store.now().await {
                    self.clock.compare(Times::now(now));
                }
            }
            Err(StoreError::Behind(newest)) => match self.find_written(&record) {
                Some(entry) => {
                    self.outbox.remove(&record, dropped);
                    self.note_written(&record, Entry::clone(&entry));
                }
                None => self.restore(&lease, newest).await,
            },
            Err(StoreError::Claimed(claimant)) => return Some(claimant),
            // `LeaseRenewer` detects if another replica has taken over.
            Err(StoreError::NotLeader) => {
                debug!(held = self.outbox.len(), "holding a record without the lease");
                sleep(self.options.retry_pause()).await;
            }
            Err(error @ StoreError::Unavailable(_)) => {
                if self.write_fault.is_due() {
                    let oldest = format_duration(Duration::from_secs(record.at.elapsed().as_secs()));
                    let next = "trying again, writing them in order when the store answers";
                    warn!(%error, held = self.outbox.len(), oldest, next, "cannot write to the store, holding ticks");
                }
                sleep(self.options.retry_pause()).await;
            }
        }
        None
    }

    /// Returns the entry that an earlier attempt created from `record`. There is one if the answer to that attempt was
    /// lost and the store has lost the entry since. During a term only this replica writes, so an entry with the same
    /// tick or status is that one. Its outages may differ, because each attempt computes them anew.
    fn find_written(&self, record: &Record) -> Option<Arc<Entry>> {
        let is_same = |entry: &Arc<Entry>| match (&entry.event, &record.event) {
            (Event::Tick { tick, .. }, Event::Tick { tick: other, .. }) => tick == other,
            (event, other) => event == other,
        };
        self.feed.after(self.term.newest()).into_iter().find(is_same)
    }

    fn note_written(&mut self, record: &Record, entry: Entry) {
        debug!(id = %entry.id, "written");
        self.clock.note_written(entry.id, record.at);
        *self.anchor = Some(Anchor::of(entry.id, record.at, self.clock));
        self.term.set_newest(entry.id);
        for currency in entry.tick().into_iter().flat_map(|tick| tick.prices.keys()) {
            self.last_prices.insert(*currency, LastPrice { id: entry.id, at: record.at });
        }
        self.unseen.push(Arc::new(entry));
    }

    /// Restores the newest [`TAIL`] of the entries that the store has lost, so that the next record can follow.
    /// `Restorer` puts back the older ones. `newest` is the store's newest id.
    async fn restore(&mut self, lease: &Lease, newest: TickId) {
        let mut lost = self.feed.after(newest);
        lost.extend(self.unseen.iter().filter(|entry| entry.id > newest).cloned());
        let lost = newest_chain(lost);
        let tail = &lost[lost.len().saturating_sub(TAIL)..];
        match self.store.restore(lease, tail).await {
            // The newest id is the same as before the previous restore, which has therefore changed nothing. At the ids
            // of the lost entries, the store probably has texts that only look like entries.
            Ok(()) if self.restored_after.replace(newest) == Some(newest) => {
                if self.restore_fault.is_due() {
                    warn!(after = %newest, next = "trying again", "the store does not take back entries it has lost");
                }
                sleep(self.options.retry_pause()).await;
            }
            Ok(()) => {
                warn!(entries = tail.len(), of = lost.len(), after = %newest, "restored entries that the store had lost");
            }
            Err(error) => {
                if self.restore_fault.is_due() {
                    warn!(%error, "cannot restore entries that the store has lost, retrying");
                }
                sleep(self.options.retry_pause()).await;
            }
        }
    }
}

/// Returns the outages that end with `tick`. A currency has an outage if it had no price for longer than `stale_after`.
/// If ticks before this one were dropped, every currency of `tick` that had a price before has an outage, with the
/// reason `HeldTooLong`. Currencies with the same last tick share an outage.
///
/// The tick has two times: `at` on the monotonic clock, and `moment` as the leader counts the time of the feed. While
/// the machine is suspended, the monotonic clock stands still. The leader's count is corrected afterwards. So the time
/// since the last price is computed with both, and the longer result is used.
fn ended_outages(
    last_prices: &BTreeMap<Currency, LastPrice>,
    tick: &Tick,
    (at, moment): (Instant, Option<TickId>),
    stale_after: Duration,
    has_dropped: bool,
) -> Vec<Outage> {
    let reason = if has_dropped { GapReason::HeldTooLong } else { GapReason::SourceOutage };
    let mut outages: Vec<Outage> = Vec::new();
    for currency in tick.prices.keys() {
        let Some(last) = last_prices.get(currency) else { continue };
        let counted = moment.map_or(Duration::ZERO, |moment| moment.since(last.id));
        if !has_dropped && at.saturating_duration_since(last.at).max(counted) <= stale_after {
            continue;
        }
        match outages.iter_mut().find(|outage| outage.after == last.id) {
            Some(outage) => outage.currencies.push(*currency),
            None => outages.push(Outage { after: last.id, currencies: vec![*currency], reason }),
        }
    }
    outages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{self, Memory};
    use crate::tick::Currencies;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A copy of the feed with one entry.
    struct OneEntry(Arc<Entry>);

    impl Feed for OneEntry {
        fn head(&self) -> TickId {
            self.0.id
        }
        fn after(&self, id: TickId) -> Vec<Arc<Entry>> {
            Some(self.0.clone()).into_iter().filter(|entry| entry.id > id).collect()
        }
        fn newest(&self, _wanted: &dyn Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
            None
        }
        fn retention(&self) -> Duration {
            HOUR
        }
        fn extent(&self) -> Option<(TickId, TickId, usize)> {
            Some((self.0.id, self.0.id, 1))
        }
    }

    #[tokio::test]
    async fn lost_answer_and_lost_entry_append_once() {
        let store = Memory::new(store::Options { retention: HOUR, lease_ttl: HOUR });
        let (lease, outbox, mut anchor) = (store.acquire("a").await.unwrap().unwrap(), Outbox::new(HOUR), None);
        for price in ["1", "2", "3"] {
            let prices = BTreeMap::from([(Currency::Usd, price.parse().unwrap())]);
            outbox.push(Record::now(Event::Tick { tick: Tick { prices, ..Tick::default() }, outages: vec![] }));
        }
        // The first record was written and published, the answer was lost, and then the store lost the entry in a
        // failover.
        let mut event = outbox.first().await.event;
        // The first attempt reported an outage, because records had been dropped. The next attempt reports none.
        if let Event::Tick { outages, .. } = &mut event {
            let (after, currencies) = (TickId::from_ms(1), vec![Currency::Usd]);
            outages.push(Outage { after, currencies, reason: GapReason::HeldTooLong });
        }
        let feed = OneEntry(Arc::new(Entry { id: TickId::now(), prev: TickId::ZERO, event }));
        let term = Term::new(lease, TickId::ZERO);
        let options = Options {
            replica: "a".to_owned(),
            interval: HOUR,
            currencies: Currencies::USD_EUR,
            lease_ttl: Duration::from_secs(1),
            stale_after: HOUR,
            down_after: HOUR,
        };
        let mut writer = Writer {
            options: &options,
            store: &store,
            feed: &feed,
            term: &term,
            outbox: &outbox,
            clock: &FeedClock::default(),
            last_prices: BTreeMap::new(),
            anchor: &mut anchor,
            unseen: Vec::new(),
            write_fault: FaultLog::default(),
            restore_fault: FaultLog::default(),
            restored_after: None,
        };
        writer.flush().await;
        let kept = store.newest(10).await.unwrap();
        let prices: Vec<_> =
            kept.iter().map(|entry| entry.tick().unwrap().prices[&Currency::Usd].to_string()).collect();
        assert_eq!(prices, ["1", "2", "3"]);
        let prevs: Vec<_> = kept.iter().map(|entry| entry.prev).collect();
        assert_eq!(prevs, [TickId::ZERO, kept[0].id, kept[1].id]);
    }

    #[test]
    fn tick_reports_the_outages_that_it_ends() {
        let (now, id, seconds) = (Instant::now(), TickId::from_ms, Duration::from_secs);
        let at = |s| now + seconds(s);
        let prices = [Currency::Usd, Currency::Eur].map(|currency| (currency, "1".parse().unwrap())).into();
        let tick = Tick { prices, ..Tick::default() };
        let mut last = BTreeMap::from(
            [Currency::Usd, Currency::Eur].map(|currency| (currency, LastPrice { id: id(10), at: at(0) })),
        );
        let at = |s| (at(s), None);
        assert_eq!(ended_outages(&last, &tick, at(15), seconds(15), false), []);
        let all = last.clone();
        let both = Outage::of_sources(id(10), vec![Currency::Usd, Currency::Eur]);
        assert_eq!(ended_outages(&last, &tick, at(16), seconds(15), false), std::slice::from_ref(&both));
        // The machine was suspended: the monotonic clock stood still, and the count has been corrected since.
        let counted = |ms: u64| (at(5).0, Some(id(10 + ms)));
        assert_eq!(ended_outages(&last, &tick, counted(15_000), seconds(15), false), []);
        assert_eq!(ended_outages(&last, &tick, counted(28_800_000), seconds(15), false), [both]);
        last.insert(Currency::Usd, LastPrice { id: id(20), at: at(10).0 });
        let euro = Outage::of_sources(id(10), vec![Currency::Eur]);
        assert_eq!(ended_outages(&last, &tick, at(16), seconds(15), false), [euro]);
        let dropped =
            Outage { reason: GapReason::HeldTooLong, ..Outage::of_sources(id(10), vec![Currency::Usd, Currency::Eur]) };
        assert_eq!(ended_outages(&all, &tick, at(1), seconds(15), true), [dropped]);
        assert_eq!(ended_outages(&BTreeMap::new(), &tick, at(16), seconds(15), false), [], "a new feed has no outage");
    }
}
