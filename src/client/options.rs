//! The options of a subscription.

use super::transport::Transport;
use crate::feed::Start;
use crate::tick::{Currencies, Currency, TickId};
use secrecy::{ExposeSecret, SecretString};
use std::net::IpAddr;
use std::time::Duration;

/// The maximum number of connections at the same time.
const MAX_REDUNDANCY: usize = 4;

/// The maximum number of ticks with audits in one answer of the history, so that it arrives in time.
const AUDITS: &str = "100";

/// The options of a subscription and of its connections.
#[derive(Clone, Debug)]
pub(super) struct ClientOptions {
    pub(super) transport: Transport,
    /// The currencies. If there is none, the feed chooses.
    pub(super) currencies: Currencies,
    pub(super) start: Start,
    /// True if each tick is to have its audit.
    pub(super) audit: bool,
    pub(super) changes: bool,
    pub(super) every: Option<Duration>,
    /// The maximum number of ticks to replay, or zero for all.
    pub(super) limit: u32,
    pub(super) client_id: Option<SecretString>,
    /// The number of connections at the same time.
    pub(super) redundancy: usize,
    pub(super) local_address: Option<IpAddr>,
    pub(super) key: Option<SecretString>,
    /// The PEM text of the authorities to trust, or `None` for those of the system.
    pub(super) authorities: Option<Vec<u8>>,
    pub(super) connect_timeout: Duration,
    pub(super) silence_timeout: Duration,
    /// The maximum of the random pause before the first attempt to connect again. It doubles with each further attempt.
    pub(super) retry_from: Duration,
    /// The upper bound of the random pause, however many attempts have failed.
    pub(super) retry_to: Duration,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            transport: Transport::default(),
            currencies: Currencies::NONE,
            start: Start::default(),
            audit: false,
            changes: false,
            every: None,
            limit: 0,
            client_id: None,
            redundancy: 1,
            local_address: None,
            key: None,
            authorities: None,
            connect_timeout: Duration::from_secs(10),
            // By default, servers send a comment every 15 s or a ping every 20 s. The timeout tolerates at least one
            // that is missing.
            silence_timeout: Duration::from_secs(50),
            retry_from: Duration::from_millis(100),
            retry_to: Duration::from_secs(10),
        }
    }
}

impl ClientOptions {
    /// Returns the query of a request for a stream that begins at `start`.
    pub(super) fn query(&self, start: Start) -> String {
        let format = if self.audit { "audit" } else { "full" };
        let mut query = form_urlencoded::Serializer::new(format!("format={format}&hello=true"));
        if let Some(codes) = self.codes() {
            query.append_pair("currency", &codes);
        }
        match start {
            Start::Latest => {}
            Start::Since(moment) => drop(query.append_pair("since", &moment.timedate())),
            Start::After(id) => drop(query.append_pair("after", &id.to_string())),
        }
        if self.changes {
            query.append_pair("changes", "true");
        }
        if let Some(every) = self.every {
            query.append_pair("every", &format!("{}ms", every.as_millis()));
        }
        if self.limit > 0 {
            query.append_pair("limit", &self.limit.to_string());
        }
        if let Some(client_id) = &self.client_id {
            query.append_pair("client_id", client_id.expose_secret());
        }
        query.finish()
    }

    /// Returns the query of a request for the history after one id and up to another.
    pub(super) fn history_query(&self, after: TickId, until: TickId) -> String {
        let format = if self.audit { "audit" } else { "full" };
        let mut query = form_urlencoded::Serializer::new(format!("format={format},ndjson"));
        if let Some(codes) = self.codes() {
            query.append_pair("currency", &codes);
        }
        query.append_pair("after", &after.to_string()).append_pair("until", &until.to_string());
        if self.audit {
            query.append_pair("limit", AUDITS);
        }
        query.finish()
    }

    /// Returns the query of a request for the prices at a moment.
    pub(super) fn prices_at_query(&self, time: Option<TickId>, window: Option<Duration>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(codes) = self.codes() {
            query.append_pair("currency", &codes);
        }
        if let Some(time) = time {
            query.append_pair("time", &time.timedate());
        }
        if let Some(window) = window {
            query.append_pair("window", &format!("{}ms", window.as_millis()));
        }
        query.finish()
    }

    /// Returns the codes of the currencies, if there are any.
    fn codes(&self) -> Option<String> {
        let codes: Vec<_> = self.currencies.iter().map(Currency::code).collect();
        Some(codes.join(",")).filter(|codes| !codes.is_empty())
    }

    /// Returns what is wrong with the options, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        // The key is a secret, so the error does not quote it.
        let is_valid = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        if self.key.as_ref().is_some_and(|key| !is_valid(key.expose_secret())) {
            return Some("key: expected printable ASCII characters without spaces".to_owned());
        }
        let is_sampled = !self.is_chained() || self.limit > 0 || self.client_id.is_some();
        match self.redundancy {
            1 => None,
            2..=MAX_REDUNDANCY if is_sampled => {
                Some("options with redundancy: expected neither changes, every, limit nor client_id".to_owned())
            }
            2..=MAX_REDUNDANCY => None,
            other => Some(format!("redundancy {other}: expected 1 to {MAX_REDUNDANCY}")),
        }
    }

    /// Returns the time without data after which a connection is dead. `None` if the transport itself detects that.
    pub(super) fn silence_timeout(&self) -> Option<Duration> {
        Some(self.silence_timeout).filter(|_| !self.transport.has_pings())
    }

    /// Returns true if the server sends every entry of the feed, so that each must continue the one before.
    pub(super) fn is_chained(&self) -> bool {
        !self.changes && self.every.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_contains_every_option() {
        let options = ClientOptions::default();
        assert_eq!(options.query(Start::Latest), "format=full&hello=true");
        let options = ClientOptions {
            currencies: Currencies::USD_EUR,
            audit: true,
            changes: true,
            every: Some(Duration::from_secs(30)),
            limit: 5,
            client_id: Some("a b".into()),
            ..options
        };
        let query =
            "format=audit&hello=true&currency=USD%2CEUR&after=7&changes=true&every=30000ms&limit=5&client_id=a+b";
        assert_eq!(options.query(Start::After(TickId::from_ms(7))), query);
        let query = "format=audit,ndjson&currency=USD%2CEUR&after=7&until=9&limit=100";
        assert_eq!(options.history_query(TickId::from_ms(7), TickId::from_ms(9)), query);
        assert!(!options.is_chained());
    }
}
