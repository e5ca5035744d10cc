//! The settings of the store and of the hub. The settings of Redis are in `redis_store`.

use super::reader::Reader;
use super::redis_store::{self, SECTION};
use super::row::{Rejected, Row, Values};
use super::setting::{DefaultValue, Setting};
use super::values::{DAY, Durations, Numbers};
use crate::{hub, store};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DATA: Row<DataDirectory> = Row {
    env: "BTCFEED_DATA",
    help: "Directory of the feed's file, or none to keep the feed in memory only",
    details: "Only without Redis. The directory is created if it does not exist, and only one process can use it. A \
              feed in memory is lost at a restart.",
    values: DataDirectory,
    default: DefaultValue::Fixed("./btcfeed-data"),
    example: "/var/lib/btcfeed",
};

const RETENTION: Row<Durations> = Row {
    env: "BTCFEED_RETENTION",
    help: "Time for which updates are kept for replay",
    details: "Candles of up to 15 minutes are kept for at least 30 days. Longer candles are kept without end. With a \
              feed in memory only, a restart loses all candles.",
    values: Durations::between(Duration::from_secs(10), Duration::from_secs(366 * DAY.as_secs())),
    default: DefaultValue::Fixed("24h"),
    example: "30d",
};

const WINDOW: Row<Numbers> = Row {
    env: "BTCFEED_WINDOW",
    help: "Number of updates that each replica keeps in memory",
    details: "Older ones are read from the store.",
    values: Numbers { min: 100, max: 10_000_000, max_words: None },
    default: DefaultValue::Fixed("20000"),
    example: "100000",
};

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

/// Returns the rows of this file.
pub(super) fn settings() -> Vec<Setting> {
    vec![DATA.setting(SECTION), RETENTION.setting(SECTION), WINDOW.setting(SECTION)]
}

/// Reads the directory of the feed's file. `None` means that there is no file.
pub(super) fn read_data(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let data = reader.value(&DATA);
    data.filter(|_| !redis_store::is_named(reader))
}

/// Reads the options of the store and of the hub.
pub(super) fn read(reader: &mut Reader<'_>, lease_ttl: Duration) -> (store::Options, hub::Options) {
    let retention = reader.value(&RETENTION);
    (store::Options { retention, lease_ttl }, hub::Options { window: reader.value(&WINDOW), retention })
}
