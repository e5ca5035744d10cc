//! The list of all settings.

/// A setting: a variable of the environment, and a flag of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The variable.
    pub env: &'static str,
    /// What it is where nobody says; `None` where that is nothing or depends on others, as `help` tells.
    pub default: Option<&'static str>,
    /// What it does, in a line.
    pub help: &'static str,
}

impl Setting {
    /// The flag, without its dashes: the variable without the prefix, in small letters.
    pub fn flag(&self) -> String {
        self.env.trim_start_matches("BTCFEED_").to_ascii_lowercase().replace('_', "-")
    }
}

const fn setting(env: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { env, default: Some(default), help }
}

const fn optional(env: &'static str, help: &'static str) -> Setting {
    Setting { env, default: None, help }
}

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    optional(
        "REDIS_URL",
        "The shared store (redis://HOST:PORT, rediss://…). Without it the feed lives in this process's memory",
    ),
    setting("BTCFEED_KEY_PREFIX", "btcfeed", "The prefix of every key in Redis"),
    setting(
        "BTCFEED_ROLE",
        "all",
        "What this replica does: all, fetch (poll the exchanges when it leads) or serve (clients)",
    ),
    optional("BTCFEED_REPLICA", "This replica's name in the lease and in logs. By default host and process number"),
    setting("BTCFEED_LISTEN", "0.0.0.0:8080", "Where clients connect"),
    setting("BTCFEED_OPS_LISTEN", "127.0.0.1:9090", "Where operators connect: /livez, /readyz"),
    setting("BTCFEED_INTERVAL", "5s", "The time between two polls of the exchanges"),
    setting(
        "BTCFEED_CURRENCIES",
        "USD,EUR",
        "The currencies to have prices in; the first is what clients get who choose none",
    ),
    setting(
        "BTCFEED_SOURCES",
        "coinbase,kraken,bitstamp",
        "The sources to poll: coinbase, kraken, bitstamp, coindesk; or simulated alone",
    ),
    optional("BTCFEED_SOURCE_COINBASE_URL", "Another address for Coinbase Exchange"),
    optional("BTCFEED_SOURCE_KRAKEN_URL", "Another address for Kraken"),
    optional("BTCFEED_SOURCE_BITSTAMP_URL", "Another address for Bitstamp"),
    optional("BTCFEED_SOURCE_COINDESK_URL", "Another address for CoinDesk, whose own is gone"),
    setting("BTCFEED_SOURCE_MAX_AGE", "60s", "How old a source's answer may be, by the time that it gives"),
    setting("BTCFEED_MAX_DEVIATION", "0.05", "How far an answer may be from the median of all, as a share of it"),
    optional(
        "BTCFEED_STALE_AFTER",
        "Without a price for so long, a currency is stale. By default 3 intervals, at least 10s",
    ),
    optional(
        "BTCFEED_DOWN_AFTER",
        "Without any price for so long, the feed is down. By default 12 intervals, at least 30s",
    ),
    setting("BTCFEED_RETENTION", "24h", "How long ticks are kept for replay"),
    setting(
        "BTCFEED_WINDOW",
        "20000",
        "The most ticks that each replica keeps in memory; older ones are read from the store",
    ),
    setting("BTCFEED_LEASE_TTL", "3s", "How long the leader's lease lasts without being renewed"),
    optional("BTCFEED_MAX_CONNECTIONS", "The most client connections. By default the limit on open files less 256"),
    setting("BTCFEED_MAX_LAG", "30s", "How long a client may be behind without catching up before it is let go (4408)"),
    setting(
        "BTCFEED_WRITE_STALL",
        "10s",
        "How long a client may take nothing of what it is sent before it is let go (4408)",
    ),
    setting("BTCFEED_PING_EVERY", "20s", "How often a client is pinged, and how long its pong may take"),
    setting("BTCFEED_HEARTBEAT", "15s", "How often an event stream is sent a comment, to show that it is still there"),
    setting(
        "BTCFEED_CORS_ORIGINS",
        "*",
        "The origins whose pages may read the feed: * for any, none, or a list (https://example.org)",
    ),
    setting("RUST_LOG", "info", "What is logged: off, error, warn, info, debug, trace, or target=level pairs"),
    setting("BTCFEED_LOG_FORMAT", "text", "How it is logged: text or json"),
];
