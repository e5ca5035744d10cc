//! Prices in the formats `timedate` and `timestamp`.

use super::price::ExactPrice;
use super::stream::TickMessage;
use super::timedate::Timedate;
use crate::tick::Currency;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// A price in the format `timedate`. If one currency was chosen, it has only the first two fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(examples(
    json!({"timedate": "2026-11-20T09:20:31.075Z", "price": 97116.17}),
    json!({"timedate": "2026-11-20T09:20:31.075Z", "price": 89348.25, "currency": "EUR"})
)))]
pub struct TimedateUpdate<'a> {
    /// The moment of the price. In Unix milliseconds it is the id to resume after.
    pub timedate: Timedate<'a>,
    /// The price of one bitcoin.
    pub price: ExactPrice,
    /// The currency, if several were chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = Currency))]
    pub currency: Option<Currency>,
}

/// A price in the format `timestamp`. If one currency was chosen, it has only the first two fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(examples(
    json!({"timestamp": 1_795_166_431, "price": 97116.17}),
    json!({"timestamp": 1_795_166_431, "price": 89348.25, "currency": "EUR"})
)))]
pub struct TimestampUpdate {
    /// The moment of the price, in whole Unix seconds.
    #[cfg_attr(feature = "server", schema(examples(json!(1_795_166_431_u64))))]
    pub timestamp: u64,
    /// The price of one bitcoin.
    pub price: ExactPrice,
    /// The currency, if several were chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = Currency))]
    pub currency: Option<Currency>,
}

/// A price in the chosen format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Update))]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a message lives only while it is written or read")]
pub enum PriceUpdate<'a> {
    /// In the format `timedate`.
    Timedate(TimedateUpdate<'a>),
    /// In the format `timestamp`.
    Timestamp(TimestampUpdate),
    /// In the formats `full` and `audit`.
    Tick(TickMessage<'a>),
}

/// The fields by which messages are distinguished.
#[derive(Deserialize)]
pub(super) struct UpdateKind {
    pub(super) r#type: Option<String>,
    timestamp: Option<u64>,
}

impl<'de> Deserialize<'de> for PriceUpdate<'_> {
    /// Reads the text twice: first the fields that tell the variant, and then the variant. With `untagged`, serde would
    /// first read all fields into a buffer, and convert prices to floats.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let read = |text| {
            let kind: UpdateKind = serde_json::from_str(text)?;
            Ok(match kind {
                UpdateKind { r#type: Some(_), .. } => PriceUpdate::Tick(serde_json::from_str(text)?),
                UpdateKind { timestamp: Some(_), .. } => PriceUpdate::Timestamp(serde_json::from_str(text)?),
                UpdateKind { .. } => PriceUpdate::Timedate(serde_json::from_str(text)?),
            })
        };
        read(text.get()).map_err(|error: serde_json::Error| serde::de::Error::custom(error))
    }
}
