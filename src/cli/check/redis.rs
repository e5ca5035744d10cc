//! Checks of the Redis that holds the feed.

use super::finding::Finding;
use crate::app::shared_settings;
use crate::config::{Config, redact_url};
use crate::store::{Inspection, Redis, RedisOptions, StoreError};
use crate::text::{excerpt, join_list};
use secrecy::ExposeSecret;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;
use std::{io, process};
use tokio::time::timeout;

/// Maximum time for all requests to Redis if `BTCFEED_REDIS_TIMEOUT` is at most 1 s.
const DEADLINE: Duration = Duration::from_secs(4);
/// Maximum time for all requests if `BTCFEED_REDIS_TIMEOUT` is longer, as a multiple of it. They need about a dozen
/// round trips.
const DEADLINE_FACTOR: u32 = 15;
/// Oldest version with the commands that the feed needs.
const OLDEST_VERSION: u32 = 6;
/// Oldest version with which the tests run.
const TESTED_VERSION: u32 = 7;
/// Minimum difference between the clocks for a warning.
const CLOCK_WARN_MS: u64 = 1000;
/// Minimum difference between the clocks for a failure. With such a difference, one of the clocks is clearly wrong.
const CLOCK_FAIL_MS: u64 = 5000;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let Some(redis) = &config.redis else {
        let place = if config.data.is_some() { "a file" } else { "the memory of the replica" };
        return vec![Finding::ok("redis-reachable", format!("not used: the feed is in {place}")), data(config)];
    };
    let url = redact_url(redis.url.expose_secret());
    let is_distant = redis.timeout > Duration::from_secs(1);
    let deadline = if is_distant { redis.timeout * DEADLINE_FACTOR } else { DEADLINE };
    match timeout(deadline, inspect(config, redis)).await {
        Ok(Ok(inspection)) => {
            [vec![Finding::ok("redis-reachable", url)], findings(&inspection), vec![settings(config, &inspection)]]
                .concat()
        }
        Ok(Err(error)) => {
            let reason = match error.downcast() {
                Ok(StoreError::Unavailable(reason)) => reason,
                Ok(error) => error.to_string(),
                Err(error) => error.to_string(),
            };
            vec![unreachable(format!("{url}: {reason}"))]
        }
        Err(_) => vec![unreachable(format!("{url}: no answer within {deadline:?}"))],
    }
}

/// Compares the settings of the replicas with those of this process.
fn settings(config: &Config, inspection: &Inspection) -> Finding {
    let ours = shared_settings(config);
    match &inspection.settings {
        None => Finding::ok("feed-settings", "no replica that may lead is alive"),
        Some(theirs) if *theirs == ours => Finding::ok("feed-settings", ours),
        Some(theirs) => Finding::warn(
            "feed-settings",
            format!("replicas of this feed have other settings: {}. This configuration: {ours}", excerpt(theirs, 300)),
            "Give all replicas the same settings, or choose another BTCFEED_KEY_PREFIX for another feed.",
        ),
    }
}

/// Checks that a file can be created in `BTCFEED_DATA` or, if it does not exist yet, in the nearest directory above it.
fn data(config: &Config) -> Finding {
    let Some(path) = &config.data else { return Finding::ok("data-directory", "not used: the feed is in memory") };
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    match try_to_write(existing) {
        Ok(()) => Finding::ok("data-directory", path.display().to_string()),
        Err(error) => Finding::fail(
            "data-directory",
            format!("{}: {error}", existing.display()),
            "Make it writable for the user of the replica, or choose another BTCFEED_DATA.",
        ),
    }
}

/// Creates a file in a directory and deletes it.
fn try_to_write(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".btcfeed-check-{}", process::id()));
    File::create_new(&path)?;
    fs::remove_file(&path)
}

fn unreachable(found: String) -> Finding {
    Finding::fail(
        "redis-reachable",
        found,
        "Start Redis, or correct REDIS_URL: host, port, password, redis:// or rediss://.",
    )
}

async fn inspect(config: &Config, redis: &RedisOptions) -> anyhow::Result<Inspection> {
    Ok(Redis::open(redis, config.store)?.inspect().await?)
}

fn findings(inspection: &Inspection) -> Vec<Finding> {
    let Inspection { version, is_persistent, eviction, clock_ahead_ms, leader, misused, .. } = inspection;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let version = match major {
        Some(major) if major < OLDEST_VERSION => {
            Finding::fail("redis-version", version, "Update Redis to version 7 or later.")
        }
        Some(major) if major < TESTED_VERSION => Finding::warn(
            "redis-version",
            format!("{version}: this version may work, but is not tested"),
            "Update Redis to version 7 or later.",
        ),
        Some(_) => Finding::ok("redis-version", version),
        None => Finding::warn("redis-version", "unknown: INFO is rejected", "Allow the command INFO."),
    };
    let persistence = match is_persistent {
        Some(true) => Finding::ok("redis-persistence", "on"),
        Some(false) => Finding::warn(
            "redis-persistence",
            "off: a restart of Redis loses the history",
            "Set appendonly yes and appendfsync everysec.",
        ),
        None => Finding::warn(
            "redis-persistence",
            "unknown: INFO and CONFIG GET do not show it",
            "Ask the operator of the server, or allow the commands INFO and CONFIG GET.",
        ),
    };
    let eviction = match eviction.as_str() {
        "noeviction" => Finding::ok("redis-eviction", eviction),
        "unknown" => Finding::warn("redis-eviction", "unknown: INFO is rejected", "Allow the command INFO."),
        policy => Finding::fail(
            "redis-eviction",
            format!("{policy}: a full Redis deletes the history or the lease"),
            "Set maxmemory-policy noeviction.",
        ),
    };
    let rejected = [&inspection.rejected[..], &inspection.optional].concat();
    let found = join_list(&rejected, "and");
    let remedy = "Give the user the rights in docs/operations.md#redis, and connect to the primary.";
    let rights = if rejected.is_empty() {
        Finding::ok("redis-rights", "every command that the feed uses is accepted")
    } else if inspection.rejected.is_empty() {
        Finding::warn("redis-rights", found, remedy)
    } else {
        Finding::fail("redis-rights", found, remedy)
    };
    let direction = if *clock_ahead_ms < 0 { "behind" } else { "ahead of" };
    let difference = format!("Redis is {} ms {direction} this machine", clock_ahead_ms.unsigned_abs());
    let remedy = "Let NTP or chrony synchronise both machines.";
    let clock = match clock_ahead_ms.unsigned_abs() {
        CLOCK_FAIL_MS.. => Finding::fail("redis-clock", difference, remedy),
        CLOCK_WARN_MS.. => Finding::warn("redis-clock", difference, remedy),
        _ => Finding::ok("redis-clock", difference),
    };
    let lease = match leader {
        Some(leader) => Finding::ok("leader", format!("{leader} leads")),
        None => Finding::warn("leader", "no replica leads", "Start a replica whose BTCFEED_ROLE is all or fetch."),
    };
    let keys = if misused.is_empty() {
        Finding::ok("redis-keys", "the keys of the feed have the expected types")
    } else {
        let remedy = "Choose another BTCFEED_KEY_PREFIX, or delete the keys.";
        Finding::fail("redis-keys", join_list(misused, "and"), remedy)
    };
    vec![version, persistence, eviction, rights, keys, clock, lease]
}
