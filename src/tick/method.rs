//! The numbers of the method by which prices are aggregated.

use super::currency::Currency;
use super::known::known_keys;
use super::price::Price;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a computation of a tick's prices needs besides the inputs. Fields of newer versions are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MethodParameters {
    /// The greatest distance of a value from the median of the others, as a share of this median.
    #[serde(skip_serializing_if = "Decimal::is_zero")]
    pub outlier_share: Decimal,
    /// The greatest distance of a used value from the median of the values that are not outliers, as a share of this
    /// median.
    #[serde(skip_serializing_if = "Decimal::is_zero")]
    pub clamp_share: Decimal,
    /// What differs between currencies.
    #[serde(deserialize_with = "known_keys", skip_serializing_if = "BTreeMap::is_empty")]
    pub currencies: BTreeMap<Currency, PriceParameters>,
}

/// What a computation of the price in one currency needs besides the inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PriceParameters {
    /// The least number of sources for a price.
    pub min_sources: u32,
    /// The sources that were outliers before this poll. They count again only if they are at most half of
    /// [`MethodParameters::outlier_share`] away from the median of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outliers: Vec<String>,
    /// The bound of a price that comes from a single source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<MoveBound>,
    /// For each source that repeats its answer, the number of polls, including this one, in which most of the other
    /// sources moved and this source did not. The next leader continues the method from these numbers and the inputs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub repeats: BTreeMap<String, u32>,
}

/// The bound of a price that comes from a single source: the price differs from `previous` by at most `max_move`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveBound {
    /// The previous price.
    pub previous: Price,
    /// The greatest difference from the previous price.
    pub max_move: Decimal,
}
