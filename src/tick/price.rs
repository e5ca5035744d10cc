//! An exact price.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The price of one bitcoin: a decimal above zero with exactly the source's digits (`73367.8` stays `73367.8`).
///
/// Its text form is a valid JSON number. In the store it is a JSON string, so that no reader parses it as a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Price(Decimal);

/// The lowest price. Sums and quotients of prices between this and [`LARGEST`] fit into a `Decimal`.
const SMALLEST: Decimal = Decimal::from_parts(1, 0, 0, false, 8);
/// The highest price.
const LARGEST: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// The error for a text that is not a price.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid price {0:?}: expected a decimal from 0.00000001 to 1000000000")]
pub struct InvalidPrice(pub String);

impl Price {
    /// Returns the price with this value, if it is between the lowest and the highest price.
    pub fn new(value: Decimal) -> Option<Price> {
        (SMALLEST..=LARGEST).contains(&value).then_some(Price(value))
    }

    /// Returns the price as a decimal, for arithmetic.
    pub const fn value(self) -> Decimal {
        self.0
    }

    /// Returns the exact mean of two prices.
    pub fn midpoint(self, other: Price) -> Price {
        Price((self.0 + other.0) / Decimal::TWO)
    }

    /// Returns the price rounded to two decimals, for display.
    pub fn rounded(self) -> Decimal {
        let mut rounded = self.0.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
        rounded.rescale(2);
        rounded
    }

    /// Returns this price minus `earlier`.
    pub fn change_from(self, earlier: Price) -> Decimal {
        self.0 - earlier.0
    }

    /// Returns the distance of `other` from this price, as a share of this price.
    pub fn deviation(self, other: Price) -> Decimal {
        (self.0 - other.0).abs() / self.0
    }
}

impl FromStr for Price {
    type Err = InvalidPrice;

    /// Parses a plain decimal (`97116.17`) or, as JSON allows, one with an exponent (`9.7e4`).
    fn from_str(text: &str) -> Result<Price, InvalidPrice> {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let number = if plain {
            Decimal::from_str_exact(text)
        } else {
            // The crate would skip underscores between digits. It rejects an empty text.
            Decimal::from_scientific(if text.contains('_') { "" } else { text })
        };
        match number {
            Ok(number) => Price::new(number),
            Err(_) => None,
        }
        .ok_or_else(|| InvalidPrice(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn source_digits_are_preserved() {
        for digits in ["73367.8", "30303.20000", "73285", "106611.9028", "0.00000001"] {
            assert_eq!(price(digits).to_string(), digits);
            let stored = serde_json::to_string(&price(digits)).unwrap();
            assert_eq!(stored, format!("{digits:?}"), "the store keeps prices as strings");
            assert_eq!(serde_json::from_str::<Price>(&stored).unwrap(), price(digits));
        }
        assert_eq!(price("9.7e4").to_string(), "97000");
    }

    #[test]
    fn midpoint_is_exact() {
        assert_eq!(price("73367.8").midpoint(price("73285")), price("73326.4"));
        assert_eq!(price("1.00").midpoint(price("1.01")), price("1.005"));
        assert_eq!(price("0.00000001").midpoint(price("0.00000002")), price("0.000000015"));
    }

    #[test]
    fn invalid_prices_are_rejected() {
        for text in [
            "",
            "0",
            "0.00",
            "-1",
            "NaN",
            "inf",
            "1,000.0",
            "12a",
            "9_7e4",
            "97_000",
            ".",
            "1e30",
            "1e-9",
            "0.0000000000000000000000000001",
            "99999999999999999999999999999999",
        ] {
            assert!(text.parse::<Price>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn change_is_exact_and_signed() {
        assert_eq!(price("97116.17").change_from(price("97116.2")).to_string(), "-0.03");
    }

    #[test]
    fn deviation_is_relative_to_the_first_price() {
        assert_eq!(price("100").deviation(price("95")).to_string(), "0.05");
        assert_eq!(price("100").deviation(price("105")).to_string(), "0.05");
        let (lowest, highest) = (price("0.00000001"), price("1000000000"));
        assert!(lowest.deviation(highest) > highest.deviation(lowest), "the extremes do not overflow");
        assert!(lowest.midpoint(highest) > lowest);
    }
}
