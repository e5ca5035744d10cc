//! The settings of a process: read from flags, the environment and defaults, in this order, and turned into the options
//! of each module.
//!
//! Each subject has a file with a table of its settings (name, default, bounds, help) and a function that reads them.
//! The flags, the help texts, `btcfeed config`, `.env.example` and `docs/configuration.md` are made from these tables.
//! All errors are reported together, before any port is bound.

mod access;
mod addresses;
mod drain;
mod leader;
mod listen;
mod lookup;
mod memory;
mod prices;
mod reader;
mod redis_store;
mod replica;
mod row;
mod server;
mod setting;
mod settings;
mod store;
mod telemetry;
mod unknown;
mod url;
mod values;

#[cfg(test)]
mod documents;

pub use lookup::{Lookup, environment, environment_variables};
pub use prices::SourceConfig;
pub use reader::ConfigErrors;
pub use replica::Role;
pub use setting::{DefaultValue, Setting};
pub use settings::{sections, settings};
pub use unknown::{UnknownVariable, unknown_variables};
pub use url::redact_url;

use crate::source::{Endpoint, SIMULATED, find};
use crate::text::format_duration;
use crate::tick::Currency;
use reader::Reader;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The configuration of a process. It may contain passwords, so it cannot be printed.
#[derive(Clone)]
pub struct Config {
    /// The Redis that has the feed. `None` if the feed is in a file or in the memory of this process.
    pub redis: Option<crate::store::RedisOptions>,
    /// The directory of the feed's file. `None` if the feed is in Redis or in the memory of this process.
    pub data: Option<PathBuf>,
    /// The work of this replica.
    pub role: Role,
    /// The sources to poll.
    pub sources: Vec<SourceConfig>,
    /// The options of the aggregator.
    pub aggregate: crate::aggregate::Options,
    /// The options of the leader.
    pub leader: crate::leader::Options,
    /// The options of the store.
    pub store: crate::store::Options,
    /// The options of the hub.
    pub hub: crate::hub::Options,
    /// The options of the server.
    pub server: crate::server::Options,
    /// The options of a stop.
    pub drain: crate::shutdown::DrainOptions,
    /// The options of the monitor.
    pub monitor: crate::monitor::Options,
    /// The options of the log.
    pub telemetry: crate::telemetry::Options,
    /// The options of the traces, if there are any.
    pub traces: Option<crate::telemetry::traces::Options>,
}

impl Config {
    /// Reads all settings.
    ///
    /// # Errors
    /// All invalid settings.
    pub fn read(lookup: &Lookup) -> Result<Config, ConfigErrors> {
        let mut reader = Reader::new(lookup);
        let name = replica::read_name(&mut reader);
        let redis = redis_store::read(&mut reader, &name);
        let data = store::read_data(&mut reader);
        let has_redis = redis_store::is_named(&reader);
        let role = replica::read_role(&mut reader, has_redis);
        let prices = prices::read(&mut reader);
        let leader = leader::read(&mut reader, name.clone(), &prices);
        let (store, hub) = store::read(&mut reader, leader.lease_ttl);
        let server = server::read(&mut reader, role, name, &prices);
        let drain = drain::read(&mut reader);
        let traces = telemetry::read_traces(&mut reader, &leader.replica, redis.as_ref());
        let telemetry = telemetry::read(&mut reader);
        let prices::PriceSettings { sources, aggregate, .. } = prices;
        let monitor = crate::monitor::Options {
            replica: leader.replica.clone(),
            store: match (&redis, &data) {
                (Some(_), _) => "redis",
                (None, Some(_)) => "disk",
                (None, None) => "memory",
            },
            sources: sources.iter().map(|source| source.definition.name).collect(),
            currencies: leader.currencies,
            stale_after: leader.stale_after,
            down_after: leader.down_after,
        };
        reader.finish()?;
        Ok(Config {
            redis,
            data,
            role,
            sources,
            aggregate,
            leader,
            store,
            hub,
            server,
            drain,
            monitor,
            telemetry,
            traces,
        })
    }

    /// Reads only the address of the operators' port. `btcfeed healthcheck` needs no other setting.
    ///
    /// # Errors
    /// If it is invalid.
    pub fn read_ops_listen(lookup: &Lookup) -> Result<SocketAddr, ConfigErrors> {
        let mut reader = Reader::new(lookup);
        let address = server::read_ops_listen(&mut reader);
        reader.finish().map(|()| address)
    }

    /// Returns the value that is in use for the setting `env`. This covers the settings whose default depends on other
    /// settings or on this machine, and the lists of currencies, sources and proxies. Returns `None` for all others.
    pub fn effective(&self, env: &str) -> Option<String> {
        let crate::leader::Options { replica, stale_after, down_after, .. } = &self.leader;
        let crate::server::Options { currencies, default_currency, max_connections, .. } = &self.server;
        Some(match env {
            "BTCFEED_REPLICA" => replica.clone(),
            "BTCFEED_STALE_AFTER" => format_duration(*stale_after),
            "BTCFEED_DOWN_AFTER" => format_duration(*down_after),
            "BTCFEED_MAX_CONNECTIONS" => max_connections.to_string(),
            "BTCFEED_ADDRESS_CONNECTIONS" => self.server.addresses.connections.to_string(),
            "BTCFEED_TRUSTED_PROXIES" => self.server.addresses.proxies.to_string(),
            "BTCFEED_CLIENT_MEMORY" => memory::format(self.server.client_memory),
            "BTCFEED_CURRENCIES" => {
                let others = currencies.iter().filter(|currency| currency != default_currency);
                list(std::iter::once(*default_currency).chain(others).map(Currency::code))
            }
            "BTCFEED_SOURCES" => list(self.source_names()),
            _ => return None,
        })
    }

    /// Returns the names of the sources to poll.
    pub fn source_names(&self) -> impl Iterator<Item = &'static str> {
        self.sources.iter().map(|source| source.definition.name)
    }

    /// Returns the same configuration with the feed in memory only.
    #[must_use]
    pub fn in_memory(mut self) -> Config {
        (self.redis, self.data, self.monitor.store) = (None, None, "memory");
        self
    }

    /// Returns the same configuration with the simulated market as its only source.
    #[must_use]
    pub fn simulated(mut self) -> Config {
        self.sources = find(SIMULATED)
            .map(|definition| SourceConfig { definition, endpoint: Endpoint::default() })
            .into_iter()
            .collect();
        self
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
