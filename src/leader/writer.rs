//! Takes records from the outbox to the store, in order and each once.

use super::outbox::Outbox;
use super::{LastPrice, Tenure};
use crate::feed::{Entry, Event, Feed, Outage};
use crate::store::{Lease, Record, Store, StoreError};
use crate::tick::{Currency, Tick, TickId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tracing::{debug, info, warn};

/// The leader's way to the store.
pub(super) struct Writer<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) feed: &'a dyn Feed,
    pub(super) tenure: &'a Tenure,
    pub(super) outbox: &'a Outbox,
    /// When each currency last had a price in the feed.
    pub(super) last_prices: BTreeMap<Currency, LastPrice>,
    /// A currency without a price for longer has had an outage.
    pub(super) stale_after: Duration,
    /// The pause after a store that was away.
    pub(super) retry: Duration,
    /// The last entry that this writer wrote: the id that a moment of the monotonic clock became.
    pub(super) anchor: Option<(TickId, Instant)>,
    /// The lease of the last attempt.
    pub(super) lease_used: Option<Lease>,
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
        self.outbox.first().await;
        let lease = self.tenure.lease();
        let Err(error) = self.try_write_first(&lease).await else { return };
        match error {
            StoreError::Behind(newest) => self.restore(&lease, newest).await,
            // The keeper finds out whether there is a new lease; without one it ends the tenure, and this writer.
            StoreError::NotLeader => self.tenure.granted.notified().await,
            StoreError::Away(reason) => {
                debug!(reason, held = self.outbox.len(), "a tick is held");
                sleep(self.retry).await;
            }
        }
    }

    async fn try_write_first(&mut self, lease: &Lease) -> Result<(), StoreError> {
        if self.lease_used.as_ref() != Some(lease) {
            self.forget_what_others_covered().await?;
            self.lease_used = Some(lease.clone());
        }
        if self.outbox.len() == 0 {
            return Ok(());
        }
        let mut record = self.outbox.first().await;
        if let Event::Tick { tick, outages } = &mut record.event {
            *outages = ended_outages(&self.last_prices, tick, record.at, self.stale_after);
        }
        let entry = self.store.append(lease, &record, self.feed.head()).await?;
        self.outbox.done(&record);
        self.written(&record, &entry);
        Ok(())
    }

    fn written(&mut self, record: &Record, entry: &Entry) {
        debug!(id = %entry.id, "written");
        self.anchor = Some((entry.id, record.at));
        for currency in entry.tick().into_iter().flat_map(|tick| tick.prices.keys()) {
            self.last_prices.insert(*currency, LastPrice { id: entry.id, at: record.at });
        }
    }

    /// Puts back what the store has lost after `newest`.
    async fn restore(&self, lease: &Lease, newest: TickId) {
        let lost = self.feed.after(newest);
        match self.store.restore(lease, &lost).await {
            Ok(()) => warn!(entries = lost.len(), after = %newest, "the store had lost entries, they are back"),
            Err(error) => {
                warn!(%error, "the store has lost entries and does not take them back yet");
                sleep(self.retry).await;
            }
        }
    }

    /// Between two leases of a tenure another leader may have written. What is held from the time that it covered would
    /// come after its place, and is not missing; it is let go.
    async fn forget_what_others_covered(&self) -> Result<(), StoreError> {
        let Some((id, at)) = self.anchor else { return Ok(()) };
        let head = self.store.head().await?;
        let covered = |record: &Record| id.plus(record.at.saturating_duration_since(at)) <= head;
        let dropped = self.outbox.drop_while(covered);
        if dropped > 0 {
            info!(dropped, "ticks that were held are in the feed already");
        }
        Ok(())
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
