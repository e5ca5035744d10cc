//! The price in force at a moment, as `/v1/prices/at` returns it.

use super::price::ExactPrice;
use super::timedate::Timedate;
use super::word::Word;
use crate::tick::{Currency, TickId};
use serde::{Deserialize, Serialize};

/// The prices in force at a moment, and their averages over a time before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = PricesAt))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "time": "2026-11-20T09:20:33.000Z", "window_ms": 60000, "prices": [{
        "currency": "USD", "price": 97116.17, "id": 1_795_166_431_075_u64, "age_ms": 1925, "average": 97110.205,
        "covered": 0.91
    }]
}))))]
pub struct PricesAtMessage<'a> {
    /// The moment.
    pub time: Timedate<'a>,
    /// The length of the window in milliseconds, if the request has a `window`. The window ends at the moment, and
    /// prices are averaged over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = u64))]
    pub window_ms: Option<u64>,
    /// The price of each chosen currency.
    pub prices: Vec<PriceAtMessage>,
}

/// The price in one currency at a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = PriceAt))]
pub struct PriceAtMessage {
    /// The currency.
    #[cfg_attr(feature = "server", schema(value_type = Currency))]
    pub currency: Word<Currency>,
    /// The price of the tick in force at the moment. With `window`, it is missing if no tick was in force at the
    /// moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = ExactPrice))]
    pub price: Option<ExactPrice>,
    /// The id of that tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = TickId))]
    pub id: Option<TickId>,
    /// The time from that tick to the moment, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = u64))]
    pub age_ms: Option<u64>,
    /// The average over the window. Each price is weighted by the time in which it was in force. The average is rounded
    /// to eight decimals, half to even.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = ExactPrice))]
    pub average: Option<ExactPrice>,
    /// The share of the window in which a price was in force, rounded to six decimals. In the rest there was none:
    /// entries are missing, the newest price was too old, or the feed had no tick yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = f64, minimum = 0, maximum = 1))]
    pub covered: Option<f64>,
}
