//! The settings of Redis.

use super::reader::Reader;
use super::row::{Rejected, Row, Values};
use super::setting::{DefaultValue, Setting};
use super::url::{RedisUrl, RedisUrlFile};
use super::values::{Durations, FilePath, Numbers};
use crate::store::{RedisOptions, RedisTls, RedisTlsError};
use secrecy::ExposeSecret;
use std::time::Duration;

/// The section of all settings of a store.
pub(super) const SECTION: &str = "Store";

const URL: Row<RedisUrl> = Row {
    env: "REDIS_URL",
    help: "URL of the Redis that all replicas share",
    details: "Without a Redis (see also REDIS_URL_FILE) this process keeps the feed in the directory BTCFEED_DATA, and \
              there can be no other replica. With rediss+sentinel:// and rediss+cluster:// all connections use TLS.",
    values: RedisUrl,
    default: DefaultValue::Derived("none, the feed is kept in a file"),
    example: "redis://localhost:6379/0",
};

const URL_FILE: Row<RedisUrlFile> = Row {
    env: "REDIS_URL_FILE",
    help: "File that contains the URL of the Redis. It cannot be set together with REDIS_URL",
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

const CA: Row<FilePath> = Row {
    env: "BTCFEED_REDIS_CA",
    help: "File with the certificate authorities of Redis",
    details: "Only with TLS: for a URL that begins with rediss://, rediss+sentinel:// or rediss+cluster://. The \
              certificate of Redis must be for the host of the URL and from one of these authorities. If this \
              is set, the authorities of the system are not trusted.",
    values: FilePath("a PEM file with certificates"),
    default: DefaultValue::Derived("the authorities of the system"),
    example: "/etc/btcfeed/redis-ca.pem",
};

const CERT: Row<FilePath> = Row {
    env: "BTCFEED_REDIS_CERT",
    help: "File with the client certificate for Redis",
    details: "For a Redis that authenticates its clients with TLS. The intermediate certificates follow in the same \
              file. New connections use a new certificate without a restart.",
    values: FilePath("a PEM file with a certificate, together with BTCFEED_REDIS_KEY"),
    default: DefaultValue::Derived("none"),
    example: "/etc/btcfeed/redis.crt",
};

const KEY: Row<FilePath> = Row {
    env: "BTCFEED_REDIS_KEY",
    help: "File with the private key of the client certificate for Redis",
    details: "The key must not have a password.",
    values: FilePath("a PEM file with a private key, together with BTCFEED_REDIS_CERT"),
    default: DefaultValue::Derived("none"),
    example: "/etc/btcfeed/redis.key",
};

const TIMEOUT: Row<Durations> = Row {
    env: "BTCFEED_REDIS_TIMEOUT",
    help: "Time within which Redis must answer a command",
    details: "The timeout of connecting is three times this value, because connecting needs several round trips. If \
              Redis is far away, choose more than the round-trip time. With a longer time, a failure is noticed later.",
    values: Durations::between(Duration::from_millis(100), Duration::from_secs(60)),
    default: DefaultValue::Fixed("1s"),
    example: "3s",
};

const MIN_ACKS: Row<Numbers> = Row {
    env: "BTCFEED_REDIS_MIN_ACKS",
    help: "Number of replicas of Redis that must have an entry before the next one is written",
    details: "With 1 or more, a failover of Redis can lose only the last entry. While too few replicas have it, the \
              leader holds the next ticks.",
    values: Numbers { min: 0, max: 10, max_words: None },
    default: DefaultValue::Fixed("0"),
    example: "1",
};

/// Prefixes of keys. A prefix has no braces, because braces mark the part of a key from which Redis Cluster computes
/// the node of the key.
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
        URL.setting(SECTION),
        URL_FILE.setting(SECTION),
        KEY_PREFIX.setting(SECTION),
        CA.setting(SECTION),
        CERT.setting(SECTION),
        KEY.setting(SECTION),
        TIMEOUT.setting(SECTION),
        MIN_ACKS.setting(SECTION),
    ]
}

/// Reads which Redis has the feed. Returns `None` if no Redis is given, or if its URL is rejected. Without a Redis, the
/// feed is in a file or in the memory of this process.
pub(super) fn read(reader: &mut Reader<'_>, replica: &str) -> Option<RedisOptions> {
    let key_prefix = reader.value(&KEY_PREFIX);
    let (timeout, min_acks) = (reader.value(&TIMEOUT), reader.value(&MIN_ACKS));
    let tls = read_tls(reader);
    let uses_tls = tls.as_ref().is_some_and(|tls| *tls != RedisTls::default());
    let url = reader.lookup(&URL);
    if url.is_some() && reader.is_given(&URL_FILE) {
        reader.reject(&URL_FILE, "no file, because REDIS_URL is set");
        return None;
    }
    let url = url.or_else(|| reader.lookup(&URL_FILE))?;
    let scheme = url.expose_secret().split(':').next().unwrap_or_default();
    if uses_tls && !scheme.starts_with("rediss") && scheme != "valkeys" {
        for row in [&CA, &CERT, &KEY].into_iter().filter(|row| reader.is_given(row)).collect::<Vec<_>>() {
            reader.reject_because(row, "the URL of Redis is not for TLS, expected one that begins with rediss://");
        }
    }
    let (tls, settings) = (tls.unwrap_or_default(), String::new());
    Some(RedisOptions { url, key_prefix, tls, timeout, min_acks, settings, kind: None, replica: replica.to_owned() })
}

/// Reads the files of TLS, and checks them.
fn read_tls(reader: &mut Reader<'_>) -> Option<RedisTls> {
    let authorities = reader.lookup(&CA);
    let certificate = match (reader.lookup(&CERT), reader.lookup(&KEY)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            reader.reject(&CERT, "BTCFEED_REDIS_KEY to be set too");
            return None;
        }
        (None, Some(_)) => {
            reader.reject(&KEY, "BTCFEED_REDIS_CERT to be set too");
            return None;
        }
    };
    let tls = RedisTls { authorities, certificate };
    match tls.check() {
        Ok(()) => return Some(tls),
        Err(RedisTlsError::Authorities(reason)) => reader.reject_because(&CA, &reason),
        Err(RedisTlsError::Certificate(reason)) => reader.reject_because(&CERT, &reason),
        Err(RedisTlsError::Key(reason)) => reader.reject_because(&KEY, &reason),
    }
    None
}

/// Returns whether a Redis was given, even if its URL is invalid.
pub(super) fn is_named(reader: &Reader<'_>) -> bool {
    reader.is_given(&URL) || reader.is_given(&URL_FILE)
}
