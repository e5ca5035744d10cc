//! The settings of the logs and the traces.

use super::reader::Reader;
use super::row::{Rejected, Row, Values};
use super::setting::{DefaultValue, Setting};
use super::url::CollectorUrl;
use super::values::Words;
use crate::store::RedisOptions;
use crate::telemetry::{FILTERS, Options, check_filter, traces};

const SECTION: &str = "Logs and traces";

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

const OTLP_ENDPOINT: Row<CollectorUrl> = Row {
    env: "OTEL_EXPORTER_OTLP_ENDPOINT",
    help: "OpenTelemetry collector that gets a trace of each tick",
    details: "Spans are sent over HTTP, in the binary format, to the path /v1/traces. docs/operations.md lists the \
              other variables of OpenTelemetry that a replica uses.",
    values: CollectorUrl,
    default: DefaultValue::Derived("none: there are no traces"),
    example: "http://collector:4318",
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
    vec![RUST_LOG.setting(SECTION), LOG_FORMAT.setting(SECTION), OTLP_ENDPOINT.setting(SECTION)]
}

/// Reads the options of the log.
pub(super) fn read(reader: &mut Reader<'_>) -> Options {
    Options { filter: reader.value(&RUST_LOG), json: reader.value(&LOG_FORMAT) }
}

/// Reads the options of the traces of a replica. `None` if there are none.
pub(super) fn read_traces(
    reader: &mut Reader<'_>,
    replica: &str,
    redis: Option<&RedisOptions>,
) -> Option<traces::Options> {
    let endpoint = reader.lookup(&OTLP_ENDPOINT)?;
    let feed = redis.map(|redis| redis.key_prefix.clone()).unwrap_or_default();
    Some(traces::Options { endpoint, replica: replica.to_owned(), feed })
}
