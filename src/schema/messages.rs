//! The messages that clients read, as schemas. They stand here once for both descriptions.
//!
//! Nobody makes a value of these types: `view/json.rs` writes the messages by hand, field by field, and
//! `tests/it/descriptions.rs` holds what the running server says against what is written here. Objects are closed
//! (`additionalProperties: false`), so that a field which is not described fails there.

#![allow(dead_code, reason = "these are shapes, which nobody makes")]

use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A tick's or a status's place in the feed, and its moment: Unix milliseconds. Ids strictly increase over the whole feed. It is
/// the cursor to resume from: pass it as `after`.
#[derive(ToSchema)]
#[schema(examples(json!(1_795_166_431_075_u64)))]
pub(crate) struct Id(u64);

/// A moment in UTC with milliseconds (RFC 3339).
#[derive(ToSchema)]
#[schema(format = DateTime, pattern = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", examples(json!("2026-11-20T09:20:31.075Z")))]
pub(crate) struct Timedate(String);

/// The price of one bitcoin: an exact decimal, with the digits that the market gave. It was never a float on its way; where the
/// last digit matters to you, read it as a decimal too.
pub(crate) struct Price;

impl ToSchema for Price {}

impl PartialSchema for Price {
    fn schema() -> RefOr<Schema> {
        let description = "The price of one bitcoin: an exact decimal, with the digits that the market gave. It was never a \
                           float on its way; where the last digit matters to you, read it as a decimal too.";
        let price = ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0));
        price.description(Some(description)).examples([json!(97116.17)]).into()
    }
}

/// A currency's code (ISO 4217).
#[derive(ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum CurrencyCode {
    Usd,
    Eur,
}

/// The type of a message, which is one word.
macro_rules! word {
    ($($name:ident = $word:literal),*) => {$(
        struct $name;

        impl ToSchema for $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some([$word])).into()
            }
        }
    )*};
}

word! {
    TickWord = "tick", StatusWord = "status", GapWord = "gap", SyncedWord = "synced", HelloWord = "hello",
    GoodbyeWord = "goodbye"
}

/// A price, in the format `timedate`. With one currency chosen it has the first two fields alone.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(
    json!({"timedate": "2026-11-20T09:20:31.075Z", "price": 97116.17}),
    json!({"timedate": "2026-11-20T09:20:31.075Z", "price": 89348.25, "currency": "EUR"})
))]
pub(crate) struct TimedateUpdate {
    /// When it was agreed. As Unix milliseconds it is the id to resume from.
    timedate: Timedate,
    price: Price,
    /// There if several currencies were chosen.
    #[schema(required = false)]
    currency: CurrencyCode,
}

/// A price, in the format `timestamp`. With one currency chosen it has the first two fields alone.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(
    json!({"timestamp": 1_795_166_431, "price": 97116.17}),
    json!({"timestamp": 1_795_166_431, "price": 89348.25, "currency": "EUR"})
))]
pub(crate) struct TimestampUpdate {
    /// When it was agreed, in whole Unix seconds.
    #[schema(examples(json!(1_795_166_431_u64)))]
    timestamp: u64,
    price: Price,
    /// There if several currencies were chosen.
    #[schema(required = false)]
    currency: CurrencyCode,
}

/// The prices that were agreed at one moment, in the format `full`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "type": "tick", "id": 1_795_166_431_075_u64, "prev": 1_795_166_426_071_u64, "timedate": "2026-11-20T09:20:31.075Z",
    "prices": {"USD": 97116.17, "EUR": 89348.25}, "sources": {"USD": ["coinbase", "kraken"], "EUR": ["kraken"]}
})))]
pub(crate) struct Tick {
    #[schema(inline)]
    r#type: TickWord,
    id: Id,
    /// The id of the entry before; 0 at the beginning of the feed. If it is the last id that you have, nothing is missing.
    prev: u64,
    /// The same moment as `id`.
    timedate: Timedate,
    prices: Prices,
    sources: Sources,
}

/// A price for each chosen currency that has one at this moment.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    #[schema(required = false)]
    #[serde(rename = "USD")]
    usd: Price,
    #[schema(required = false)]
    #[serde(rename = "EUR")]
    eur: Price,
}

/// The exchanges whose median each price is. A made up market is named `simulated`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Sources {
    #[schema(required = false)]
    #[serde(rename = "USD")]
    usd: Vec<String>,
    #[schema(required = false)]
    #[serde(rename = "EUR")]
    eur: Vec<String>,
}

/// A change of the feed's health.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "type": "status", "id": 1_795_166_446_090_u64, "prev": 1_795_166_431_075_u64, "state": "stale",
    "since": "2026-11-20T09:20:31.075Z", "reason": "no price for 15s: kraken: HTTP 503"
})))]
pub(crate) struct Status {
    #[schema(inline)]
    r#type: StatusWord,
    id: Id,
    /// The id of the entry before; 0 at the beginning of the feed.
    prev: u64,
    state: Health,
    /// For `stale` and `down` the moment of the last price before it, for `live` the moment when prices came back.
    since: Timedate,
    /// Why, in words for people.
    reason: String,
}

/// `live`: prices come in every currency. `stale`: none for a while, in one currency or in all. `down`: none for long in any.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum Health {
    Live,
    Stale,
    Down,
}

/// Between these two ids something is missing, and this is why.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "type": "gap", "after": 1_795_166_431_075_u64, "before": 1_795_166_461_080_u64, "reason": "source_outage",
    "currencies": ["EUR"]
})))]
pub(crate) struct Gap {
    #[schema(inline)]
    r#type: GapWord,
    /// The last id before the gap; 0 if it begins with the feed.
    after: u64,
    /// The first id after it.
    before: Id,
    reason: GapReason,
    /// The currencies that it concerns, if not all that were chosen.
    #[schema(required = false)]
    currencies: Vec<CurrencyCode>,
}

/// `source_outage`: no exchange had a price. `history_expired`: it is older than what is kept, or has been lost out of the middle of
/// it. `history_lost`: the store has lost the entry that you have and what came after it, or this feed never had the id.
/// `replay_limit`: you asked for no more with `limit`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GapReason {
    SourceOutage,
    HistoryExpired,
    HistoryLost,
    ReplayLimit,
}

/// Replay is over, from here on everything is live. Comes once.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"type": "synced", "id": 1_795_166_431_075_u64})))]
pub(crate) struct Synced {
    #[schema(inline)]
    r#type: SyncedWord,
    /// The id of the last entry that was sent; 0 if there is none.
    id: u64,
}

/// Who serves you. The first message, if you asked for it with `hello=true`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "type": "hello", "replica": "r1", "version": "0.1.0", "currencies": ["USD", "EUR"], "interval_ms": 5000,
    "state": "stale", "reason": "no price in EUR: kraken: no answer in time"
})))]
pub(crate) struct Hello {
    #[schema(inline)]
    r#type: HelloWord,
    /// The replica's name.
    replica: String,
    /// The version of its program.
    version: String,
    /// The currencies that the feed carries.
    currencies: Vec<CurrencyCode>,
    /// Milliseconds between two ticks.
    interval_ms: u64,
    /// How the feed is, by the newest status in this replica's memory; null if there is none.
    #[schema(required)]
    state: Option<Health>,
    /// Why, for a person to read.
    #[schema(required)]
    reason: Option<String>,
}

/// Why the server ends an event stream. Come back with the last id that you have.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "type": "goodbye", "reason": "draining", "message": "this replica is stopping: reconnect with your last id"
})))]
pub(crate) struct Goodbye {
    #[schema(inline)]
    r#type: GoodbyeWord,
    reason: GoodbyeReason,
    /// The same in words for people.
    message: String,
}

/// `draining`: this replica is stopping, others are there. `too_slow`: you were behind for too long, or took nothing.
/// `unavailable`: you cannot be served now.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum GoodbyeReason {
    Draining,
    TooSlow,
    Unavailable,
}
