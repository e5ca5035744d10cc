//! An object whose fields are named by currencies.

use crate::tick::Currency;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// A value for each of some currencies: `{"USD":…,"EUR":…}`, in the order of [`Currency::ALL`].
///
/// A reader skips the currencies that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByCurrency<T>([Option<T>; Currency::ALL.len()]);

impl<T> ByCurrency<T> {
    /// Returns the value for `currency`, if there is one.
    pub fn get(&self, currency: Currency) -> Option<&T> {
        self.0[currency as usize].as_ref()
    }

    /// Returns true if no currency has a value.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Returns each currency that has a value, with the value.
    pub fn iter(&self) -> impl Iterator<Item = (Currency, &T)> {
        Currency::ALL.into_iter().zip(&self.0).filter_map(|(currency, value)| Some((currency, value.as_ref()?)))
    }
}

impl<T> Default for ByCurrency<T> {
    fn default() -> ByCurrency<T> {
        ByCurrency(Currency::ALL.map(|_| None))
    }
}

impl<T> FromIterator<(Currency, T)> for ByCurrency<T> {
    fn from_iter<I: IntoIterator<Item = (Currency, T)>>(values: I) -> ByCurrency<T> {
        let mut by_currency = ByCurrency::default();
        for (currency, value) in values {
            by_currency.0[currency as usize] = Some(value);
        }
        by_currency
    }
}

impl<T> IntoIterator for ByCurrency<T> {
    type Item = (Currency, T);
    type IntoIter = std::iter::FilterMap<
        std::iter::Zip<std::array::IntoIter<Currency, N>, std::array::IntoIter<Option<T>, N>>,
        fn((Currency, Option<T>)) -> Option<(Currency, T)>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        Currency::ALL.into_iter().zip(self.0).filter_map(|(currency, value)| Some((currency, value?)))
    }
}

const N: usize = Currency::ALL.len();

impl<T: Serialize> Serialize for ByCurrency<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByCurrency<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByCurrency<T>, D::Error> {
        deserializer.deserialize_map(MapReader(PhantomData))
    }
}

struct MapReader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MapReader<T> {
    type Value = ByCurrency<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a field for each currency")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByCurrency<T>, A::Error> {
        let mut by_currency = ByCurrency::default();
        while let Some(code) = map.next_key::<String>()? {
            match code.parse::<Currency>() {
                Ok(currency) => by_currency.0[currency as usize] = Some(map.next_value()?),
                Err(_) => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(by_currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ExactPrice;

    #[test]
    fn unknown_currencies_are_skipped_when_read() {
        let json = r#"{"EUR":89348.20,"XAU":1e999,"USD":97116.170}"#;
        let prices: ByCurrency<ExactPrice> = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&prices).unwrap(), r#"{"USD":97116.170,"EUR":89348.20}"#);
        let euro: ByCurrency<_> = prices.into_iter().filter(|(currency, _)| *currency == Currency::Eur).collect();
        assert_eq!(euro.get(Currency::Usd), None);
        assert_eq!(serde_json::to_string(&euro).unwrap(), r#"{"EUR":89348.20}"#);
    }
}
