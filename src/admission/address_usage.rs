//! Usage of addresses on other replicas, so that the limits of an address count over all replicas.
//!
//! Once a second, each replica reports what addresses have used since its last report. If an address has many clients,
//! the report also has their number. The other replicas count this usage against their own limits. So no request waits
//! for another replica. While the store is unavailable, each replica still has its own limits.

use super::client_address::AddressBlock;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Time after which the report of a replica no longer counts.
const REPORT_TTL: Duration = Duration::from_secs(5);
/// Maximum number of addresses in a report: those with the largest usage.
const MAX_REPORTED: usize = 1000;
/// Maximum number of addresses whose usage is recorded for the next report.
const MAX_RECORDED: usize = 20_000;

/// Usage of one address on one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    /// Number of clients that the address has now, or 0 if it has only a few.
    pub(super) clients: usize,
    /// Number of new connections and requests since the last report.
    pub(super) requests: u32,
    /// Number of entries in replays and pages since the last report.
    pub(super) volume: u32,
    /// Number of new `client_id`s since the last report.
    pub(super) client_ids: u32,
}

/// Message of one replica to all others.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UsageReport {
    /// Unique id of the process that sends the report.
    process: String,
    /// Usage of each address.
    pub(super) addresses: Vec<(AddressBlock, Usage)>,
}

/// Usage on this replica since its last report, and clients on other replicas.
#[derive(Debug)]
pub(crate) struct AddressUsage {
    process: String,
    /// False if reports are not exchanged. Then nothing is recorded.
    is_shared: AtomicBool,
    /// A std lock: it is held only to count.
    recorded: Mutex<HashMap<AddressBlock, Usage>>,
    elsewhere: Mutex<Elsewhere>,
}

/// Clients on other replicas.
#[derive(Debug, Default)]
struct Elsewhere {
    /// The last report of each process, and the time at which it was received.
    reports: HashMap<String, (Instant, Vec<(AddressBlock, Usage)>)>,
    /// Number of clients of each address, summed over these reports.
    clients: HashMap<AddressBlock, usize>,
}

impl Default for AddressUsage {
    fn default() -> AddressUsage {
        AddressUsage {
            process: Uuid::now_v7().to_string(),
            is_shared: AtomicBool::new(false),
            recorded: Mutex::default(),
            elsewhere: Mutex::default(),
        }
    }
}

impl AddressUsage {
    /// If `is_shared`, starts to record usage for reports. Otherwise stops, and forgets the recorded usage and the
    /// reports of other replicas.
    pub(super) fn set_shared(&self, is_shared: bool) {
        self.is_shared.store(is_shared, Ordering::Relaxed);
        if !is_shared {
            *self.recorded() = HashMap::new();
            *self.elsewhere() = Elsewhere::default();
        }
    }

    /// Records usage of an address for the next report.
    pub(super) fn record(&self, block: AddressBlock, add: impl FnOnce(&mut Usage)) {
        if !self.is_shared.load(Ordering::Relaxed) {
            return;
        }
        let mut recorded = self.recorded();
        if recorded.len() < MAX_RECORDED || recorded.contains_key(&block) {
            add(recorded.entry(block).or_default());
        }
    }

    /// Returns the report of the usage since the last one. `clients` has the number of clients of each address that has
    /// many.
    pub(super) fn report(&self, clients: impl Iterator<Item = (AddressBlock, usize)>) -> UsageReport {
        let mut usage = std::mem::take(&mut *self.recorded());
        for (block, clients) in clients {
            usage.entry(block).or_default().clients = clients;
        }
        let mut addresses: Vec<_> = usage.into_iter().collect();
        // An entry of a replay or page costs far less than a client or a request.
        let cost = |usage: &Usage| usage.clients + (usage.requests + usage.client_ids + usage.volume / 100) as usize;
        addresses.sort_by_cached_key(|(_, usage)| std::cmp::Reverse(cost(usage)));
        addresses.truncate(MAX_REPORTED);
        UsageReport { process: self.process.clone(), addresses }
    }

    /// Keeps the numbers of clients that a report of another process contains, and returns the report. Ignores a report
    /// of this process and returns `None`.
    pub(super) fn receive(&self, mut report: UsageReport, now: Instant) -> Option<UsageReport> {
        if report.process == self.process {
            return None;
        }
        report.addresses.truncate(MAX_REPORTED);
        let clients = report.addresses.iter().filter(|(_, usage)| usage.clients > 0).copied().collect();
        let mut elsewhere = self.elsewhere();
        elsewhere.reports.insert(report.process.clone(), (now, clients));
        elsewhere.sum(now);
        Some(report)
    }

    /// Forgets the reports of replicas that no longer send any.
    pub(super) fn forget_old(&self, now: Instant) {
        self.elsewhere().sum(now);
    }

    /// Returns the number of clients that an address has on other replicas.
    pub(super) fn clients_elsewhere(&self, block: AddressBlock) -> usize {
        if !self.is_shared.load(Ordering::Relaxed) {
            return 0;
        }
        self.elsewhere().clients.get(&block).copied().unwrap_or(0)
    }

    fn recorded(&self) -> MutexGuard<'_, HashMap<AddressBlock, Usage>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elsewhere(&self) -> MutexGuard<'_, Elsewhere> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Elsewhere {
    /// Forgets old reports, and adds up the others.
    fn sum(&mut self, now: Instant) {
        self.reports.retain(|_, (received, _)| now.duration_since(*received) < REPORT_TTL);
        self.clients.clear();
        for (block, usage) in self.reports.values().flat_map(|(_, addresses)| addresses) {
            let clients = self.clients.entry(*block).or_default();
            *clients = clients.saturating_add(usage.clients);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn block(text: &str) -> AddressBlock {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn shared() -> AddressUsage {
        let usage = AddressUsage::default();
        usage.set_shared(true);
        usage
    }

    #[test]
    fn reports_are_summed_until_they_are_old() {
        let (here, there, third) = (shared(), shared(), shared());
        let (one, now) = (block("198.51.100.1"), Instant::now());
        assert!(here.receive(here.report([(one, 5)].into_iter()), now).is_none(), "its own report");
        for (other, clients) in [(&there, 2), (&third, 3), (&there, 4)] {
            here.receive(other.report([(one, clients)].into_iter()), now).unwrap();
        }
        assert_eq!(here.clients_elsewhere(one), 7, "the last report of each counts");
        here.receive(there.report(std::iter::empty()), now + REPORT_TTL / 2).unwrap();
        assert_eq!(here.clients_elsewhere(one), 3);
        here.forget_old(now + REPORT_TTL);
        assert_eq!(here.clients_elsewhere(one), 0);
        assert_eq!(here.elsewhere().reports.len(), 1);
    }

    #[test]
    fn usage_is_reported_once_and_bounded() {
        let usage = shared();
        for number in 0..2 * u32::try_from(MAX_RECORDED).unwrap() {
            usage.record(AddressBlock::from(IpAddr::V4(number.into())), |usage| usage.requests += 1 + number % 2);
        }
        let report = usage.report(std::iter::empty());
        assert_eq!(report.addresses.len(), MAX_REPORTED);
        assert!(report.addresses.iter().all(|(_, usage)| usage.requests == 2), "the largest are reported");
        assert!(usage.report(std::iter::empty()).addresses.is_empty());
        usage.set_shared(false);
        usage.record(block("198.51.100.1"), |usage| usage.requests += 1);
        assert!(usage.recorded().is_empty(), "nobody would read it");
    }

    #[test]
    fn report_is_read_as_it_was_written() {
        let usage = shared();
        usage.record(block("2001:db8::1"), |usage| usage.volume += 7);
        let json = serde_json::to_string(&usage.report([(block("198.51.100.1"), 3)].into_iter())).unwrap();
        let read: UsageReport = serde_json::from_str(&json).unwrap();
        let expected = [
            (block("198.51.100.1"), Usage { clients: 3, ..Usage::default() }),
            (block("2001:db8::ffff"), Usage { volume: 7, ..Usage::default() }),
        ];
        assert_eq!(read.addresses, expected);
        // Replicas of other versions may know other kinds of usage.
        let other = r#"{"process":"p","addresses":[["198.51.100.1",{"requests":2,"bytes":9}]]}"#;
        assert_eq!(serde_json::from_str::<UsageReport>(other).unwrap().addresses[0].1.requests, 2);
    }
}
