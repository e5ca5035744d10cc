//! Takes records from the outbox to the store, in order and each once.

use super::keeper::Tenure;
use super::outbox::Outbox;
use super::{LastPrice, Options};
use crate::feed::{Entry, Event, Feed, Outage};
use crate::store::{Lease, Record, Store, StoreError};
use crate::tick::{Currency, Tick, TickId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tracing::{debug, warn};

/// The leader's way to the store.
pub(super) struct Writer<'a> {
    pub(super) options: &'a Options,
    pub(super) store: &'a dyn Store,
    pub(super) feed: &'a dyn Feed,
    pub(super) tenure: &'a Tenure,
    pub(super) outbox: &'a Outbox,
    /// When each currency last had a price in the feed.
    pub(super) last_prices: BTreeMap<Currency, LastPrice>,
    /// The last entry that was written, and when it happened.
    pub(super) anchor: &'a mut Option<(TickId, Instant)>,
    /// What was written and has not come back through the feed yet: if the store loses it now, only we have it.
    pub(super) unseen: Vec<Arc<Entry>>,
}

impl Writer<'_> {
    /// Writes whatever comes, for ever.
    pub(super) async fn run(&mut self) {
        loop {
            self.write_first().await;
        }
    }

    /// Writes what is held, and returns when nothing is.
    pub(super) async fn empty(&mut self) {
        while self.outbox.len() > 0 {
            self.write_first().await;
        }
    }

    /// Tries to write the first record; what fails is tried again with the next call.
    async fn write_first(&mut self) {
        let mut record = self.outbox.first().await;
        if let Event::Tick { tick, outages } = &mut record.event {
            *outages = ended_outages(&self.last_prices, tick, record.at, self.options.stale_after);
        }
        let lease = self.tenure.lease();
        self.unseen.retain(|entry| entry.id > self.feed.head());
        let seen = self.unseen.last().map_or(self.feed.head(), |entry| entry.id);
        match self.store.append(&lease, &record, seen).await {
            Ok(entry) => {
                self.outbox.done(&record);
                self.written(&record, entry);
            }
            Err(StoreError::Behind(newest)) => match self.known(&record) {
                Some(entry) => {
                    self.outbox.done(&record);
                    self.written(&record, Entry::clone(&entry));
                }
                None => self.restore(&lease, newest).await,
            },
            // The keeper finds out whose lease it is.
            Err(error @ (StoreError::NotLeader | StoreError::Unavailable(_))) => {
                debug!(%error, held = self.outbox.len(), "a tick is held");
                sleep(self.options.retry()).await;
            }
        }
    }

    /// The entry that `record` became already, where the answer was lost, and then the store lost the entry itself. While the
    /// tenure lasts nobody else has written what the feed has since.
    fn known(&self, record: &Record) -> Option<Arc<Entry>> {
        self.feed.after(self.tenure.newest()).into_iter().find(|entry| entry.event == record.event)
    }

    fn written(&mut self, record: &Record, entry: Entry) {
        debug!(id = %entry.id, "written");
        *self.anchor = Some((entry.id, record.at));
        self.tenure.wrote(entry.id);
        for currency in entry.tick().into_iter().flat_map(|tick| tick.prices.keys()) {
            self.last_prices.insert(*currency, LastPrice { id: entry.id, at: record.at });
        }
        self.unseen.push(Arc::new(entry));
    }

    /// Puts back what the store has lost after `newest`.
    async fn restore(&self, lease: &Lease, newest: TickId) {
        let mut lost = self.feed.after(newest);
        lost.extend(self.unseen.iter().filter(|entry| entry.id > newest).cloned());
        match self.store.restore(lease, &lost).await {
            Ok(()) => warn!(entries = lost.len(), after = %newest, "the store had lost entries, they are back"),
            Err(error) => {
                warn!(%error, "the store has lost entries and does not take them back yet");
                sleep(self.options.retry()).await;
            }
        }
    }
}

/// The outages that end with `tick`, agreed at `at`: currencies that had no price for longer than `stale_after`.
fn ended_outages(
    last_prices: &BTreeMap<Currency, LastPrice>,
    tick: &Tick,
    at: Instant,
    stale_after: Duration,
) -> Vec<Outage> {
    let mut outages: Vec<Outage> = Vec::new();
    for currency in tick.prices.keys() {
        let Some(last) = last_prices.get(currency) else { continue };
        if at.saturating_duration_since(last.at) <= stale_after {
            continue;
        }
        match outages.iter_mut().find(|outage| outage.after == last.id) {
            Some(outage) => outage.currencies.push(*currency),
            None => outages.push(Outage { after: last.id, currencies: vec![*currency] }),
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

    /// The one entry that this replica got.
    struct Got(Arc<Entry>);

    impl Feed for Got {
        fn head(&self) -> TickId {
            self.0.id
        }
        fn after(&self, id: TickId) -> Vec<Arc<Entry>> {
            Some(self.0.clone()).into_iter().filter(|entry| entry.id > id).collect()
        }
        fn newest(&self, _wanted: &dyn Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
            None
        }
    }

    #[tokio::test]
    async fn a_tick_whose_answer_and_whose_entry_were_lost_stands_in_the_feed_once() {
        let store = Memory::new(store::Options { retention: HOUR, lease_ttl: HOUR });
        let (lease, outbox, mut anchor) = (store.acquire("a").await.unwrap().unwrap(), Outbox::default(), None);
        for price in ["1", "2", "3"] {
            let prices = BTreeMap::from([(Currency::Usd, price.parse().unwrap())]);
            outbox.push(Record::now(Event::Tick { tick: Tick { prices, sources: BTreeMap::new() }, outages: vec![] }));
        }
        // The first was written and published, its answer was lost, and then the store failed over to one that never had it.
        let event = outbox.first().await.event;
        let feed = Got(Arc::new(Entry { id: TickId::now(), prev: TickId::ZERO, event }));
        let tenure = Tenure::new(lease, TickId::ZERO);
        let options = Options {
            replica: "a".to_owned(),
            interval: HOUR,
            currencies: Currencies::all(),
            lease_ttl: Duration::from_secs(1),
            stale_after: HOUR,
            down_after: HOUR,
        };
        let mut writer = Writer {
            options: &options,
            store: &store,
            feed: &feed,
            tenure: &tenure,
            outbox: &outbox,
            last_prices: BTreeMap::new(),
            anchor: &mut anchor,
            unseen: Vec::new(),
        };
        writer.empty().await;
        let kept = store.newest(10).await.unwrap();
        let prices: Vec<_> =
            kept.iter().map(|entry| entry.tick().unwrap().prices[&Currency::Usd].to_string()).collect();
        assert_eq!(prices, ["1", "2", "3"]);
        let prevs: Vec<_> = kept.iter().map(|entry| entry.prev).collect();
        assert_eq!(prevs, [TickId::ZERO, kept[0].id, kept[1].id]);
    }

    #[test]
    fn an_outage_is_told_by_the_tick_that_ends_it_for_the_currencies_that_had_it() {
        let (now, id, seconds) = (Instant::now(), TickId::from_ms, Duration::from_secs);
        let at = |s| now + seconds(s);
        let prices = Currency::ALL.map(|currency| (currency, "1".parse().unwrap())).into();
        let tick = Tick { prices, sources: BTreeMap::new() };
        let mut last = BTreeMap::from(Currency::ALL.map(|currency| (currency, LastPrice { id: id(10), at: at(0) })));
        assert_eq!(ended_outages(&last, &tick, at(15), seconds(15)), []);
        let both = Outage { after: id(10), currencies: Currency::ALL.to_vec() };
        assert_eq!(ended_outages(&last, &tick, at(16), seconds(15)), [both]);
        last.insert(Currency::Usd, LastPrice { id: id(20), at: at(10) });
        let euro = Outage { after: id(10), currencies: vec![Currency::Eur] };
        assert_eq!(ended_outages(&last, &tick, at(16), seconds(15)), [euro]);
        assert_eq!(ended_outages(&BTreeMap::new(), &tick, at(16), seconds(15)), [], "a new feed has had no outage");
    }
}
