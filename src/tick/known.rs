//! Stored values that a newer version has written: the currencies that this version does not know are left out.
//!
//! Version 0.2.0 and older ones cannot read an entry with a currency other than USD and EUR. So all replicas must be
//! updated before a feed gets another currency.

use super::currency::Currency;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Reads an object whose fields are named by currencies.
pub(crate) fn known_keys<'de, T, D>(deserializer: D) -> Result<BTreeMap<Currency, T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_map(Known(PhantomData))
}

/// Reads a list of currencies.
pub(crate) fn known_currencies<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Currency>, D::Error> {
    let codes = Vec::<String>::deserialize(deserializer)?;
    Ok(codes.iter().filter_map(|code| code.parse().ok()).collect())
}

struct Known<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Known<T> {
    type Value = BTreeMap<Currency, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the codes of currencies")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut known = BTreeMap::new();
        while let Some(code) = map.next_key::<String>()? {
            match code.parse() {
                Ok(currency) => drop(known.insert(currency, map.next_value()?)),
                Err(_) => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(known)
    }
}
