//! The settings of the logs.

use super::reader::Reader;
use super::row::{Rejected, Row, Values};
use super::setting::{DefaultValue, Setting};
use super::values::Words;
use crate::telemetry::{FILTERS, Options, check_filter};

const SECTION: &str = "Logs";

const RUST_LOG: Row<LogFilter> = Row {
    env: "RUST_LOG",
    help: "Levels of the messages that are logged",
    details: "",
    values: LogFilter,
    default: DefaultValue::Fixed("info"),
    example: "info,btcfeed::aggregate=debug",
};

const LOG_FORMAT: Row<Words<bool>> = Row {
    env: "BTCFEED_LOG_FORMAT",
    help: "Format of the log: text or json",
    details: "",
    values: Words(&[("text", false), ("json", true)]),
    default: DefaultValue::Fixed("text"),
    example: "json",
};

/// Filters of log messages.
#[derive(Clone, Copy)]
struct LogFilter;

impl Values for LogFilter {
    type Value = String;

    fn expected(&self) -> String {
        FILTERS.to_owned()
    }

    fn parse(&self, text: &str) -> Result<String, Rejected> {
        check_filter(text).map_err(Rejected::Quoted)?;
        Ok(text.to_owned())
    }
}

/// Returns the rows of this file.
pub(super) fn settings() -> Vec<Setting> {
    vec![RUST_LOG.setting(SECTION), LOG_FORMAT.setting(SECTION)]
}

/// Reads the options of the log.
pub(super) fn read(reader: &mut Reader<'_>) -> Options {
    Options { filter: reader.value(&RUST_LOG), json: reader.value(&LOG_FORMAT) }
}
