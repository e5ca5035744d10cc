//! The numbers in answers of exchanges. Exchanges write prices as JSON numbers or as text, and some change between the
//! two. Both forms are read, always with all their digits and never as a float.

use super::observation::Observation;
use crate::tick::{Currency, Price, TickId};
use anyhow::{Context, ensure};
use rust_decimal::Decimal;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The text of a JSON number or of a JSON string.
#[derive(Debug)]
pub(super) struct Number(String);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Number::from_json(raw.get()).ok_or_else(|| D::Error::custom("expected a number, or a text with a number"))
    }
}

impl Number {
    /// Reads a JSON value. Returns `None` if it is neither a number nor a string.
    fn from_json(json: &str) -> Option<Number> {
        match json.as_bytes().first()? {
            b'"' => serde_json::from_str(json).ok().map(Number),
            b'-' | b'0'..=b'9' => Some(Number(json.to_owned())),
            _ => None,
        }
    }

    /// Returns true if this is `text`.
    pub(super) fn is(&self, text: &str) -> bool {
        self.0 == text
    }

    /// Parses the text as a Unix time or an RFC 3339 time. `name` is the name of the field, for the error.
    pub(super) fn moment(&self, name: &'static str) -> anyhow::Result<TickId> {
        Ok(TickId::parse_moment(name, &self.0)?)
    }

    fn decimal(&self) -> Option<Decimal> {
        Decimal::from_str_exact(&self.0).or_else(|_| Decimal::from_scientific(&self.0)).ok()
    }

    /// Returns the price. Zero and an empty text mean that there is none: an empty side of a book, or no trade.
    fn price(&self) -> anyhow::Result<Option<Price>> {
        let is_empty = self.0.is_empty() || self.decimal().is_some_and(|number| number.is_zero());
        Ok(if is_empty { None } else { Some(self.0.parse()?) })
    }
}

/// The numbers of an answer that describe the market in one currency.
#[derive(Debug, Default)]
pub(super) struct Quote {
    pub(super) bid: Option<Number>,
    pub(super) ask: Option<Number>,
    pub(super) last: Option<Number>,
    pub(super) volume: Option<Number>,
    /// The time of the whole answer.
    pub(super) time: Option<TickId>,
}

impl Quote {
    /// Returns the observation.
    ///
    /// # Errors
    /// If a price is invalid, or if there is neither a last trade nor a book with two sides.
    pub(super) fn observe(&self, currency: Currency) -> anyhow::Result<Observation> {
        let price = |number: &Option<Number>| number.as_ref().map_or(Ok(None), Number::price);
        let observation = Observation {
            currency,
            bid: price(&self.bid).context("bid")?,
            ask: price(&self.ask).context("ask")?,
            last: price(&self.last).context("last trade")?,
            volume: self.volume.as_ref().and_then(Number::decimal).filter(|volume| !volume.is_sign_negative()),
            time: self.time,
            trade_time: None,
        };
        let has_book = observation.bid.is_some() && observation.ask.is_some();
        ensure!(has_book || observation.last.is_some(), "neither a last trade nor a book with two sides in {currency}");
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(json: &str) -> Option<Number> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn number_keeps_the_digits_of_both_forms() {
        for (json, text) in [
            (r#""73367.80""#, "73367.80"),
            ("73367.80", "73367.80"),
            ("106611.90280000000001", "106611.90280000000001"),
            (r#""9.7e4""#, "97000"),
            ("9.7E+4", "97000"),
            ("123456789.123456789", "123456789.123456789"),
        ] {
            let quote = Quote { last: number(json), ..Quote::default() };
            assert_eq!(quote.observe(Currency::Usd).unwrap().last.unwrap().to_string(), text, "{json}");
        }
        for json in ["true", "null", "[1]", r#"{"a":1}"#, "1,000", "01"] {
            assert!(number(json).is_none(), "{json}");
        }
    }

    #[test]
    fn empty_side_of_a_book_has_no_price() {
        for empty in [r#""0""#, "0", "0.00", r#""""#, r#""0.00000""#] {
            let quote = Quote { bid: number(empty), ask: number("100"), last: number("99"), ..Quote::default() };
            let seen = quote.observe(Currency::Usd).unwrap();
            assert_eq!((seen.bid, seen.ask), (None, "100".parse().ok()), "{empty}");
            let quote = Quote { last: None, ..quote };
            assert!(quote.observe(Currency::Usd).is_err(), "{empty}: half a book is no price");
            let quote = Quote { bid: number("98"), ask: number("100"), last: number(empty), ..Quote::default() };
            let seen = quote.observe(Currency::Usd).unwrap();
            assert_eq!((seen.ask, seen.last), ("100".parse().ok(), None), "{empty}: a book without a trade");
        }
    }

    #[test]
    fn book_alone_is_enough_and_may_be_crossed() {
        let quote = Quote { bid: number("101"), ask: number("100"), last: number(r#""""#), ..Quote::default() };
        let seen = quote.observe(Currency::Eur).unwrap();
        assert_eq!((seen.bid, seen.ask, seen.last), ("101".parse().ok(), "100".parse().ok(), None));
    }

    #[test]
    fn invalid_price_is_an_error_and_a_volume_is_not() {
        for json in ["-1", r#""NaN""#, r#""1,000.0""#, r#""soon""#, "1e30"] {
            let bid = Quote { bid: number(json), last: number("100"), ..Quote::default() };
            assert!(
                format!("{:#}", bid.observe(Currency::Usd).unwrap_err()).starts_with("bid: invalid price"),
                "{json}"
            );
            assert!(Quote { last: number(json), ..Quote::default() }.observe(Currency::Usd).is_err(), "{json}");
        }
        assert!(Quote { last: number("0.00"), ..Quote::default() }.observe(Currency::Usd).is_err());
        for (json, volume) in [(r#""1207.50668151""#, Some("1207.50668151")), ("-1", None), (r#""many""#, None)] {
            let quote = Quote { last: number("1"), volume: number(json), ..Quote::default() };
            let seen = quote.observe(Currency::Usd).unwrap();
            assert_eq!(seen.volume.map(|volume| volume.to_string()).as_deref(), volume);
        }
    }
}
