//! What can be asked for, as parameters. Each stands here once, and says what `query.rs` reads.
//!
//! The server names the parameters that it knows to whoever sends another; `tests/it/descriptions.rs` compares that with what is
//! written here, sends every example, and tries the bounds.

#![allow(dead_code, reason = "these are shapes, which nobody makes")]
#![allow(clippy::struct_field_names, reason = "the names are what clients write")]

use super::messages::CurrencyCode;
use serde_json::json;
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// A moment: RFC 3339, Unix seconds, whole or with a fraction, or Unix milliseconds (from 100000000000 on).
pub(crate) struct Moment;

impl ToSchema for Moment {}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let date = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let date = date.examples([json!("2026-11-20T09:20:31Z"), json!("2026-11-20T10:20:31.075+01:00")]);
        let number = text().pattern(Some(r"^\d{1,13}(\.\d{1,9})?$"));
        let number = number.examples([json!("1795166431"), json!("1795166431.075"), json!("1795166431075")]);
        let about = "RFC 3339, Unix seconds (whole or with a fraction) or Unix milliseconds.";
        AnyOfBuilder::new().item(date).item(number).description(Some(about)).into()
    }
}

/// Which currencies.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Currency {
    /// One currency or several: repeated or with commas. If not said, the first that this server has (`USD`). With several there is
    /// an update for each, with a third field that says which; a candle has all of them.
    #[param(required = false, inline, style = Form, explode, example = json!(["USD", "EUR"]))]
    currency: Vec<CurrencyCode>,
    /// Another name for `currency`.
    #[param(required = false, inline, style = Form, explode, example = json!(["EUR"]))]
    currencies: Vec<CurrencyCode>,
}

/// Where to begin.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Start {
    /// Begin with the first tick (of candles: the first that begins) **at or after** this moment. RFC 3339 (`2026-11-20T09:20:31Z`), Unix seconds (`1795166431`,
    /// `1795166431.075`) or Unix milliseconds (`1795166431075`). Excludes `after`.
    #[param(required = false, inline, example = "2026-11-20T09:20:31Z")]
    since: Moment,
    /// Another name for `since`.
    #[param(required = false, inline, example = "1795166431.075")]
    since_date: Moment,
    /// Another name for `since`.
    #[param(required = false, inline, example = "1795166431075")]
    start_timedate: Moment,
    /// Begin with the first entry (of candles: the first that begins) strictly **after** this id: the exact resume. Excludes `since`.
    #[param(required = false, example = 1_795_166_431_075_u64)]
    after: u64,
}

/// Which updates of a stream.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamFilter {
    /// Only ticks with a price that differs from the last one that this client got, in any of its currencies.
    #[param(required = false, default = false, example = true)]
    changes: bool,
    /// At most one tick a period, the newest: `100ms` to `24h`. The first comes at once.
    #[param(required = false, pattern = r"^[1-9]\d*(ms|s|m|h)$", example = "30s")]
    every: String,
    /// Of a replay only the newest ticks, of which `changes` and `every` then leave some out. What is older is told by a gap with
    /// the reason `replay_limit`.
    #[param(required = false, minimum = 1, maximum = 10_000, example = 100)]
    limit: u32,
    /// The server remembers the last id that a client of this name was sent. When it comes back without `since` and `after`, to any
    /// replica, it goes on there. For one connection at a time.
    #[param(required = false, pattern = "^[A-Za-z0-9._-]{1,64}$", example = "shop-7")]
    client_id: String,
    /// First of all say who serves this client. Over WebSocket in the format `full`, as an event in every format.
    #[param(required = false, default = false, example = true)]
    hello: bool,
}

/// What an update looks like, and what it is where nobody says.
struct Format<const DEFAULT: usize>;

const FORMATS: [&str; 3] = ["timedate", "timestamp", "full"];

impl<const DEFAULT: usize> ToSchema for Format<DEFAULT> {}

impl<const DEFAULT: usize> PartialSchema for Format<DEFAULT> {
    fn schema() -> RefOr<Schema> {
        let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(FORMATS));
        words.default(Some(json!(FORMATS[DEFAULT]))).into()
    }
}

/// The format of what is `timedate` where nobody says.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimedateFormat {
    /// What an update looks like. `timedate`: RFC 3339 and a price. `timestamp`: Unix seconds and a price. `full`: everything.
    #[param(required = false, inline, example = "full")]
    format: Format<0>,
}

/// The format of what is `timestamp` where nobody says.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimestampFormat {
    /// What an update looks like. `timedate`: RFC 3339 and a price. `timestamp`: Unix seconds and a price. `full`: everything.
    #[param(required = false, inline, example = "full")]
    format: Format<1>,
}

/// Where a part of the history ends.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct End {
    /// The last moment, in the words of `since`. If not said, now.
    #[param(required = false, inline, example = "2026-11-20T10:00:00Z")]
    until: Moment,
}

/// How much of the history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryLimit {
    /// The most entries in the answer.
    #[param(required = false, minimum = 1, maximum = 100_000, default = 1000, example = 100)]
    limit: u32,
}

/// How many candles.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CandlesLimit {
    /// The most candles in the answer. If not said, a day of minutes.
    #[param(required = false, minimum = 1, maximum = 10_000, default = 1440, example = 60)]
    limit: u32,
}

/// What an answer may be written as, beside what an update looks like.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum FormatOrMedia {
    Timedate,
    Timestamp,
    Full,
    Json,
    Ndjson,
    Csv,
}

/// The format of the history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryFormat {
    /// What an update looks like (`timedate` if not said, `timestamp` or `full`), what the answer is written as (`json`, `ndjson` or
    /// `csv`; if not said, what `Accept` likes best, else `json`), or one of each: repeated or with a comma.
    #[param(required = false, inline, style = Form, explode, example = json!(["full", "ndjson"]))]
    format: Vec<FormatOrMedia>,
}

/// What an answer is written as.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum Media {
    Json,
    Ndjson,
    Csv,
}

/// The format of candles.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CandlesFormat {
    /// What the answer is written as. If not said, what `Accept` likes best, else `json`.
    #[param(required = false, inline, example = "csv")]
    format: Media,
}

/// How long a candle is.
struct IntervalWord;

impl ToSchema for IntervalWord {}

impl PartialSchema for IntervalWord {
    fn schema() -> RefOr<Schema> {
        let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["1m", "5m", "1h"]));
        words.default(Some(json!("1m"))).into()
    }
}

/// Which candles.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Interval {
    /// How long a candle is. Candles begin at whole multiples of it in Unix time.
    #[param(required = false, inline, example = "5m")]
    interval: IntervalWord,
}

/// Where an `EventSource` was.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct LastEventId {
    /// The last id that was seen, as an `EventSource` sends it by itself. It wins over `since` and `after`.
    #[param(required = false, rename = "Last-Event-ID", example = 1_795_166_431_075_u64)]
    last_event_id: u64,
}

/// What a client has already.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfNoneMatch {
    /// The `ETag` of the content that you have: if it is still the same, the answer is 304 and empty.
    #[param(required = false, rename = "If-None-Match", example = "W/\"abc\"")]
    if_none_match: String,
}
