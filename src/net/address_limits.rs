//! Limits of an address: how many clients it may have at a time, and how many new ones in a second. So one address cannot take
//! all places, and reconnecting does not get around a limit.
//!
//! Only addresses with clients, and those that have used up a part of their rate, need memory. The rate is full again after
//! [`BURST`], so at most the clients of that time are remembered.

use super::client_address::{AddressBlock, TrustedProxies};
use super::refusal::{Limit, Refusal, Refusals};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
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
}

/// Clients by address.
#[derive(Debug)]
pub(crate) struct AddressLimits {
    options: AddressOptions,
    /// Places that each address holds. A std lock: it is held only to count.
    held: Mutex<HashMap<AddressBlock, usize>>,
    rate: DefaultKeyedRateLimiter<AddressBlock>,
    refusals: Refusals,
}

/// Place of a client. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    limits: Arc<AddressLimits>,
    block: AddressBlock,
}

impl AddressLimits {
    /// Creates the limits. No address has a client yet.
    pub(crate) fn new(options: AddressOptions) -> AddressLimits {
        let burst = u32::try_from(BURST.as_secs()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let rate = Quota::per_second(options.rate).allow_burst(options.rate.saturating_mul(burst));
        AddressLimits { options, held: Mutex::default(), rate: RateLimiter::keyed(rate), refusals: Refusals::default() }
    }

    /// Creates limits that are never reached.
    pub(crate) fn none() -> AddressLimits {
        let (connections, rate) = (usize::MAX, NonZeroU32::MAX);
        AddressLimits::new(AddressOptions { proxies: TrustedProxies::default(), connections, rate })
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
        self.rate.check_key(&address.into()).map_err(|not_until| {
            let retry_after = not_until.wait_time_from(DefaultClock::default().now());
            Refusal { limit: Limit::AddressRate, retry_after }
        })
    }

    /// Takes a place for the client at `address`.
    ///
    /// # Errors
    /// If the address has as many as it may have.
    pub(crate) fn take_place(self: &Arc<Self>, address: IpAddr) -> Result<AddressPlace, Refusal> {
        let block = address.into();
        let mut held = self.held();
        let count = held.entry(block).or_default();
        // A count of zero is never kept, because the limit is at least one.
        if *count >= self.options.connections {
            return Err(Limit::AddressConnections.into());
        }
        *count += 1;
        drop(held);
        Ok(AddressPlace { limits: self.clone(), block })
    }

    /// Forgets addresses without clients, and logs refusals, until it is dropped.
    pub(crate) async fn keep_small(&self) {
        loop {
            sleep(FORGET_EVERY).await;
            self.rate.retain_recent();
            self.rate.shrink_to_fit();
            self.held().shrink_to_fit();
            self.refusals.log();
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<AddressBlock, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.limits.held().entry(self.block) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, rate: u32) -> Arc<AddressLimits> {
        let (proxies, rate) = (TrustedProxies::default(), NonZeroU32::new(rate).unwrap());
        Arc::new(AddressLimits::new(AddressOptions { proxies, connections, rate }))
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
