//! Limits of an address: concurrent connections, requests and expensive reads (of the history or of candles), new
//! connections and requests in a second, entries of replays and pages in a minute, and new `client_id`s in an hour. So
//! one address cannot take all connections, and reconnecting does not reset a limit.
//!
//! Only addresses that have clients, or whose rates have not recovered, need memory. A rate has recovered when the
//! address may use all of it again. The rates of requests and of entries recover within a minute, and few addresses
//! make new `client_id`s. So the memory depends on the number of addresses that had clients in the last minute.

use super::address_usage::{AddressUsage, UsageReport};
use super::client_address::{AddressBlock, TrustedProxies};
use super::refusal::{Limit, Refusal, Refusals};
use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

/// Time that determines the burst of an address: the address may make as many new connections and requests at once as
/// its rate allows in this time.
const BURST: Duration = Duration::from_secs(10);
/// Time between two removals of addresses whose rates have recovered.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// The clients of an address are reported to other replicas if they exceed the connection limit divided by this number.
const UNREPORTED_SHARE: usize = 16;

/// Limits of each address.
#[derive(Clone, Debug)]
pub struct AddressOptions {
    /// Proxies that are trusted to report the addresses of their clients.
    pub proxies: TrustedProxies,
    /// True if these proxies use the PROXY protocol to name the client of a connection.
    pub has_proxy_protocol: bool,
    /// Maximum number of connections and concurrent requests.
    pub connections: usize,
    /// Maximum number of new connections and requests in a second.
    pub rate: NonZeroU32,
    /// Maximum number of entries of replays and pages in a minute.
    pub volume: NonZeroU32,
    /// Maximum number of concurrent expensive reads.
    pub reads: usize,
    /// Maximum number of concurrent expensive reads of all addresses.
    pub all_reads: usize,
    /// Maximum number of new `client_id`s in an hour.
    pub client_ids: NonZeroU32,
    /// Maximum number of new `client_id`s of all addresses in an hour.
    pub all_client_ids: NonZeroU32,
}

/// Limits of each address, and what each address uses of them.
#[derive(Debug)]
pub(crate) struct AddressLimits {
    options: AddressOptions,
    /// The places that each address holds. A std lock: it is held only to count.
    held: Mutex<HashMap<AddressBlock, Held>>,
    rate: DefaultKeyedRateLimiter<AddressBlock>,
    volume: DefaultKeyedRateLimiter<AddressBlock>,
    all_reads: Arc<Semaphore>,
    client_ids: DefaultKeyedRateLimiter<AddressBlock>,
    all_client_ids: DefaultDirectRateLimiter,
    usage: AddressUsage,
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

/// One of the places that an address may hold. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    limits: Arc<AddressLimits>,
    block: AddressBlock,
    kind: Kind,
}

/// Place of an expensive read. It is held until the response is sent.
#[derive(Debug)]
pub(crate) struct ReadPlace {
    _address: AddressPlace,
    _all: OwnedSemaphorePermit,
}

impl AddressLimits {
    /// Creates the limits.
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
            usage: AddressUsage::default(),
            refusals: Refusals::default(),
            options,
        }
    }

    /// Creates limits that are never reached.
    pub(crate) fn none() -> AddressLimits {
        AddressLimits::new(AddressOptions {
            proxies: TrustedProxies::default(),
            has_proxy_protocol: false,
            connections: usize::MAX,
            rate: NonZeroU32::MAX,
            volume: NonZeroU32::MAX,
            reads: usize::MAX,
            all_reads: usize::MAX,
            client_ids: NonZeroU32::MAX,
            all_client_ids: NonZeroU32::MAX,
        })
    }

    /// Returns limits that are never reached, for connections from this machine with the PROXY protocol.
    #[cfg(test)]
    pub(crate) fn none_behind_proxies() -> AddressLimits {
        let options = AddressLimits::none().options;
        AddressLimits::new(AddressOptions { proxies: TrustedProxies::loopback(), has_proxy_protocol: true, ..options })
    }

    /// Returns the proxies that are trusted to report the addresses of their clients.
    pub(crate) fn proxies(&self) -> &TrustedProxies {
        &self.options.proxies
    }

    /// Returns true if each connection comes from a trusted proxy, which names the client with the PROXY protocol.
    pub(crate) fn has_proxy_protocol(&self) -> bool {
        self.options.has_proxy_protocol
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
        let block = address.into();
        self.rate.check_key(&block).map_err(|not_until| refusal(Limit::AddressRate, &not_until))?;
        self.usage.record(block, |usage| usage.requests += 1);
        Ok(())
    }

    /// Counts entries that are about to be read for the client at `address`.
    ///
    /// # Errors
    /// If the address has asked for too many entries in the last minute.
    pub(crate) fn charge_volume(&self, address: IpAddr, entries: usize) -> Result<(), Refusal> {
        // A single request of any size is possible, because it counts at most as the volume of a minute.
        let entries = u32::try_from(entries).unwrap_or(u32::MAX).min(self.options.volume.get());
        let block = address.into();
        let checked = NonZeroU32::new(entries).and_then(|entries| self.volume.check_key_n(&block, entries).ok());
        checked.unwrap_or(Ok(())).map_err(|not_until| refusal(Limit::AddressVolume, &not_until))?;
        self.usage.record(block, |usage| usage.volume = usage.volume.saturating_add(entries));
        Ok(())
    }

    /// Counts a new `client_id` of the client at `address`.
    ///
    /// # Errors
    /// If the address, or all addresses together, have made too many in the last hour.
    pub(crate) fn check_client_id(&self, address: IpAddr) -> Result<(), Refusal> {
        let block = address.into();
        let of_address = self.client_ids.check_key(&block);
        of_address.map_err(|not_until| refusal(Limit::AddressClientIds, &not_until))?;
        self.all_client_ids.check().map_err(|not_until| refusal(Limit::ClientIds, &not_until))?;
        self.usage.record(block, |usage| usage.client_ids += 1);
        Ok(())
    }

    /// Takes a place for the client at `address`.
    ///
    /// # Errors
    /// If the address has reached its limit.
    pub(crate) fn take_place(self: &Arc<Self>, address: IpAddr) -> Result<AddressPlace, Refusal> {
        let elsewhere = self.usage.clients_elsewhere(address.into());
        let max = self.options.connections.saturating_sub(elsewhere);
        self.take(Kind::Client, address, max).ok_or(Limit::AddressConnections.into())
    }

    /// Takes a place for an expensive read of the client at `address`.
    ///
    /// # Errors
    /// If the address, or all addresses together, have reached their limit.
    pub(crate) fn take_read(self: &Arc<Self>, address: IpAddr) -> Result<ReadPlace, Refusal> {
        let place = self.take(Kind::Read, address, self.options.reads).ok_or(Limit::AddressReads)?;
        let all = self.all_reads.clone().try_acquire_owned().map_err(|_| Limit::Reads)?;
        Ok(ReadPlace { _address: place, _all: all })
    }

    fn take(self: &Arc<Self>, kind: Kind, address: IpAddr, max: usize) -> Option<AddressPlace> {
        let block = address.into();
        let mut held = self.held();
        // An address that has all its places on other replicas needs no memory here.
        if max == 0 {
            return None;
        }
        let count = held.entry(block).or_default().count(kind);
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(held);
        Some(AddressPlace { limits: self.clone(), block, kind })
    }

    /// Starts or stops recording usage for reports to other replicas.
    pub(super) fn set_shared(&self, is_shared: bool) {
        self.usage.set_shared(is_shared);
    }

    /// Returns the report for other replicas, or `None` if there is nothing to report.
    pub(super) fn report(&self) -> Option<String> {
        self.usage.forget_old(Instant::now());
        let few = self.options.connections / UNREPORTED_SHARE;
        let many = self
            .held()
            .iter()
            .filter(|(_, held)| held.clients > few)
            .map(|(block, held)| (*block, held.clients))
            .collect::<Vec<_>>();
        let report = self.usage.report(many.into_iter());
        if report.addresses.is_empty() { None } else { serde_json::to_string(&report).ok() }
    }

    /// Charges the usage in a report of another replica to the limits of this one.
    pub(super) fn charge(&self, report: &str) {
        let report = serde_json::from_str::<UsageReport>(report).ok();
        let Some(report) = report.and_then(|report| self.usage.receive(report, Instant::now())) else { return };
        for (block, usage) in report.addresses {
            let charge_to = |limiter: &DefaultKeyedRateLimiter<AddressBlock>, amount| {
                charge(amount, |part| limiter.check_key_n(&block, part).is_ok_and(|checked| checked.is_ok()));
            };
            charge_to(&self.rate, usage.requests);
            charge_to(&self.volume, usage.volume);
            charge_to(&self.client_ids, usage.client_ids);
            charge(usage.client_ids, |part| self.all_client_ids.check_n(part).is_ok_and(|checked| checked.is_ok()));
        }
    }

    /// Regularly forgets addresses whose rates have recovered, and logs refusals. Never returns.
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

/// Charges an amount in parts, because a limiter rejects an amount completely if it exceeds what is left. The amount
/// beyond the limit is not charged.
fn charge(mut amount: u32, accepts: impl Fn(NonZeroU32) -> bool) {
    let mut part = amount;
    while let Some(next) = NonZeroU32::new(part.min(amount)) {
        if accepts(next) {
            amount -= next.get();
        } else {
            part = next.get() / 2;
        }
    }
}

fn refusal(limit: Limit, not_until: &NotUntil<QuantaInstant>) -> Refusal {
    Refusal { limit, retry_after: not_until.wait_time_from(DefaultClock::default().now()) }
}

#[cfg(test)]
mod tests;
