//! Parameters of requests, as `api::query` reads them.
//!
//! If a client sends an unknown parameter, the error lists the known ones. `tests/api/descriptions.rs` compares that
//! list with these descriptions, sends every example, and tests the bounds.

#![allow(dead_code, reason = "the types are only described, never constructed")]
#![allow(clippy::struct_field_names, reason = "clients write these names")]

use crate::candle::Interval;
use crate::tick::Currency;
use serde_json::json;
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// A moment, in one of the accepted formats.
pub(crate) struct Moment;

impl ToSchema for Moment {}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let date = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let date = date.examples([json!("2026-11-20T09:20:31Z"), json!("2026-11-20T10:20:31.075+01:00")]);
        let number = text().pattern(Some(r"^\d{1,13}(\.\d{1,9})?$"));
        let number = number.examples([json!("1795166431"), json!("1795166431.075"), json!("1795166431075")]);
        let formats =
            "A time before now (`10m`), a day, RFC 3339, Unix seconds or Unix milliseconds (from 100000000000 on).";
        AnyOfBuilder::new().item(date).item(number).description(Some(formats)).into()
    }
}

/// The currencies.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CurrencyParameters {
    /// One or more currencies, as a list with commas or as a repeated parameter. The default is the first currency of
    /// the feed, which is `USD` unless the operator has changed it. If you choose several, the formats `timedate` and
    /// `timestamp` have an update for each, with a third field that names the currency. Ticks (`full`, `audit`) and
    /// candles contain all of them.
    #[param(required = false, inline, style = Form, explode, example = json!(["USD", "EUR"]))]
    currency: Vec<Currency>,
    /// Another name for `currency`.
    #[param(required = false, inline, style = Form, explode, example = json!(["EUR"]))]
    currencies: Vec<Currency>,
}

/// The currencies of the sources.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SourcesParameters {
    /// Only these currencies, as a list with commas or as a repeated parameter. The default is all.
    #[param(required = false, inline, style = Form, explode, example = json!(["USD"]))]
    currency: Vec<Currency>,
    /// Another name for `currency`.
    #[param(required = false, inline, style = Form, explode, example = json!(["EUR"]))]
    currencies: Vec<Currency>,
}

/// The start.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StartParameters {
    /// Start with the first tick or candle **at or after** this moment: a time before now (`10m`), a day
    /// (`2026-11-20`), a moment by RFC 3339 (`2026-11-20T09:20:31Z`), Unix seconds (`1795166431`, `1795166431.075`) or
    /// Unix milliseconds (`1795166431075`). It cannot be combined with `after`.
    #[param(required = false, inline, example = "2026-11-20T09:20:31Z")]
    since: Moment,
    /// Another name for `since`.
    #[param(required = false, inline, example = "1795166431.075")]
    since_date: Moment,
    /// Another name for `since`.
    #[param(required = false, inline, example = "1795166431075")]
    start_timedate: Moment,
    /// Start with the first entry or candle strictly **after** this id, to resume without a loss or a duplicate. It
    /// cannot be combined with `since`.
    #[param(required = false, example = 1_795_166_431_075_u64)]
    after: u64,
}

/// The options of a stream.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamParameters {
    /// Send only ticks in which at least one chosen price differs from the last price that this client got in that
    /// currency.
    #[param(required = false, default = false, example = true)]
    changes: bool,
    /// Send at most one tick in this period (`100ms` to `24h`): the newest. A client that does not resume gets the
    /// first tick at once.
    #[param(required = false, pattern = r"^[1-9]\d*(ms|s|m|h)$", example = "30s")]
    every: String,
    /// Replay only this number of ticks, the newest. `changes` and `every` may then leave out some of these. A gap with
    /// the reason `replay_limit` reports the older ones.
    #[param(required = false, minimum = 1, maximum = 10_000, example = 100)]
    limit: u32,
    /// A random, secret name, such as a UUID, under which the server remembers the last id that it sent to this client.
    /// If the client reconnects to any replica without `since` and `after`, the stream continues after that id. Use a
    /// name for only one connection at a time. If the server remembers no id, the stream begins with the latest tick,
    /// after a gap with the reason `unknown_client_id`.
    #[param(required = false, pattern = "^[A-Za-z0-9._-]{22,64}$", example = "0192f2a4-7c1e-7d3a-9b60-5f8e2c4d1a07")]
    client_id: String,
    /// Send a `hello` message first. It names the replica and the state of the feed. A WebSocket sends it only in the
    /// formats `full` and `audit` or with `notices=true`, an event stream in every format.
    #[param(required = false, default = false, example = true)]
    hello: bool,
    /// In the formats `timedate` and `timestamp`, send also statuses, gaps and `synced` over a WebSocket, and `hello`
    /// if `hello=true` asks for it. The updates stay the same. In the formats `full` and `audit` and in event streams,
    /// this changes nothing.
    #[param(required = false, default = false, example = true)]
    notices: bool,
}

/// The format of updates, and which one is the default.
struct Format<const DEFAULT: usize>;

const FORMATS: [&str; 4] = ["timedate", "timestamp", "full", "audit"];

impl<const DEFAULT: usize> ToSchema for Format<DEFAULT> {}

impl<const DEFAULT: usize> PartialSchema for Format<DEFAULT> {
    fn schema() -> RefOr<Schema> {
        let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(FORMATS));
        words.default(Some(json!(FORMATS[DEFAULT]))).into()
    }
}

/// The format of updates where `timedate` is the default.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimedateFormat {
    /// The content of an update. `timedate`: a date by RFC 3339 and a price. `timestamp`: Unix seconds and a price.
    /// `full`: everything. `audit`: everything, and what each source said about each price.
    #[param(required = false, inline, example = "full")]
    format: Format<0>,
}

/// The format of updates where `timestamp` is the default.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimestampFormat {
    /// The content of an update. `timedate`: a date by RFC 3339 and a price. `timestamp`: Unix seconds and a price.
    /// `full`: everything. `audit`: everything, and what each source said about each price.
    #[param(required = false, inline, example = "full")]
    format: Format<1>,
}

/// A moment.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MomentParameter {
    /// The moment, in the formats of `since`. The default is now.
    #[param(required = false, inline, example = "2026-11-20T09:20:33Z")]
    time: Moment,
}

/// A time before a moment.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WindowParameter {
    /// Return also the average over this time before the moment: `1s` to `1h`.
    #[param(required = false, pattern = r"^[1-9]\d*(ms|s|m|h)$", example = "60s")]
    window: String,
}

/// The parameters of `historical-price` of mempool.space.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoricalPriceParameters {
    /// The answer has prices in this currency and in USD. The default is all currencies of the feed.
    #[param(required = false, inline, example = "EUR")]
    currency: Currency,
    /// Another name for `currency`.
    #[param(required = false, inline, example = "EUR")]
    currencies: Currency,
    /// The moment in Unix seconds. Without it, or if it is 0, the answer has the first prices of each hour.
    #[param(required = false, example = 1_795_166_431_u64)]
    timestamp: u64,
}

/// The end of a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UntilParameter {
    /// The last moment, in the formats of `since`. The default is now.
    #[param(required = false, inline, example = "2026-11-20T10:00:00Z")]
    until: Moment,
}

/// An order, and the default.
struct AscendingOrder;

impl ToSchema for AscendingOrder {}

impl PartialSchema for AscendingOrder {
    fn schema() -> RefOr<Schema> {
        let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["asc", "desc"]));
        words.default(Some(json!("asc"))).into()
    }
}

/// The order of a page of the history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OrderParameter {
    /// `asc`: the oldest entry first. `desc`: the newest entry first, so that `limit=10` without `since` returns the
    /// newest ten. In this order, the `next` of the answer is the `until` of the next page, which has older entries.
    #[param(required = false, inline, example = "desc")]
    order: AscendingOrder,
}

/// The length of a page of the history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryLimit {
    /// The maximum number of entries.
    #[param(required = false, minimum = 1, maximum = 100_000, default = 1000, example = 100)]
    limit: u32,
}

/// The length of a page of candles.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CandlesLimit {
    /// The maximum number of candles. The default is the number of minutes in a day.
    #[param(required = false, minimum = 1, maximum = 10_000, default = 1440, example = 60)]
    limit: u32,
}

/// A format of updates or of the response.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum FormatOrMedia {
    Timedate,
    Timestamp,
    Full,
    Audit,
    Json,
    Ndjson,
    Csv,
}

/// The format of the history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryFormat {
    /// The content of an update (`timedate`, `timestamp`, `full` or `audit`; the default is `timedate`), the format of
    /// the response (`json`, `ndjson` or `csv`; the default is what `Accept` prefers, or `json`), or one of each, as a
    /// list with a comma or as a repeated parameter. `audit` cannot be combined with `csv`.
    #[param(required = false, inline, style = Form, explode, example = json!(["full", "ndjson"]))]
    format: Vec<FormatOrMedia>,
}

/// The notices of the history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryNotices {
    /// Return statuses and gaps among the updates also in the formats `timedate` and `timestamp`. The updates stay the
    /// same. With `csv`, it is allowed only in the format `full`, which has statuses and gaps anyway.
    #[param(required = false, default = false, example = true)]
    notices: bool,
}

/// A format of the response.
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
    /// The format of the response. The default is what `Accept` prefers, or `json`.
    #[param(required = false, inline, example = "csv")]
    format: Media,
}

/// The length of candles, and the default.
struct IntervalOrDefault;

impl ToSchema for IntervalOrDefault {}

impl PartialSchema for IntervalOrDefault {
    fn schema() -> RefOr<Schema> {
        let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Interval::ALL.map(Interval::name)));
        words.default(Some(json!(Interval::Minute))).into()
    }
}

/// The length of candles.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct IntervalParameter {
    /// The length of a candle. Candles start at multiples of it in Unix time.
    #[param(required = false, inline, example = "5m")]
    interval: IntervalOrDefault,
}

/// The cursor of an `EventSource`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct LastEventId {
    /// The last id that was received, which an `EventSource` sends when it reconnects. It takes precedence over `since`
    /// and `after`.
    #[param(required = false, rename = "Last-Event-ID", example = 1_795_166_431_075_u64)]
    last_event_id: u64,
}

/// The tag of content that the client already has.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfNoneMatch {
    /// The `ETag` of the content that you have. If the content has not changed, the answer is 304 without a body.
    #[param(required = false, rename = "If-None-Match", example = "W/\"abc\"")]
    if_none_match: String,
}

/// The bound of `/v1/status`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MaxAge {
    /// The maximum age of the newest tick. If it is older, the answer is 503 instead of 200. The default is
    /// `BTCFEED_STALE_AFTER`.
    #[param(required = false, value_type = String, example = "30s")]
    max_age: String,
}

/// The symbol of a chart.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UdfSymbolParameter {
    /// The symbol: `BTC` and the code of a currency of the feed, with or without an exchange (`BTCFEED:BTCUSD`). The
    /// default has the feed's default currency.
    #[param(required = false, example = "BTCUSD")]
    symbol: String,
}

/// The search of a chart.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UdfSearchParameters {
    /// The text. If it is empty, all symbols are found.
    #[param(required = false, example = "BTC")]
    query: String,
    /// The type of the symbols: `crypto`. For another type, no symbols are found.
    #[param(required = false, example = "crypto")]
    r#type: String,
    /// The exchange of the symbols: `BTCFEED`. For another exchange, no symbols are found.
    #[param(required = false, example = "BTCFEED")]
    exchange: String,
    /// The maximum number of symbols.
    #[param(required = false, minimum = 1, default = 30, example = 30)]
    limit: u32,
}

/// A length of a chart's candles.
#[derive(ToSchema)]
enum UdfResolution {
    #[serde(rename = "1")]
    Minute,
    #[serde(rename = "5")]
    FiveMinutes,
    #[serde(rename = "15")]
    FifteenMinutes,
    #[serde(rename = "60")]
    Hour,
    #[serde(rename = "240")]
    FourHours,
    #[serde(rename = "1D")]
    Day,
    #[serde(rename = "D")]
    DayToo,
}

/// The range of a chart.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UdfHistoryParameters {
    /// The length of a candle: a number of minutes, or a day (`1D` or `D`, the default).
    #[param(required = false, inline, example = "60")]
    resolution: UdfResolution,
    /// The first moment, in Unix seconds. It is ignored if there is a `countback`.
    #[param(required = false, example = 1_795_080_000_i64)]
    from: i64,
    /// The moment before which the candles begin, in Unix seconds. The default is now.
    #[param(required = false, example = 1_795_166_400_i64)]
    to: i64,
    /// The number of candles before `to`. At most the newest 10000 are returned. The default is 300, if there is no
    /// `from`.
    #[param(required = false, minimum = 1, example = 300)]
    countback: u32,
    /// The currency of the symbol, which a chart sends in addition to `symbol`.
    #[param(required = false, rename = "currencyCode", example = "USD")]
    currency_code: String,
}
