//! The sources of prices and their states, as `/v1/sources` returns them.

use super::price::ExactPrice;
use super::word::Word;
use crate::tick::{Currency, TickId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The sources, as the newest ticks describe them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = PolledSources))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "id": 1_795_166_431_075_u64, "age_ms": 1204, "ticks": 50, "sources": [{
        "name": "kraken", "title": "Kraken", "attribution": "https://www.kraken.com",
        "terms": "https://www.kraken.com/legal", "state": "ok", "success_rate": 0.98, "latency_ms": 81,
        "values": [{"currency": "USD", "value": 97116.20, "age_ms": 1209, "used": true}]
    }]
}))))]
pub struct SourcesMessage<'a> {
    /// The id of the newest tick whose inputs are kept, or null if there is none.
    #[cfg_attr(feature = "server", schema(required, value_type = Option<u64>))]
    pub id: Option<TickId>,
    /// The age of that tick in milliseconds. If it keeps growing, no replica leads, or no source gives a price.
    #[cfg_attr(feature = "server", schema(required))]
    pub age_ms: Option<u64>,
    /// The number of ticks from which the success rates are computed.
    pub ticks: u64,
    /// The sources that were polled for these ticks.
    pub sources: Vec<PolledSource<'a>>,
}

/// A source that is polled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = PolledSource))]
pub struct PolledSource<'a> {
    /// The name of the source.
    pub name: Cow<'a, str>,
    /// The name for people.
    pub title: Cow<'a, str>,
    /// The page to link to if you show its prices. Missing if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = String))]
    pub attribution: Option<Cow<'a, str>>,
    /// The page with the terms under which its prices may be used. Missing if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = String))]
    pub terms: Option<Cow<'a, str>>,
    /// The state in the newest of the ticks that have inputs of this source.
    #[cfg_attr(feature = "server", schema(value_type = SourceState))]
    pub state: Word<SourceState>,
    /// The reason, as text for people, if the state is not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = String))]
    pub reason: Option<Cow<'a, str>>,
    /// Of the ticks that have inputs of this source, the share in which it gave at least one price, rounded to four
    /// decimals.
    #[cfg_attr(feature = "server", schema(minimum = 0, maximum = 1))]
    pub success_rate: f64,
    /// The time that its last request took, in milliseconds, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = u32))]
    pub latency_ms: Option<u32>,
    /// Its last value in each currency.
    pub values: Vec<SourceValue>,
}

/// The last value of a source in a currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = SourceValue))]
pub struct SourceValue {
    /// The currency.
    #[cfg_attr(feature = "server", schema(value_type = Currency))]
    pub currency: Word<Currency>,
    /// The value: the middle of the source's book, or its last trade.
    pub value: ExactPrice,
    /// The time since this value arrived from the source, in milliseconds.
    pub age_ms: u64,
    /// True if the value went into the newest price in this currency.
    pub used: bool,
}

/// `ok`: at least one value could be used, and none was an outlier or frozen. A source is also `ok` if there was no
/// price because others failed or disagreed. `outlier`: a value was too far from the others. `frozen`: the source
/// repeats itself while the others move. `resting`: it is not asked for a while, because it failed or asked for a
/// pause. `failing`: it gave no value that can be used. `unknown`: the newest tick is so old that it says nothing about
/// the sources now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// At least one value could be used.
    Ok,
    /// A value was too far from the others.
    Outlier,
    /// The source repeats itself.
    Frozen,
    /// The source is not asked for a while.
    Resting,
    /// The source gave no value that can be used.
    Failing,
    /// The newest tick is too old.
    Unknown,
}
