//! What is answered once, as schemas: pages of the history, candles, problems.

#![allow(dead_code, reason = "these are shapes, which nobody makes")]
#![allow(clippy::struct_field_names, reason = "the names are what clients read")]

use super::messages::{
    CurrencyCode, Gap, GapReason, Id, Price, Status, Tick, Timedate, TimedateUpdate, TimestampUpdate,
};
use utoipa::ToSchema;

/// One update in whichever format was asked for.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum Update {
    Timedate(TimedateUpdate),
    Timestamp(TimestampUpdate),
    Tick(Tick),
}

/// The newest tick: one update, or an array with one for each currency if several were chosen (in `full` always one tick).
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum Latest {
    One(Update),
    Several(Vec<Update>),
}

/// One line of the history: an update, or in `full` a tick, a status or a gap.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum HistoryLine {
    Update(Update),
    Status(Status),
    Gap(Gap),
}

/// A page of the history, oldest first.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "prices": [{"timedate": "2026-11-20T09:20:26.071Z", "price": 97110}, {"timedate": "2026-11-20T09:20:31.075Z", "price": 97116.17}],
    "next": 1_795_166_431_075_u64
})))]
pub(crate) struct History {
    prices: Vec<HistoryLine>,
    /// Pass it as `after` for the next page. `null`: there is no more yet, go on after the last id that you have.
    #[schema(required)]
    next: Option<u64>,
}

/// The history as a table (RFC 4180): a row for each currency of a tick. The first row names the columns, which depend on what an
/// update looks like.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(timedate,currency,price|timestamp,currency,price|type,id,prev,timedate,currency,price,sources,state,since,reason)\r\n",
    examples(
        json!("timedate,currency,price\r\n2026-11-20T09:20:31.075Z,USD,97116.17\r\n"),
        json!("type,id,prev,timedate,currency,price,sources,state,since,reason\r\ntick,1795166431075,1795166426071,2026-11-20T09:20:31.075Z,USD,97116.17,coinbase kraken,,,\r\n")
    )
)]
pub(crate) struct HistoryTable(String);

/// What prices did in one interval. An interval without a tick has no candle. The newest candle may still change.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "id": 1_795_166_400_000_u64, "timedate": "2026-11-20T09:20:00.000Z", "ticks": 12,
    "prices": {"USD": {"open": 97100.5, "high": 97120, "low": 97090.25, "close": 97116.17}}
})))]
pub(crate) struct Candle {
    /// Its first moment: a whole multiple of the interval in Unix milliseconds.
    id: Id,
    /// The same moment.
    timedate: Timedate,
    /// How many ticks it is made of.
    #[schema(minimum = 1)]
    ticks: u64,
    prices: CandlePrices,
}

/// What each chosen currency that had a price did.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct CandlePrices {
    #[schema(required = false)]
    #[serde(rename = "USD")]
    usd: Ohlc,
    #[schema(required = false)]
    #[serde(rename = "EUR")]
    eur: Ohlc,
}

/// The first, highest, lowest and last price.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Ohlc {
    open: Price,
    high: Price,
    low: Price,
    close: Price,
}

/// Candles as a table (RFC 4180): a row for each currency of a candle. The first row names the columns.
#[derive(ToSchema)]
#[schema(
    pattern = r"^id,timedate,ticks,currency,open,high,low,close\r\n",
    examples(json!(
        "id,timedate,ticks,currency,open,high,low,close\r\n1795166400000,2026-11-20T09:20:00.000Z,12,USD,97100.5,97120,97090.25,97116.17\r\n"
    ))
)]
pub(crate) struct CandleTable(String);

/// Something that is missing between the candles.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct CandleGap {
    /// The last id before the gap.
    after: u64,
    /// The first id after it.
    before: Id,
    reason: GapReason,
    /// The currencies that it concerns, if not all that were chosen.
    #[schema(required = false)]
    currencies: Vec<CurrencyCode>,
}

/// Candles of one interval, oldest first.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Candles {
    #[schema(inline)]
    interval: Interval,
    candles: Vec<Candle>,
    /// What is missing in between, so that a chart need not draw a line across it.
    gaps: Vec<CandleGap>,
    /// Pass it as `after` for the next page. `null`: there is no more yet.
    #[schema(required)]
    next: Option<u64>,
}

/// How long a candle is.
#[derive(ToSchema)]
pub(crate) enum Interval {
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "1h")]
    Hour,
}

/// What was wrong, and what is allowed (RFC 9457).
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "currency reads USD or EUR, got \"GBP\""
})))]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what kind it is.
    #[schema(pattern = "^about:blank$")]
    r#type: String,
    /// The status in words.
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The value that was wrong and what is allowed, every mistake at once.
    detail: String,
}
