//! What this process is told, from flags, the environment and defaults, in this order; and what each module gets of it.
//!
//! The list of settings stands once, in [`SETTINGS`]: the flags, the help, `btcfeed config` and the check of
//! `.env.example` are made of it. Every mistake is reported at once, before any port is bound.

mod read;
mod secrets;
mod settings;

pub use secrets::without_password;
pub use settings::{SETTINGS, Setting};

use crate::encode::ReplicaInfo;
use crate::source::SIMULATED;
use crate::text::format_duration;
use crate::tick::{Currencies, Currency};
use crate::{aggregate, hub, leader, server, store, telemetry};
use read::Reader;
use rust_decimal::Decimal;
use rustix::process::{Resource, getrlimit};
use secrets::without_secrets;
use std::net::SocketAddr;
use std::time::Duration;

/// Everything that a process is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The feed in Redis; without it the feed is in this process's memory.
    pub redis: Option<Redis>,
    /// What this replica does.
    pub role: Role,
    /// The sources to poll.
    pub sources: Vec<SourceConfig>,
    /// How to poll them.
    pub aggregate: aggregate::Options,
    /// How to lead.
    pub leader: leader::Options,
    /// What the store keeps.
    pub store: store::Options,
    /// What the hub keeps.
    pub hub: hub::Options,
    /// How to serve.
    pub server: server::Options,
    /// What is logged.
    pub telemetry: telemetry::Options,
}

/// Where the feed is in Redis.
#[derive(Clone, Debug)]
pub struct Redis {
    /// `redis://`, `rediss://` or `unix://`.
    pub url: String,
    /// The prefix of every key.
    pub key_prefix: String,
}

/// What a replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It fetches prices, when it leads, and serves clients.
    All,
    /// It fetches only.
    Fetch,
    /// It serves only.
    Serve,
}

/// A source to poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Its name.
    pub name: String,
    /// The address to use in place of its own.
    pub url: Option<String>,
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Mistakes(pub Vec<String>);

/// Descriptors that are kept for everything but clients: Redis, exchanges, the operator's port, the log.
const SPARE_DESCRIPTORS: u64 = 256;

impl Config {
    /// Reads every setting. `given` returns what a variable was set to, by flag or environment.
    ///
    /// # Errors
    /// With every setting that cannot be used.
    pub fn read(given: impl Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
        let mut read = Reader::new(&given);
        let ms = Duration::from_millis;
        let interval = read.duration("BTCFEED_INTERVAL", ms(10)..=Duration::from_secs(3600));
        let (currencies, default_currency) = read.currencies("BTCFEED_CURRENCIES");
        let lease_ttl = read.duration("BTCFEED_LEASE_TTL", ms(1000)..=Duration::from_secs(60));
        let retention = read.duration("BTCFEED_RETENTION", Duration::from_secs(10)..=Duration::from_secs(366 * 86400));
        let role = read.one_of("BTCFEED_ROLE", &[("all", Role::All), ("fetch", Role::Fetch), ("serve", Role::Serve)]);
        let redis = read.redis();
        if redis.is_none() && role != Role::All {
            let given = read.text("BTCFEED_ROLE").unwrap_or_default();
            let why = "where no REDIS_URL is set, for there is no other replica";
            read.mistake(format!("BTCFEED_ROLE reads all {why}, got {given:?}"));
        }
        let stale_after = read.duration_after("BTCFEED_STALE_AFTER", interval * 2, "twice BTCFEED_INTERVAL");
        let stale_after = stale_after.unwrap_or((interval * 3).max(Duration::from_secs(10)));
        let down_after = read.duration_after("BTCFEED_DOWN_AFTER", stale_after, "BTCFEED_STALE_AFTER");
        let config = Config {
            redis,
            role,
            sources: read.sources(),
            aggregate: aggregate::Options {
                currencies,
                // Well inside the interval, and no longer than a price stays worth waiting for.
                deadline: (interval * 6 / 10).min(Duration::from_secs(3)),
                max_age: read.duration("BTCFEED_SOURCE_MAX_AGE", Duration::from_secs(1)..=Duration::from_secs(86400)),
                max_deviation: read.share("BTCFEED_MAX_DEVIATION"),
            },
            leader: leader::Options {
                replica: read.replica(),
                interval,
                currencies,
                lease_ttl,
                stale_after,
                down_after: down_after.unwrap_or((interval * 12).max(Duration::from_secs(30)).max(stale_after)),
            },
            store: store::Options { retention, lease_ttl },
            hub: hub::Options { window: read.number("BTCFEED_WINDOW", 100..=10_000_000), retention },
            server: read.server(role, currencies, default_currency, interval),
            telemetry: read.telemetry(),
        };
        read.finish().map(|()| config)
    }

    /// Reads only where operators connect: all that matters to who asks a replica on this machine how it is.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn read_ops_listen(given: impl Fn(&str) -> Option<String>) -> Result<SocketAddr, Mistakes> {
        let mut read = Reader::new(&given);
        let address = read.address("BTCFEED_OPS_LISTEN");
        read.finish().map(|()| address)
    }

    /// What a setting comes to where that is not simply what was given or its default: those that depend on others or on this
    /// machine, and lists.
    pub fn effective(&self, env: &str) -> Option<String> {
        let leader::Options { replica, stale_after, down_after, .. } = &self.leader;
        let server::Options { currencies, default_currency, max_connections, .. } = &self.server;
        Some(match env {
            "BTCFEED_REPLICA" => replica.clone(),
            "BTCFEED_STALE_AFTER" => format_duration(*stale_after),
            "BTCFEED_DOWN_AFTER" => format_duration(*down_after),
            "BTCFEED_MAX_CONNECTIONS" => max_connections.to_string(),
            "BTCFEED_CURRENCIES" => {
                let others = currencies.iter().filter(|currency| currency != default_currency);
                list(std::iter::once(*default_currency).chain(others).map(Currency::code))
            }
            "BTCFEED_SOURCES" => list(self.sources.iter().map(|source| source.name.as_str())),
            _ => return None,
        })
    }

    /// The same process with a market that is made up.
    #[must_use]
    pub fn simulated(mut self) -> Config {
        self.sources = vec![SourceConfig { name: SIMULATED.to_owned(), url: None }];
        self
    }
}

/// A variable of the environment, if it is set to text.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// The names of all variables of the environment.
pub fn environment_names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(",")
}

/// The most clients that the limit on open files leaves room for.
fn most_connections() -> usize {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
    usize::try_from(files.saturating_sub(SPARE_DESCRIPTORS).max(1)).unwrap_or(usize::MAX)
}

/// A name that says where this process runs: the host's and the process's number.
fn replica_name() -> String {
    let host = rustix::system::uname();
    format!("{}-{}", host.nodename().to_string_lossy(), std::process::id())
}

impl Reader<'_> {
    fn redis(&mut self) -> Option<Redis> {
        let key_prefix = self.text("BTCFEED_KEY_PREFIX").unwrap_or_default();
        if key_prefix.is_empty() || key_prefix.contains(['{', '}', ' ']) {
            self.mistake(format!("BTCFEED_KEY_PREFIX reads a name without braces and spaces, got {key_prefix:?}"));
        }
        let url = self.text("REDIS_URL")?;
        if store::Redis::check_url(&url).is_err() {
            let shown = without_secrets(&url);
            self.mistake(format!(
                "REDIS_URL reads redis://HOST:PORT/DATABASE, rediss://… or unix://PATH, got {shown:?}"
            ));
        }
        Some(Redis { url, key_prefix })
    }

    fn sources(&mut self) -> Vec<SourceConfig> {
        let names = self.text("BTCFEED_SOURCES").unwrap_or_default();
        let mut sources: Vec<SourceConfig> = Vec::new();
        for name in names.split(',').map(str::trim) {
            let url = self.source_url(name);
            let opened = crate::source::open(name, url.as_deref());
            match opened {
                Ok(Some(_)) if sources.iter().any(|source| source.name == name) => {
                    self.mistake(format!("BTCFEED_SOURCES reads each name once, got {name:?} again in {names:?}"));
                }
                Ok(Some(_)) => sources.push(SourceConfig { name: name.to_owned(), url }),
                Ok(None) => {
                    let known = crate::source::NAMES.join(", ");
                    self.mistake(format!("BTCFEED_SOURCES reads names out of {known}, got {name:?}"));
                }
                Err(error) => self.mistake(format!("BTCFEED_SOURCE_{}_URL: {error:#}", name.to_ascii_uppercase())),
            }
        }
        if sources.len() > 1 && sources.iter().any(|source| source.name == SIMULATED) {
            let why = "made up prices are not to be mixed with real ones";
            self.mistake(format!("BTCFEED_SOURCES reads simulated alone, or none of it: {why}, got {names:?}"));
        }
        sources
    }

    fn source_url(&mut self, name: &str) -> Option<String> {
        let variable = format!("BTCFEED_SOURCE_{}_URL", name.to_ascii_uppercase());
        SETTINGS.iter().find(|setting| setting.env == variable).and_then(|setting| self.text(setting.env))
    }

    fn server(
        &mut self,
        role: Role,
        currencies: Currencies,
        default_currency: Currency,
        interval: Duration,
    ) -> server::Options {
        let second = Duration::from_secs(1);
        let listen = self.address("BTCFEED_LISTEN");
        let most = most_connections();
        server::Options {
            listen: (role != Role::Fetch).then_some(listen),
            ops_listen: self.address("BTCFEED_OPS_LISTEN"),
            currencies,
            default_currency,
            max_connections: self.optional_number("BTCFEED_MAX_CONNECTIONS", 1..=most).unwrap_or(most),
            limits: crate::session::Limits {
                max_lag: self.duration("BTCFEED_MAX_LAG", second..=second * 3600),
                write_stall: self.duration("BTCFEED_WRITE_STALL", second..=second * 3600),
                ping_every: self.duration("BTCFEED_PING_EVERY", second..=second * 3600),
            },
            heartbeat: self.duration("BTCFEED_HEARTBEAT", second..=second * 3600),
            cors: self.cors(),
            hello: ReplicaInfo { replica: self.replica(), currencies, interval },
        }
    }

    fn replica(&self) -> String {
        self.text("BTCFEED_REPLICA").unwrap_or_else(replica_name)
    }

    fn cors(&mut self) -> server::Cors {
        let text = self.text("BTCFEED_CORS_ORIGINS").unwrap_or_default();
        let cors = server::Cors::parse(&text);
        if cors.is_none() {
            let allowed = "*, none, or origins with commas between them as browsers write them (https://example.org, in small letters, \
                           without a path and without the usual port)";
            self.mistake(format!("BTCFEED_CORS_ORIGINS reads {allowed}, got {text:?}"));
        }
        cors.unwrap_or(server::Cors::Any)
    }

    fn telemetry(&mut self) -> telemetry::Options {
        let filter = self.text("RUST_LOG").unwrap_or_default();
        if let Err(error) = telemetry::check_filter(&filter) {
            self.mistake(format!("invalid RUST_LOG {error}"));
        }
        let json = self.one_of("BTCFEED_LOG_FORMAT", &[("text", false), ("json", true)]);
        telemetry::Options { filter, json }
    }

    fn share(&mut self, env: &'static str) -> Decimal {
        let text = self.text(env).unwrap_or_default();
        let share = text.parse().ok().filter(|share| *share > Decimal::ZERO && *share < Decimal::ONE);
        if share.is_none() {
            self.mistake(format!("{env} reads a share between 0 and 1 (0.05 is 5 %), got {text:?}"));
        }
        share.unwrap_or(Decimal::ONE)
    }
}

#[cfg(test)]
mod tests;
