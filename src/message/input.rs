//! What a source said about a currency, in the format `audit`.

use super::price::ExactPrice;
use super::word::Word;
#[cfg(feature = "client")]
use crate::tick::{Audit, MethodParameters};
use crate::tick::{Currency, Input, Price, TickId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What one source said about one currency, and how it was used. It has either `used` or `excluded`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Input))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "source": "kraken", "currency": "USD", "bid": 97116.10, "ask": 97116.30, "last": 97116.17, "value": 97116.20,
    "fetched": 1_795_166_431_070_u64, "latency_ms": 81, "used": 97116.20
}))))]
pub struct InputMessage<'a> {
    /// The name of the source.
    pub source: Cow<'a, str>,
    /// The currency.
    #[cfg_attr(feature = "server", schema(value_type = Currency))]
    pub currency: Word<Currency>,
    /// The best bid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = ExactPrice))]
    pub bid: Option<ExactPrice>,
    /// The best ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = ExactPrice))]
    pub ask: Option<ExactPrice>,
    /// The price of the last trade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = ExactPrice))]
    pub last: Option<ExactPrice>,
    /// The price that the source stands for, made from the three prices above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = ExactPrice))]
    pub value: Option<ExactPrice>,
    /// The time of the answer by the source's clock, in Unix milliseconds, if the source gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = u64))]
    pub time: Option<TickId>,
    /// The time at which the answer arrived, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = u64))]
    pub fetched: Option<TickId>,
    /// The time that the request took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = u32))]
    pub latency_ms: Option<u32>,
    /// The price that went into the aggregated price: `value`, or the limit to which the method moved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = ExactPrice))]
    pub used: Option<ExactPrice>,
    /// The reason why the source was not used, as text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = String))]
    pub excluded: Option<Cow<'a, str>>,
}

impl<'a> From<&'a Input> for InputMessage<'a> {
    fn from(input: &'a Input) -> InputMessage<'a> {
        let price = |price: Option<Price>| price.map(ExactPrice);
        InputMessage {
            source: Cow::Borrowed(&input.source),
            currency: input.currency.into(),
            bid: price(input.bid),
            ask: price(input.ask),
            last: price(input.last),
            value: price(input.value),
            time: input.time,
            fetched: input.fetched,
            latency_ms: input.latency_ms,
            used: price(input.used),
            excluded: input.excluded.as_deref().map(Cow::Borrowed),
        }
    }
}

#[cfg(feature = "client")]
impl InputMessage<'_> {
    /// Returns the input, if this version knows its currency.
    fn into_input(self) -> Option<Input> {
        let price = |price: Option<ExactPrice>| price.map(|price| price.0);
        Some(Input {
            source: self.source.into_owned(),
            currency: self.currency.known()?,
            bid: price(self.bid),
            ask: price(self.ask),
            last: price(self.last),
            value: price(self.value),
            time: self.time,
            fetched: self.fetched,
            latency_ms: self.latency_ms,
            used: price(self.used),
            excluded: self.excluded.map(Cow::into_owned),
        })
    }
}

/// Returns the audit of a message, if it has one.
#[cfg(feature = "client")]
pub(crate) fn audit(
    parameters: Option<Cow<'_, MethodParameters>>,
    inputs: Option<Vec<InputMessage<'_>>>,
) -> Option<Audit> {
    let inputs = inputs?.into_iter().filter_map(InputMessage::into_input).collect();
    Some(Audit { parameters: parameters.map(Cow::into_owned).unwrap_or_default(), inputs })
}
