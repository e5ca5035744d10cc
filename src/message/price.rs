//! A price as a JSON number.

use crate::tick::Price;
use arrayvec::ArrayString;
use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt::{Display, Write};

/// The maximum length of a price: 29 digits and a point.
const DIGITS: usize = 30;

/// A price that is written as a JSON number with exactly its digits, and is read from a JSON number without a
/// conversion to a float.
///
/// Only `serde_json` can read it, because other deserialisers do not give access to the digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactPrice(pub Price);

impl Serialize for ExactPrice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_digits(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for ExactPrice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ExactPrice, D::Error> {
        let number = Box::<RawValue>::deserialize(deserializer)?;
        number.get().parse().map(ExactPrice).map_err(D::Error::custom)
    }
}

/// An amount that may be zero: a difference between prices, or a rate. It is written and read like an [`ExactPrice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactAmount(pub Decimal);

impl Serialize for ExactAmount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_digits(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for ExactAmount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ExactAmount, D::Error> {
        let number = Box::<RawValue>::deserialize(deserializer)?;
        let text = number.get();
        let amount = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text));
        amount.map(ExactAmount).map_err(D::Error::custom)
    }
}

/// Writes a decimal that is not negative as a JSON number with exactly its digits.
fn serialize_digits<S: Serializer>(number: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    let mut digits = ArrayString::<DIGITS>::new();
    write!(digits, "{number}").map_err(S::Error::custom)?;
    let number: &RawValue = serde_json::from_str(&digits).map_err(S::Error::custom)?;
    number.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_written_and_read_exactly() {
        for digits in ["97116.17", "97116.170", "73285", "0.00000001", "1000000000"] {
            let price = ExactPrice(digits.parse().unwrap());
            assert_eq!(serde_json::to_string(&price).unwrap(), digits);
            assert_eq!(serde_json::from_str::<ExactPrice>(digits).unwrap(), price);
        }
        for digits in ["0.00", "0", "12.50"] {
            let amount: ExactAmount = serde_json::from_str(digits).unwrap();
            assert_eq!(serde_json::to_string(&amount).unwrap(), digits);
        }
        for text in ["-5", "0", "1e999", r#""97116.17""#, "null"] {
            assert!(serde_json::from_str::<ExactPrice>(text).is_err(), "{text}");
        }
    }
}
