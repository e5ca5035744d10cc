//! The limits of each client's address, and the proxies that are trusted to report the addresses of their clients.

use super::reader::Reader;
use super::row::{Rejected, Row, Values};
use super::setting::{DefaultValue, Setting};
use super::values::{Numbers, Words};
use crate::server::{AddressOptions, TrustedProxies};
use std::num::NonZeroU32;

const SECTION: &str = "Limits of addresses";

const TRUSTED_PROXIES: Row<Proxies> = Row {
    env: "BTCFEED_TRUSTED_PROXIES",
    help: "Proxies that are trusted to report the addresses of their clients",
    details: "The address of a client is read from the header X-Forwarded-For or, if a request has none, from \
              Forwarded. Name only proxies that append to X-Forwarded-For, or that send only Forwarded and append to \
              it. Without this setting, all clients of a proxy count as one address.",
    values: Proxies,
    default: DefaultValue::Derived("none, or this machine (127.0.0.0/8,::1) if BTCFEED_PROXY_PROTOCOL is true"),
    example: "10.0.0.0/8,fd00::/8",
};

const PROXY_PROTOCOL: Row<Words<bool>> = Row {
    env: "BTCFEED_PROXY_PROTOCOL",
    help: "Whether proxies name the client at the beginning of each connection (PROXY protocol)",
    details: "Versions 1 and 2 are accepted, before TLS. Connections that are not from BTCFEED_TRUSTED_PROXIES, or do \
              not begin with a PROXY header, are closed. X-Forwarded-For and Forwarded are ignored. The operators' \
              port is not affected.",
    values: Words(&[("true", true), ("false", false)]),
    default: DefaultValue::Fixed("false"),
    example: "true",
};

const ADDRESS_CONNECTIONS: Row<Numbers> = Row {
    env: "BTCFEED_ADDRESS_CONNECTIONS",
    help: "Maximum number of connections of one address",
    details: "Each concurrent request over HTTP/2 or through a trusted proxy counts as a connection. An IPv6 network \
              of 64 bits counts as one address. Connections to all replicas count. Further connections and requests \
              are rejected with status 429.",
    values: Numbers { min: 1, max: 10_000_000, max_words: None },
    default: DefaultValue::Derived("a tenth of BTCFEED_MAX_CONNECTIONS, at most 2000"),
    example: "100",
};

const ADDRESS_RATE: Row<Numbers> = Row {
    env: "BTCFEED_ADDRESS_RATE",
    help: "Maximum number of new connections and requests of one address in a second",
    details: "Ten times as many may come at once. All replicas count together. Further connections and requests are \
              rejected with status 429.",
    values: Numbers { min: 1, max: MAX_RATE, max_words: None },
    default: DefaultValue::Fixed("200"),
    example: "50",
};

const ADDRESS_VOLUME: Row<Numbers> = Row {
    env: "BTCFEED_ADDRESS_VOLUME",
    help: "Maximum number of updates in replays and pages for one address in a minute",
    details: "The number is estimated before the updates are read: it is the period that is asked for, divided by \
              BTCFEED_INTERVAL, or the limit of the request if that is less. A tick with its audit counts as 20, a \
              request for candles as its limit, and a request for sources as 50. A single request may have any size. \
              All replicas count together. Further requests are rejected with status 429.",
    values: Numbers { min: 1, max: MAX_VOLUME, max_words: None },
    default: DefaultValue::Fixed("2000000"),
    example: "500000",
};

const ADDRESS_READS: Row<Numbers> = Row {
    env: "BTCFEED_ADDRESS_READS",
    help: "Maximum number of concurrent requests of one address for history or candles",
    details: "Requests for sources, for the price at a time and for a latest tick with its audit count as well. A \
              request counts until its response is sent. Further requests are rejected with status 429.",
    values: Numbers { min: 1, max: 1_000_000, max_words: None },
    default: DefaultValue::Fixed("16"),
    example: "8",
};

const MAX_READS: Row<Numbers> = Row {
    env: "BTCFEED_MAX_READS",
    help: "Maximum number of concurrent requests for history or candles",
    details: "Requests for sources, for the price at a time and for a latest tick with its audit count as well. A \
              request counts until its response is sent. Further requests are rejected with status 503.",
    values: Numbers { min: 1, max: 1_000_000, max_words: None },
    default: DefaultValue::Fixed("256"),
    example: "1000",
};

const ADDRESS_CLIENT_IDS: Row<Numbers> = Row {
    env: "BTCFEED_ADDRESS_CLIENT_IDS",
    help: "Maximum number of new client_ids of one address in an hour",
    details: "A client_id is new if the feed has no bookmark of it. All replicas count together. Further new ones are \
              rejected with status 429.",
    values: Numbers { min: 1, max: MAX_RATE, max_words: None },
    default: DefaultValue::Fixed("1000"),
    example: "100",
};

const CLIENT_IDS: Row<Numbers> = Row {
    env: "BTCFEED_CLIENT_IDS",
    help: "Maximum number of new client_ids in an hour",
    details: "Each of them is a key in Redis for as long as ticks are kept. All replicas count together. Further new \
              ones are rejected with status 503.",
    values: Numbers { min: 1, max: MAX_RATE, max_words: None },
    default: DefaultValue::Fixed("10000"),
    example: "100000",
};

/// Maximum of a volume. The limiter counts whole nanoseconds for each update, which is inexact for greater volumes.
const MAX_VOLUME: usize = 1_000_000_000;
/// Maximum of a rate, for the same reason.
const MAX_RATE: usize = 1_000_000;
/// Maximum of the default number of connections of one address.
const MAX_DEFAULT_CONNECTIONS: usize = 2000;
/// The default number of connections of one address is the number of all connections, divided by this.
const DEFAULT_DIVISOR: usize = 10;

/// Addresses and networks, separated by commas.
#[derive(Clone, Copy)]
struct Proxies;

impl Values for Proxies {
    type Value = TrustedProxies;

    fn expected(&self) -> String {
        "none, or a list of addresses and networks, separated by commas (10.0.0.0/8)".to_owned()
    }

    fn parse(&self, text: &str) -> Result<TrustedProxies, Rejected> {
        TrustedProxies::parse(text).map_err(Rejected::Part)
    }
}

/// Returns the rows of this file.
pub(super) fn settings() -> Vec<Setting> {
    vec![
        TRUSTED_PROXIES.setting(SECTION),
        PROXY_PROTOCOL.setting(SECTION),
        ADDRESS_CONNECTIONS.setting(SECTION),
        ADDRESS_RATE.setting(SECTION),
        ADDRESS_VOLUME.setting(SECTION),
        ADDRESS_READS.setting(SECTION),
        MAX_READS.setting(SECTION),
        ADDRESS_CLIENT_IDS.setting(SECTION),
        CLIENT_IDS.setting(SECTION),
    ]
}

/// Reads the limits of an address on a replica with `max_connections`.
pub(super) fn read(reader: &mut Reader<'_>, max_connections: usize) -> AddressOptions {
    let default = (max_connections / DEFAULT_DIVISOR).clamp(1, MAX_DEFAULT_CONNECTIONS);
    let has_proxy_protocol = reader.value(&PROXY_PROTOCOL);
    let proxies = reader.lookup(&TRUSTED_PROXIES);
    if has_proxy_protocol && proxies == Some(TrustedProxies::default()) {
        reader.reject(&PROXY_PROTOCOL, "false, because BTCFEED_TRUSTED_PROXIES names no proxy");
    }
    let others = || if has_proxy_protocol { TrustedProxies::loopback() } else { TrustedProxies::default() };
    AddressOptions {
        proxies: proxies.unwrap_or_else(others),
        has_proxy_protocol,
        connections: reader.lookup(&ADDRESS_CONNECTIONS).unwrap_or(default),
        rate: nonzero(reader.value(&ADDRESS_RATE)),
        volume: nonzero(reader.value(&ADDRESS_VOLUME)),
        reads: reader.value(&ADDRESS_READS),
        all_reads: reader.value(&MAX_READS),
        client_ids: nonzero(reader.value(&ADDRESS_CLIENT_IDS)),
        all_client_ids: nonzero(reader.value(&CLIENT_IDS)),
    }
}

/// Converts a number that is within its bounds.
fn nonzero(number: usize) -> NonZeroU32 {
    u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX)
}
