//! The messages of the formats `full` and `audit`. A stream of server-sent events has these messages, except
//! [`TickMessage`], in every format, as named events.

use super::by_currency::ByCurrency;
use super::input::InputMessage;
use super::price::{ExactAmount, ExactPrice};
use super::timedate::Timedate;
use super::word::Word;
use crate::feed::{FeedState, Gap, GapReason};
use crate::tick::{Currencies, Currency, MethodParameters, TickId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Defines the types of the field `type`. Each of them has one value.
macro_rules! message_types {
    ($($name:ident::$word:ident,)*) => {$(
        #[doc = concat!("The `type` of a [`", stringify!($word), "Message`].")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(description = "The type of the message."))]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            /// The only value.
            #[default]
            $word,
        }
    )*};
}

message_types! {
    TickType::Tick,
    StatusType::Status,
    GapType::Gap,
    SyncedType::Synced,
    HelloType::Hello,
    GoodbyeType::Goodbye,
}

/// A price for each chosen currency that has one at this moment.
pub type Prices = ByCurrency<ExactPrice>;

/// For each price, the names of the sources from which it was made. Prices of `simulated` are not from a market.
pub type Sources<'a> = ByCurrency<Cow<'a, [String]>>;

/// For each chosen currency that has a price at this moment, a difference between prices.
pub type Amounts = ByCurrency<ExactAmount>;

/// The prices at one moment, in the formats `full` and `audit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Tick))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "type": "tick", "id": 1_795_166_431_075_u64, "prev": 1_795_166_426_071_u64, "timedate": "2026-11-20T09:20:31.075Z",
    "prices": {"USD": 97116.17, "EUR": 89348.25}, "sources": {"USD": ["coinbase", "kraken"], "EUR": ["bitstamp", "kraken"]},
    "method": 1, "confidence": {"USD": 1.25, "EUR": 0.75}, "spread": {"USD": 5.00, "EUR": 3.00}
}))))]
pub struct TickMessage<'a> {
    /// Always `tick`.
    #[cfg_attr(feature = "server", schema(inline))]
    pub r#type: TickType,
    /// The id of the tick, which is its moment in Unix milliseconds. To resume after this tick, send it as `after`.
    pub id: TickId,
    /// The id of the previous entry, or 0 for the first entry of the feed. If it is the last id that you have, nothing
    /// is missing.
    #[cfg_attr(feature = "server", schema(value_type = u64))]
    pub prev: TickId,
    /// The same moment as `id`.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub timedate: Timedate<'a>,
    /// A price for each chosen currency that has one at this moment. The object may be empty.
    pub prices: Prices,
    /// For each price, the names of the sources from which it was made. Prices of `simulated` are not from a market.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub sources: Sources<'a>,
    /// The version of the method by which the prices were made. Missing in ticks from before version 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "server", schema(required = false, minimum = 1))]
    pub method: u32,
    /// For each price, how far the sources differ: the distance from the price to the farther of the 25th and the 75th
    /// percentile of the values that were used. Missing in ticks from before version 1 of the method.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    #[cfg_attr(feature = "server", schema(required = false))]
    pub confidence: Amounts,
    /// For each price, the highest minus the lowest value that was used. Missing in ticks from before version 1 of the
    /// method.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    #[cfg_attr(feature = "server", schema(required = false))]
    pub spread: Amounts,
    /// In the format `audit`, the numbers of the method that applied to this tick. Missing if the feed has not kept
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = Object))]
    pub parameters: Option<Cow<'a, MethodParameters>>,
    /// In the format `audit`, what each source said about each chosen currency, and how it was used. Missing if the
    /// feed has not kept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = Vec<InputMessage<'a>>))]
    pub inputs: Option<Vec<InputMessage<'a>>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(method: &u32) -> bool {
    *method == 0
}

/// A change of the feed's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Status))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "type": "status", "id": 1_795_166_446_090_u64, "prev": 1_795_166_431_075_u64, "state": "stale",
    "since": "2026-11-20T09:20:31.075Z", "reason": "no price in USD and EUR: kraken: HTTP 503"
}))))]
pub struct StatusMessage<'a> {
    /// Always `status`.
    #[cfg_attr(feature = "server", schema(inline))]
    pub r#type: StatusType,
    /// The id of the status, which is its moment in Unix milliseconds. To resume after this status, send it as `after`.
    pub id: TickId,
    /// The id of the previous entry, or 0 for the first entry of the feed.
    #[cfg_attr(feature = "server", schema(value_type = u64))]
    pub prev: TickId,
    /// The new state.
    #[cfg_attr(feature = "server", schema(value_type = FeedState))]
    pub state: Word<FeedState>,
    /// The start of the state. For `stale` and `down` it is the moment of the last price, for `degraded` that of the
    /// last price from enough sources, for `live` the moment at which the feed recovered. If the reason is about
    /// clocks, it is the moment of the status.
    pub since: Timedate<'a>,
    /// The reason, as text for people.
    pub reason: Cow<'a, str>,
}

/// A range of ids in which updates are missing, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Gap))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "type": "gap", "after": 1_795_166_431_075_u64, "before": 1_795_166_461_080_u64, "reason": "source_outage",
    "currencies": ["EUR"]
}))))]
pub struct GapMessage {
    /// Always `gap`.
    #[cfg_attr(feature = "server", schema(inline))]
    pub r#type: GapType,
    /// The last id before the gap, or 0 if the gap starts with the feed.
    #[cfg_attr(feature = "server", schema(value_type = u64))]
    pub after: TickId,
    /// The first id after the gap.
    pub before: TickId,
    /// The reason.
    #[cfg_attr(feature = "server", schema(value_type = GapReason))]
    pub reason: Word<GapReason>,
    /// The affected currencies. Missing if all chosen currencies are affected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = Vec<Currency>))]
    pub currencies: Option<Vec<Word<Currency>>>,
}

/// The end of the replay. All later messages are live. It is sent once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Synced))]
#[cfg_attr(feature = "server", schema(examples(json!({"type": "synced", "id": 1_795_166_431_075_u64}))))]
pub struct SyncedMessage {
    /// Always `synced`.
    #[cfg_attr(feature = "server", schema(inline))]
    pub r#type: SyncedType,
    /// The id to resume after, or 0 if the feed is empty.
    #[cfg_attr(feature = "server", schema(value_type = u64))]
    pub id: TickId,
}

/// The replica that serves you. This message comes first if you asked for it with `hello=true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Hello))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "type": "hello", "replica": "r1", "version": "1.2.3", "currencies": ["USD", "EUR"], "interval_ms": 5000,
    "state": "stale", "reason": "no price in EUR: kraken: no answer in time"
}))))]
pub struct HelloMessage<'a> {
    /// Always `hello`.
    #[cfg_attr(feature = "server", schema(inline))]
    pub r#type: HelloType,
    /// The name of the replica.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub replica: Cow<'a, str>,
    /// The version of its program.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub version: Cow<'a, str>,
    /// The currencies of the feed.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required, value_type = Vec<Currency>))]
    pub currencies: Vec<Word<Currency>>,
    /// The time between two ticks, in milliseconds.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub interval_ms: u64,
    /// The state in the newest status, or `live` if there are only ticks, or null if the feed has no entry yet.
    #[cfg_attr(feature = "server", schema(required, value_type = Option<FeedState>))]
    pub state: Option<Word<FeedState>>,
    /// The reason for the state, as text for people.
    #[cfg_attr(feature = "server", schema(required))]
    pub reason: Option<Cow<'a, str>>,
}

/// The end of an event stream, and the reason. Reconnect with the last id that you have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Goodbye))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "type": "goodbye", "reason": "draining", "message": "this replica is stopping: reconnect with your last id"
}))))]
pub struct GoodbyeMessage<'a> {
    /// Always `goodbye`.
    #[cfg_attr(feature = "server", schema(inline))]
    pub r#type: GoodbyeType,
    /// The reason.
    #[cfg_attr(feature = "server", schema(value_type = GoodbyeReason))]
    pub reason: Word<GoodbyeReason>,
    /// The reason, as text for people.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub message: Cow<'a, str>,
}

/// `draining`: this replica is stopping. `too_slow`: you were behind for too long, or read nothing for too long.
/// `unavailable`: this replica cannot serve you now. `unauthorized`: your API key is no longer valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeReason {
    /// This replica is stopping.
    Draining,
    /// The client was behind for too long, or read nothing for too long.
    TooSlow,
    /// This replica cannot serve the client now.
    Unavailable,
    /// The API key of the client is no longer valid.
    Unauthorized,
}

impl From<&Gap> for GapMessage {
    fn from(gap: &Gap) -> GapMessage {
        let Gap { after, before, reason, only } = *gap;
        let (reason, currencies) = (reason.into(), only.map(words));
        GapMessage { r#type: GapType::Gap, after, before, reason, currencies }
    }
}

/// Returns the currencies of a set as words.
pub(super) fn words(currencies: Currencies) -> Vec<Word<Currency>> {
    currencies.iter().map(Word::from).collect()
}
