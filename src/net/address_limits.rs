//! Limits of an address: how many clients and expensive reads it may have at a time, how many new clients in a second, how much
//! history in a minute, and how many new `client_id`s in an hour. So one address cannot take all places, and reconnecting does not get around a limit.
//!
//! Only addresses with clients, and those that have used up a part of a rate, need memory. The rates of clients and of history
//! are full again after a minute, and few addresses make new `client_id`s, so the memory is bounded by the clients of a minute.

use super::client_address::{AddressBlock, TrustedProxies};
use super::refusal::{Limit, Refusal, Refusals};
use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

/// Time whose requests an address may send at once.
const BURST: Duration = Duration::from_secs(10);
/// Time after which addresses are forgotten that have not used up anything.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// Limits of each address.
#[derive(Clone, Debug)]
pub struct AddressOptions {
    /// Proxies whose clients are counted by their own addresses.
    pub proxies: TrustedProxies,
    /// Most connections and concurrent requests.
    pub connections: usize,
    /// Most new connections and requests in a second.
    pub rate: NonZeroU32,
    /// Most entries of replays and pages in a minute.
    pub volume: NonZeroU32,
    /// Most expensive reads in flight.
    pub reads: usize,
    /// Most expensive reads in flight of all addresses.
    pub all_reads: usize,
    /// Most new `client_id`s in an hour.
    pub client_ids: NonZeroU32,
    /// Most new `client_id`s in an hour of all addresses.
    pub all_client_ids: NonZeroU32,
}

/// Clients by address.
#[derive(Debug)]
pub(crate) struct AddressLimits {
    options: AddressOptions,
    /// Places that each address holds. A std lock: it is held only to count.
    held: Mutex<HashMap<AddressBlock, Held>>,
    rate: DefaultKeyedRateLimiter<AddressBlock>,
    volume: DefaultKeyedRateLimiter<AddressBlock>,
    all_reads: Arc<Semaphore>,
    client_ids: DefaultKeyedRateLimiter<AddressBlock>,
    all_client_ids: DefaultDirectRateLimiter,
    refusals: Refusals,
}

/// Number of places that an address holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    clients: usize,
    reads: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Client,
    Read,
}

impl Held {
    fn count(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Client => &mut self.clients,
            Kind::Read => &mut self.reads,
        }
    }
}

/// Place of an address. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    limits: Arc<AddressLimits>,
    block: AddressBlock,
    kind: Kind,
}

/// Place of an expensive read, until its response is sent.
#[derive(Debug)]
pub(crate) struct ReadPlace {
    _address: AddressPlace,
    _all: OwnedSemaphorePermit,
}

impl AddressLimits {
    /// Creates the limits. No address has a client yet.
    pub(crate) fn new(options: AddressOptions) -> AddressLimits {
        let burst = u32::try_from(BURST.as_secs()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let rate = Quota::per_second(options.rate).allow_burst(options.rate.saturating_mul(burst));
        AddressLimits {
            held: Mutex::default(),
            rate: RateLimiter::keyed(rate),
            volume: RateLimiter::keyed(Quota::per_minute(options.volume)),
            all_reads: Arc::new(Semaphore::new(options.all_reads.min(Semaphore::MAX_PERMITS))),
            client_ids: RateLimiter::keyed(Quota::per_hour(options.client_ids)),
            all_client_ids: RateLimiter::direct(Quota::per_hour(options.all_client_ids)),
            refusals: Refusals::default(),
            options,
        }
    }

    /// Creates limits that are never reached.
    pub(crate) fn none() -> AddressLimits {
        AddressLimits::new(AddressOptions {
            proxies: TrustedProxies::default(),
            connections: usize::MAX,
            rate: NonZeroU32::MAX,
            volume: NonZeroU32::MAX,
            reads: usize::MAX,
            all_reads: usize::MAX,
            client_ids: NonZeroU32::MAX,
            all_client_ids: NonZeroU32::MAX,
        })
    }

    /// Returns the proxies whose clients are counted by their own addresses.
    pub(crate) fn proxies(&self) -> &TrustedProxies {
        &self.options.proxies
    }

    /// Returns the counter of refusals.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Counts a new connection or request of the client at `address`.
    ///
    /// # Errors
    /// If the address has sent too many in the last seconds.
    pub(crate) fn check_rate(&self, address: IpAddr) -> Result<(), Refusal> {
        self.rate.check_key(&address.into()).map_err(|not_until| refusal(Limit::AddressRate, &not_until))
    }

    /// Counts entries that are about to be read for the client at `address`.
    ///
    /// # Errors
    /// If the address has got too many in the last minute.
    pub(crate) fn check_volume(&self, address: IpAddr, entries: usize) -> Result<(), Refusal> {
        // A single request may have the volume of a minute, whatever its size.
        let entries = u32::try_from(entries).unwrap_or(u32::MAX).min(self.options.volume.get());
        let checked =
            NonZeroU32::new(entries).and_then(|entries| self.volume.check_key_n(&address.into(), entries).ok());
        checked.unwrap_or(Ok(())).map_err(|not_until| refusal(Limit::AddressVolume, &not_until))
    }

    /// Counts a new `client_id` of the client at `address`.
    ///
    /// # Errors
    /// If the address, or all addresses together, have made too many in the last hour.
    pub(crate) fn check_client_id(&self, address: IpAddr) -> Result<(), Refusal> {
        let of_address = self.client_ids.check_key(&address.into());
        of_address.map_err(|not_until| refusal(Limit::AddressClientIds, &not_until))?;
        self.all_client_ids.check().map_err(|not_until| refusal(Limit::ClientIds, &not_until))
    }

    /// Takes a place for the client at `address`.
    ///
    /// # Errors
    /// If the address has as many as it may have.
    pub(crate) fn take_place(self: &Arc<Self>, address: IpAddr) -> Result<AddressPlace, Refusal> {
        self.take(Kind::Client, address, self.options.connections).ok_or(Limit::AddressConnections.into())
    }

    /// Takes a place for an expensive read of the client at `address`.
    ///
    /// # Errors
    /// If the address, or all addresses together, have as many as they may have.
    pub(crate) fn take_read(self: &Arc<Self>, address: IpAddr) -> Result<ReadPlace, Refusal> {
        let place = self.take(Kind::Read, address, self.options.reads).ok_or(Limit::AddressReads)?;
        let all = self.all_reads.clone().try_acquire_owned().map_err(|_| Limit::Reads)?;
        Ok(ReadPlace { _address: place, _all: all })
    }

    fn take(self: &Arc<Self>, kind: Kind, address: IpAddr, most: usize) -> Option<AddressPlace> {
        let block = address.into();
        let mut held = self.held();
        // Every limit is at least one, so an address that is refused holds a place already.
        let count = held.entry(block).or_default().count(kind);
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(held);
        Some(AddressPlace { limits: self.clone(), block, kind })
    }

    /// Forgets addresses without clients, and logs refusals, until it is dropped.
    pub(crate) async fn keep_small(&self) {
        loop {
            sleep(FORGET_EVERY).await;
            for rate in [&self.rate, &self.volume, &self.client_ids] {
                rate.retain_recent();
                rate.shrink_to_fit();
            }
            self.held().shrink_to_fit();
            self.refusals.log();
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<AddressBlock, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.limits.held().entry(self.block) {
            *count.get_mut().count(self.kind) -= 1;
            if *count.get() == Held::default() {
                count.remove();
            }
        }
    }
}

fn refusal(limit: Limit, not_until: &NotUntil<QuantaInstant>) -> Refusal {
    Refusal { limit, retry_after: not_until.wait_time_from(DefaultClock::default().now()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, rate: u32) -> Arc<AddressLimits> {
        let (rate, volume) = (NonZeroU32::new(rate).unwrap(), NonZeroU32::new(600).unwrap());
        let options = AddressLimits::none().options;
        Arc::new(AddressLimits::new(AddressOptions { connections, rate, volume, reads: 2, all_reads: 3, ..options }))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_places() {
        let limits = limits(2, 1);
        let take = |text: &str| limits.take_place(address(text));
        let places = [take("2001:db8::1").unwrap(), take("2001:db8::ffff").unwrap()];
        assert_eq!(take("2001:db8::2").unwrap_err().limit, Limit::AddressConnections);
        let other = take("2001:db8:0:1::1").unwrap();
        assert_eq!(limits.held().len(), 2);
        drop((places, other));
        assert!(limits.held().is_empty(), "addresses without clients are forgotten");
        take("2001:db8::2").unwrap();
    }

    #[test]
    fn rate_allows_a_burst_and_says_when_to_return() {
        let limits = limits(1, 2);
        let one = address("198.51.100.1");
        for _ in 0..20 {
            limits.check_rate(one).unwrap();
        }
        let refusal = limits.check_rate(one).unwrap_err();
        assert_eq!(refusal.limit, Limit::AddressRate);
        assert!(refusal.retry_after <= Duration::from_millis(500), "{refusal:?}");
        limits.check_rate(address("198.51.100.2")).unwrap();
    }

    #[test]
    fn volume_counts_entries_and_a_request_of_any_size_is_possible() {
        let limits = limits(1, 1);
        let [one, other] = ["198.51.100.1", "198.51.100.2"].map(address);
        limits.check_volume(one, 0).unwrap();
        limits.check_volume(one, 590).unwrap();
        let refusal = limits.check_volume(one, 20).unwrap_err();
        assert_eq!(refusal.limit, Limit::AddressVolume);
        assert!(refusal.retry_after <= Duration::from_secs(1), "{refusal:?}");
        limits.check_volume(other, usize::MAX).unwrap();
        limits.check_volume(other, 1).unwrap_err();
    }

    #[test]
    fn reads_are_bounded_by_address_and_in_all() {
        let limits = limits(1, 1);
        let take = |text: &str| limits.take_read(address(text)).map_err(|refusal| refusal.limit);
        let one = [take("198.51.100.1").unwrap(), take("198.51.100.1").unwrap()];
        assert_eq!(take("198.51.100.1").unwrap_err(), Limit::AddressReads);
        let _other = take("198.51.100.2").unwrap();
        assert_eq!(take("198.51.100.3").unwrap_err(), Limit::Reads);
        assert_eq!(limits.held().len(), 2);
        drop(one);
        assert_eq!(limits.held().len(), 1, "addresses without places are forgotten");
        take("198.51.100.3").unwrap();
    }

    #[test]
    fn new_client_ids_are_bounded_by_address_and_in_all() {
        let [client_ids, all_client_ids] = [2, 3].map(|number| NonZeroU32::new(number).unwrap());
        let options = AddressOptions { client_ids, all_client_ids, ..AddressLimits::none().options };
        let limits = AddressLimits::new(options);
        let check = |text: &str| limits.check_client_id(address(text)).map_err(|refusal| refusal.limit);
        let checked = ["198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.2", "198.51.100.3"].map(check);
        let refused = [Err(Limit::AddressClientIds), Ok(()), Err(Limit::ClientIds)];
        assert_eq!(checked[..2], [Ok(()), Ok(())]);
        assert_eq!(checked[2..], refused);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_forgotten_when_their_rate_is_full() {
        let limits = limits(1, 1000);
        for number in 0..1000_u32 {
            limits.check_rate(IpAddr::V4(number.into())).unwrap();
        }
        assert_eq!(limits.rate.len(), 1000);
        // The limiter has a clock of its own, for which each address has used up a millisecond.
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {
            std::thread::yield_now();
        }
        tokio::time::timeout(FORGET_EVERY * 2, limits.keep_small()).await.unwrap_err();
        assert_eq!(limits.rate.len(), 0);
    }
}
