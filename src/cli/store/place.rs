//! The place of a feed: a Redis, or a directory that contains the feed's file.

use crate::config::{Config, redact_url};
use crate::store::{Disk, Options, Portable, Redis, RedisOptions, RedisTls};
use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time for which the lease of a tool lasts. The tool renews it with each page, and during long requests.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(10);

/// A store, and its name for people.
pub(super) struct Place {
    pub(super) store: Box<dyn Portable>,
    pub(super) name: String,
}

/// Opens the store that the settings name. A directory must exist, unless `create` is true.
pub(super) async fn open(config: &Config, create: bool) -> anyhow::Result<Place> {
    if let Some(redis) = &config.redis {
        let place = open_redis(config, redis)?;
        place.store.head().await.with_context(|| format!("cannot read {}", place.name))?;
        return Ok(place);
    }
    let path = config.data.as_ref().context("there is no store: BTCFEED_DATA is none, and REDIS_URL is not set")?;
    ensure!(create || path.exists(), "there is no feed in {}: set BTCFEED_DATA or REDIS_URL", path.display());
    open_disk(path)
}

/// Opens the store that `--to` names: the URL of a Redis, `file:` and the path of a file that contains such a URL, or a
/// directory.
pub(super) fn open_target(config: &Config, to: &str, prefix: &str, tls: RedisTls) -> anyhow::Result<Place> {
    // If the settings name a Redis, its timeout applies here, too.
    let redis_at = |url: &str| {
        let named = RedisOptions { tls, ..RedisOptions::new(url, prefix) };
        let timeout = config.redis.as_ref().map_or(named.timeout, |redis| redis.timeout);
        open_redis(config, &RedisOptions { timeout, ..named })
    };
    if let Some(path) = to.strip_prefix("file:") {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        return redis_at(text.lines().next().unwrap_or_default().trim());
    }
    if to.contains("://") { redis_at(to) } else { open_disk(&PathBuf::from(to)) }
}

fn open_redis(config: &Config, redis: &RedisOptions) -> anyhow::Result<Place> {
    let options = Options { lease_ttl: LEASE_TTL, ..config.store };
    let name = format!("{} (prefix {})", redact_url(redis.url.expose_secret()), redis.key_prefix);
    let store = Redis::open(redis, options).context("invalid URL of a Redis")?;
    Ok(Place { store: Box::new(store), name })
}

fn open_disk(path: &Path) -> anyhow::Result<Place> {
    // A tool reads and keeps everything, whatever the retention.
    let store = Disk::open_file(path, Options { lease_ttl: LEASE_TTL, retention: Duration::MAX })?;
    Ok(Place { store: Box::new(store), name: path.display().to_string() })
}
