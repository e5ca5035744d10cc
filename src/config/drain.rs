//! The settings of a stop.

use super::reader::Reader;
use super::row::Row;
use super::setting::{DefaultValue, Setting};
use super::values::{Durations, HOUR};
use crate::shutdown::DrainOptions;
use std::time::Duration;

const SECTION: &str = "Stop";

const DRAIN_DELAY: Row<Durations> = Row {
    env: "BTCFEED_DRAIN_DELAY",
    help: "Minimum time between SIGTERM and the end of the first stream",
    details: "In this time, /readyz answers 503, but new clients are still served. Set it to the time that the load \
              balancer needs to notice that the replica is stopping.",
    values: Durations { min: Duration::ZERO, max: HOUR, min_words: Some("0s") },
    default: DefaultValue::Fixed("0s"),
    example: "5s",
};

const DRAIN_SPREAD: Row<Durations> = Row {
    env: "BTCFEED_DRAIN_SPREAD",
    help: "Time over which the streams end when the replica stops, so that clients do not all reconnect at once",
    details: "With few clients, the time is shorter: 20 ms for each of them. New clients are rejected during this \
              time. Afterwards, connections have 5 s to end.",
    values: Durations { min: Duration::ZERO, max: HOUR, min_words: Some("0s") },
    default: DefaultValue::Fixed("5s"),
    example: "30s",
};

/// Returns the rows of this file.
pub(super) fn settings() -> Vec<Setting> {
    vec![DRAIN_DELAY.setting(SECTION), DRAIN_SPREAD.setting(SECTION)]
}

/// Reads the settings of a stop.
pub(super) fn read(reader: &mut Reader<'_>) -> DrainOptions {
    DrainOptions { delay: reader.value(&DRAIN_DELAY), spread: reader.value(&DRAIN_SPREAD) }
}
