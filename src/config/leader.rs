//! The settings of the lease, and the times after which the feed is stale or down.

use super::prices::PriceSettings;
use super::reader::Reader;
use super::row::Row;
use super::setting::{DefaultValue, Setting};
use super::values::Durations;
use crate::leader;
use crate::text::format_duration;
use std::time::Duration;

const SECTION: &str = "Leader and health";

const LEASE_TTL: Row<Durations> = Row {
    env: "BTCFEED_LEASE_TTL",
    help: "Time after which the lease of a leader expires if it is not renewed",
    details: "When a leader fails, another replica replaces it after at most this time and one second.",
    values: Durations::up_to(Duration::from_secs(60)),
    default: DefaultValue::Fixed("3s"),
    example: "10s",
};

const STALE_AFTER: Row<Durations> = Row {
    env: "BTCFEED_STALE_AFTER",
    help: "Time without a price after which a currency is stale",
    details: "",
    values: Durations::from("twice BTCFEED_INTERVAL"),
    default: DefaultValue::Derived("3 intervals, at least 10s"),
    example: "30s",
};

const DOWN_AFTER: Row<Durations> = Row {
    env: "BTCFEED_DOWN_AFTER",
    help: "Time without a price in any currency after which the feed is down",
    details: "",
    values: Durations::from("BTCFEED_STALE_AFTER"),
    default: DefaultValue::Derived("12 intervals, at least 30s and at least BTCFEED_STALE_AFTER"),
    example: "2m",
};

/// Returns the rows of this file.
pub(super) fn settings() -> Vec<Setting> {
    vec![LEASE_TTL.setting(SECTION), STALE_AFTER.setting(SECTION), DOWN_AFTER.setting(SECTION)]
}

/// Reads the options of the leader.
pub(super) fn read(reader: &mut Reader<'_>, replica: String, prices: &PriceSettings) -> leader::Options {
    let interval = prices.interval;
    let stale_after = at_least(reader, &STALE_AFTER, interval * 2, "twice BTCFEED_INTERVAL");
    let stale_after = stale_after.unwrap_or((interval * 3).max(Duration::from_secs(10)));
    let down_after = at_least(reader, &DOWN_AFTER, stale_after, "BTCFEED_STALE_AFTER");
    let down_after = down_after.unwrap_or((interval * 12).max(Duration::from_secs(30)).max(stale_after));
    let lease_ttl = reader.value(&LEASE_TTL);
    leader::Options { replica, interval, currencies: prices.aggregate.currencies, lease_ttl, stale_after, down_after }
}

/// Reads a duration that must not be shorter than `min`, which follows from another setting.
fn at_least(reader: &mut Reader<'_>, row: &Row<Durations>, min: Duration, words: &str) -> Option<Duration> {
    let duration = reader.lookup(row)?;
    if duration < min {
        reader.reject(row, &row.values.expected_from(&format!("{} ({words})", format_duration(min))));
        return None;
    }
    Some(duration)
}
