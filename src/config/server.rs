//! The settings of the ports and of the limits for clients.

use super::access;
use super::addresses;
use super::listen::ListenAddress;
use super::memory;
use super::prices::PriceSettings;
use super::reader::Reader;
use super::replica::Role;
use super::row::{Rejected, Row, Values};
use super::setting::{DefaultValue, Setting};
use super::values::{Durations, HOUR, Numbers};
use crate::encode::ReplicaInfo;
use crate::server::{BaseUrl, Cors, Options};
use crate::session::Limits;
use rustix::process::{Resource, getrlimit};
use std::net::SocketAddr;

const PORTS: &str = "Ports";
const LIMITS: &str = "Limits";

const LISTEN: Row<ListenAddress> = Row {
    env: "BTCFEED_LISTEN",
    help: "Address on which clients connect",
    details: "A host name is resolved at the start.",
    values: ListenAddress,
    default: DefaultValue::Fixed("0.0.0.0:8080"),
    example: "localhost:8080",
};

const OPS_LISTEN: Row<ListenAddress> = Row {
    env: "BTCFEED_OPS_LISTEN",
    help: "Address on which operators connect, for health checks, the status and /metrics",
    details: "`btcfeed healthcheck` asks the replica at this address.",
    values: ListenAddress,
    default: DefaultValue::Fixed("127.0.0.1:9464"),
    example: "0.0.0.0:9464",
};

const CORS_ORIGINS: Row<Origins> = Row {
    env: "BTCFEED_CORS_ORIGINS",
    help: "Origins whose web pages may read the feed",
    details: "",
    values: Origins,
    default: DefaultValue::Fixed("*"),
    example: "https://example.org,https://www.example.org",
};

const PUBLIC_URL: Row<PublicUrl> = Row {
    env: "BTCFEED_PUBLIC_URL",
    help: "Address under which clients reach this server",
    details: "Links, /docs, /openapi.json and /asyncapi.json contain it. Set it if a proxy changes the host or the \
              path, or if a shared cache is in front of the server. Without this setting, each request names the \
              address: in Host or, if the request comes from BTCFEED_TRUSTED_PROXIES, in X-Forwarded-Host, \
              X-Forwarded-Proto and X-Forwarded-Prefix.",
    values: PublicUrl,
    default: DefaultValue::Derived("the address that each request names"),
    example: "https://example.org/btc",
};

const MAX_CONNECTIONS: Row<Numbers> = Row {
    env: "BTCFEED_MAX_CONNECTIONS",
    help: "Maximum number of client connections",
    details: "Each concurrent request over HTTP/2 counts as one. Further clients are rejected with status 503.",
    values: Numbers { min: 1, max: usize::MAX, max_words: Some("the limit on open files minus 256") },
    default: DefaultValue::Derived("the limit on open files minus 256"),
    example: "10000",
};

const MAX_LAG: Row<Durations> = Row {
    env: "BTCFEED_MAX_LAG",
    help: "Time that a client may lag behind the feed before it is disconnected (close code 4408)",
    details: "",
    values: Durations::up_to(HOUR),
    default: DefaultValue::Fixed("30s"),
    example: "1m",
};

const WRITE_STALL: Row<Durations> = Row {
    env: "BTCFEED_WRITE_STALL",
    help: "Time that a client may read nothing while data waits, before it is disconnected (close code 4408)",
    details: "",
    values: Durations::up_to(HOUR),
    default: DefaultValue::Fixed("10s"),
    example: "30s",
};

const PING_EVERY: Row<Durations> = Row {
    env: "BTCFEED_PING_EVERY",
    help: "Time between two pings to a client, and the timeout of its pong",
    details: "The SDKs for Rust and Python reconnect if they receive nothing for 50 s. If this setting is longer than \
              that, raise the timeout of these SDKs as well. The timeout of the SDK for JavaScript does not depend on \
              pings.",
    values: Durations::up_to(HOUR),
    default: DefaultValue::Fixed("20s"),
    example: "30s",
};

const HEARTBEAT: Row<Durations> = Row {
    env: "BTCFEED_HEARTBEAT",
    help: "Time between two comments in an event stream, which keep the connection open",
    details: "The SDKs reconnect if they receive nothing for 50 s. If this setting is longer than that, raise the \
              timeout of the SDKs as well.",
    values: Durations::up_to(HOUR),
    default: DefaultValue::Fixed("15s"),
    example: "30s",
};

/// File descriptors that are not available to clients: Redis, exchanges, the operators' port, the log.
const RESERVED_DESCRIPTORS: u64 = 256;

/// Lists of origins as browsers send them.
#[derive(Clone, Copy)]
struct Origins;

impl Values for Origins {
    type Value = Cors;

    fn expected(&self) -> String {
        "*, none, or a list of origins with commas, in lower case, without a path and without the default port \
         (https://example.org)"
            .to_owned()
    }

    fn parse(&self, text: &str) -> Result<Cors, Rejected> {
        Cors::parse(text).ok_or(Rejected::Unexpected)
    }
}

/// Addresses of a server.
#[derive(Clone, Copy)]
struct PublicUrl;

impl Values for PublicUrl {
    type Value = BaseUrl;

    fn expected(&self) -> String {
        "an address such as https://feed.example or https://example.org/btc".to_owned()
    }

    fn parse(&self, text: &str) -> Result<BaseUrl, Rejected> {
        BaseUrl::parse(text).ok_or(Rejected::Unexpected)
    }
}

/// Returns the settings of the ports and of the limits for clients.
pub(super) fn settings() -> Vec<Setting> {
    vec![
        LISTEN.setting(PORTS),
        OPS_LISTEN.setting(PORTS),
        CORS_ORIGINS.setting(PORTS),
        PUBLIC_URL.setting(PORTS),
        MAX_CONNECTIONS.setting(LIMITS),
        memory::CLIENT_MEMORY.setting(LIMITS),
        MAX_LAG.setting(LIMITS),
        WRITE_STALL.setting(LIMITS),
        PING_EVERY.setting(LIMITS),
        HEARTBEAT.setting(LIMITS),
    ]
}

/// Reads the address on which operators connect.
pub(super) fn read_ops_listen(reader: &mut Reader<'_>) -> SocketAddr {
    reader.value(&OPS_LISTEN)
}

/// Reads the options of the server.
pub(super) fn read(reader: &mut Reader<'_>, role: Role, replica: String, prices: &PriceSettings) -> Options {
    let listen = reader.value(&LISTEN);
    let currencies = prices.aggregate.currencies;
    let max_connections = max_connections(reader);
    Options {
        listen: (role != Role::Fetch).then_some(listen),
        ops_listen: read_ops_listen(reader),
        currencies,
        default_currency: prices.default_currency,
        tls: access::read_tls(reader),
        keys: access::read_keys(reader),
        max_connections,
        addresses: addresses::read(reader, max_connections),
        client_memory: memory::read(reader),
        limits: Limits {
            max_lag: reader.value(&MAX_LAG),
            write_stall: reader.value(&WRITE_STALL),
            ping_every: reader.value(&PING_EVERY),
        },
        heartbeat: reader.value(&HEARTBEAT),
        cors: reader.value(&CORS_ORIGINS),
        public_url: reader.lookup(&PUBLIC_URL),
        hello: ReplicaInfo { replica, currencies, interval: prices.interval },
    }
}

fn max_connections(reader: &mut Reader<'_>) -> usize {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
    let max = usize::try_from(files.saturating_sub(RESERVED_DESCRIPTORS).max(1)).unwrap_or(usize::MAX);
    match reader.lookup(&MAX_CONNECTIONS) {
        Some(number) if number > max => {
            reader.reject(&MAX_CONNECTIONS, &format!("a number from 1 to {max} (the limit on open files minus 256)"));
            max
        }
        number => number.unwrap_or(max),
    }
}
