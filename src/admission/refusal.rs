//! Refusals of clients that have reached a limit. Refusals are counted, and logged at a bounded rate.

use super::client_address::AddressBlock;
use crate::telemetry::metrics::REFUSALS;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::warn;

/// Time between two log lines about one limit.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Time after which a client may try again, unless the limit gives an exact time.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Time after which a client may try again to read history or candles. These requests are short.
const RETRY_READ_AFTER: Duration = Duration::from_secs(2);

/// Limit for one address, or for all addresses together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Clients of this replica.
    Connections,
    /// Clients of one address.
    AddressConnections,
    /// New connections and requests of one address.
    AddressRate,
    /// Entries that are sent to one address in replays and pages.
    AddressVolume,
    /// Pages for one address that are being read or sent.
    AddressReads,
    /// Pages that are being read or sent.
    Reads,
    /// New `client_id`s of one address.
    AddressClientIds,
    /// New `client_id`s.
    ClientIds,
}

/// Rejection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Limit that the client has reached.
    pub(crate) limit: Limit,
    /// Time after which the client may try again.
    pub(crate) retry_after: Duration,
}

impl From<Limit> for Refusal {
    fn from(limit: Limit) -> Refusal {
        let retry_after = match limit {
            Limit::AddressReads | Limit::Reads => RETRY_READ_AFTER,
            _ => RETRY_AFTER,
        };
        Refusal { limit, retry_after }
    }
}

impl Limit {
    /// All limits.
    pub(crate) const ALL: [Limit; 8] = [
        Limit::Connections,
        Limit::AddressConnections,
        Limit::AddressRate,
        Limit::AddressVolume,
        Limit::AddressReads,
        Limit::Reads,
        Limit::AddressClientIds,
        Limit::ClientIds,
    ];

    /// Returns the name in logs and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Limit::Connections => "connections",
            Limit::AddressConnections => "address_connections",
            Limit::AddressRate => "address_rate",
            Limit::AddressVolume => "address_volume",
            Limit::AddressReads => "address_reads",
            Limit::Reads => "reads",
            Limit::AddressClientIds => "address_client_ids",
            Limit::ClientIds => "client_ids",
        }
    }

    /// Returns true if this is a limit of all addresses together.
    pub(crate) const fn is_of_all_addresses(self) -> bool {
        matches!(self, Limit::Connections | Limit::Reads | Limit::ClientIds)
    }

    /// Returns the message for the client.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Limit::Connections => "this replica has reached its connection limit, try again later",
            Limit::AddressConnections => "too many open connections and requests from your address: close some first",
            Limit::AddressRate => "too many new connections and requests from your address, try again later",
            Limit::AddressVolume => "too much history and too many replays for your address, try again later",
            Limit::AddressReads => "too many concurrent reads of the history from your address, try again later",
            Limit::Reads => "too many concurrent reads of the history, try again later",
            Limit::AddressClientIds => {
                "too many new client_ids from your address, use one that you have or try again later"
            }
            Limit::ClientIds => "too many new client_ids, use one that you have or try again later",
        }
    }
}

/// Counter of refusals.
#[derive(Debug)]
pub(crate) struct Refusals([Count; Limit::ALL.len()]);

#[derive(Debug, Default)]
struct Count {
    #[cfg(test)]
    total: std::sync::atomic::AtomicU64,
    /// A std lock: it is held only to add or to log refusals.
    unlogged: Mutex<Unlogged>,
}

/// Refusals that are not in the log yet.
#[derive(Debug, Default)]
struct Unlogged {
    count: u64,
    example: Option<AddressBlock>,
    last_line: Option<Instant>,
}

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals(Limit::ALL.map(|_| Count::default()))
    }
}

impl Refusals {
    /// Counts a refusal of the client at `address`. If there was no log line about this limit within [`LOG_EVERY`],
    /// logs the number of refusals since the last line.
    pub(crate) fn add(&self, limit: Limit, address: IpAddr) {
        REFUSALS.counter(limit.name()).increment(1);
        let count = &self.0[limit as usize];
        #[cfg(test)]
        count.total.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut unlogged = count.unlogged();
        unlogged.count += 1;
        unlogged.example = Some(address.into());
        unlogged.log(limit);
    }

    /// Logs the refusals that are not in the log yet, for each limit at most once in [`LOG_EVERY`]. Call it every few
    /// seconds.
    pub(crate) fn log(&self) {
        for (limit, count) in Limit::ALL.into_iter().zip(&self.0) {
            count.unlogged().log(limit);
        }
    }

    /// Returns the number of refusals because of a limit.
    #[cfg(test)]
    pub(crate) fn total(&self, limit: Limit) -> u64 {
        self.0[limit as usize].total.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Count {
    fn unlogged(&self) -> MutexGuard<'_, Unlogged> {
        self.unlogged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unlogged {
    fn log(&mut self, limit: Limit) {
        let Some(example) = self.example else { return };
        if self.last_line.is_some_and(|last| last.elapsed() < LOG_EVERY) {
            return;
        }
        warn!(limit = limit.name(), refusals = self.count, %example, "refused clients over a limit");
        *self = Unlogged { last_line: Some(Instant::now()), ..Unlogged::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_and_rarely_logged() {
        let refusals = Refusals::default();
        for _ in 0..1000 {
            refusals.add(Limit::AddressRate, [198, 51, 100, 1].into());
        }
        assert_eq!(Limit::ALL.map(|limit| refusals.total(limit)), [0, 0, 1000, 0, 0, 0, 0, 0]);
        assert_eq!(refusals.0[Limit::AddressRate as usize].unlogged().count, 999, "the first one is logged at once");
        refusals.log();
        assert_eq!(refusals.0[Limit::AddressRate as usize].unlogged().count, 999, "the others ten seconds later");
    }

    #[test]
    fn every_limit_has_its_series() {
        assert!(REFUSALS.values.starts_with(&Limit::ALL.map(Limit::name)));
    }

    #[test]
    fn limits_are_in_the_order_of_their_numbers() {
        assert!(Limit::ALL.into_iter().enumerate().all(|(number, limit)| limit as usize == number));
    }
}
