//! The settings of the store and of the copy of the feed that each replica keeps.

use super::reader::Reader;
use super::row::{Rejected, Row, Values};
use super::setting::{DefaultValue, Setting};
use super::url::{RedisUrl, RedisUrlFile};
use super::values::{DAY, Durations, Numbers};
use crate::{hub, store};
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SECTION: &str = "Store";

const REDIS_URL: Row<RedisUrl> = Row {
    env: "REDIS_URL",
    help: "URL of the Redis that all replicas share",
    details: "Without it this process keeps the feed in a file, and there can be no other replica.",
    values: RedisUrl,
    default: DefaultValue::Derived("none, the feed is kept in a file"),
    example: "redis://localhost:6379/0",
};

const REDIS_URL_FILE: Row<RedisUrlFile> = Row {
    env: "REDIS_URL_FILE",
    help: "File that contains the URL of the Redis, if REDIS_URL is not set",
    details: "The first line of the file is the URL. A password is safer in a file, because other programs may print \
              the environment.",
    values: RedisUrlFile,
    default: DefaultValue::Derived("none"),
    example: "/run/secrets/redis-url",
};

const KEY_PREFIX: Row<KeyPrefix> = Row {
    env: "BTCFEED_KEY_PREFIX",
    help: "Prefix of all keys in Redis",
    details: "Feeds with different prefixes can share a Redis.",
    values: KeyPrefix,
    default: DefaultValue::Fixed("btcfeed"),
    example: "btcfeed-test",
};

const DATA: Row<DataDirectory> = Row {
    env: "BTCFEED_DATA",
    help: "Directory of the feed's file, or none to keep the feed in memory only",
    details: "Only without Redis. The directory is created if it does not exist, and only one process can use it. A feed in \
              memory is lost at a restart.",
    values: DataDirectory,
    default: DefaultValue::Fixed("./btcfeed-data"),
    example: "/var/lib/btcfeed",
};

const RETENTION: Row<Durations> = Row {
    env: "BTCFEED_RETENTION",
    help: "Time for which updates are kept for replay",
    details: "",
    values: Durations::between(Duration::from_secs(10), Duration::from_secs(366 * DAY.as_secs())),
    default: DefaultValue::Fixed("24h"),
    example: "168h",
};

const WINDOW: Row<Numbers> = Row {
    env: "BTCFEED_WINDOW",
    help: "Number of updates that each replica keeps in memory",
    details: "Older ones are read from the store.",
    values: Numbers { min: 100, max: 10_000_000, max_words: None },
    default: DefaultValue::Fixed("20000"),
    example: "100000",
};

/// The Redis that has the feed. Its URL may contain a password, so it cannot be printed.
#[derive(Clone)]
pub struct RedisConfig {
    /// A URL with the scheme `redis`, `rediss` or `unix`.
    pub url: SecretString,
    /// The prefix of all keys.
    pub key_prefix: String,
}

/// Paths of a directory, or `none`.
#[derive(Clone, Copy)]
struct DataDirectory;

impl Values for DataDirectory {
    type Value = Option<PathBuf>;

    fn expected(&self) -> String {
        "the path of a directory, or none".to_owned()
    }

    fn parse(&self, text: &str) -> Result<Option<PathBuf>, Rejected> {
        match text {
            "none" => Ok(None),
            path if Path::new(path).is_file() => {
                Err(Rejected::Because("it is a file, expected a directory".to_owned()))
            }
            path => Ok(Some(path.into())),
        }
    }
}

/// Prefixes of keys. Braces mark the part of a key from which Redis Cluster computes its node.
#[derive(Clone, Copy)]
struct KeyPrefix;

impl Values for KeyPrefix {
    type Value = String;

    fn expected(&self) -> String {
        "a name without braces or spaces".to_owned()
    }

    fn parse(&self, text: &str) -> Result<String, Rejected> {
        if text.contains(['{', '}', ' ']) { Err(Rejected::Unexpected) } else { Ok(text.to_owned()) }
    }
}

/// Returns the rows of this file.
pub(super) fn settings() -> Vec<Setting> {
    vec![
        REDIS_URL.setting(SECTION),
        REDIS_URL_FILE.setting(SECTION),
        KEY_PREFIX.setting(SECTION),
        DATA.setting(SECTION),
        RETENTION.setting(SECTION),
        WINDOW.setting(SECTION),
    ]
}

/// Reads which Redis has the feed. `None` means that the feed is in a file or in the memory of this process.
pub(super) fn read_redis(reader: &mut Reader<'_>) -> Option<RedisConfig> {
    let key_prefix = reader.value(&KEY_PREFIX);
    let url = reader.lookup(&REDIS_URL);
    if url.is_some() && reader.is_given(&REDIS_URL_FILE) {
        reader.reject(&REDIS_URL_FILE, "no file, because REDIS_URL is set");
        return None;
    }
    url.or_else(|| reader.lookup(&REDIS_URL_FILE)).map(|url| RedisConfig { url, key_prefix })
}

/// Reads the directory of the feed's file. `None` means that there is no file.
pub(super) fn read_data(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let data = reader.value(&DATA);
    data.filter(|_| !names_redis(reader))
}

/// Returns whether a Redis was given, even if its URL is invalid.
pub(super) fn names_redis(reader: &Reader<'_>) -> bool {
    reader.is_given(&REDIS_URL) || reader.is_given(&REDIS_URL_FILE)
}

/// Reads the options of the store and of the hub.
pub(super) fn read(reader: &mut Reader<'_>, lease_ttl: Duration) -> (store::Options, hub::Options) {
    let retention = reader.value(&RETENTION);
    (store::Options { retention, lease_ttl }, hub::Options { window: reader.value(&WINDOW), retention })
}
