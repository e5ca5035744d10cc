//! What a bitcoin is priced in, and sets of it.

use crate::text::listed;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A currency that the feed can carry, by its ISO 4217 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// United States dollar.
    Usd,
    /// Euro.
    Eur,
}

impl Currency {
    /// Every currency, in the order in which updates of one tick are sent.
    pub const ALL: [Currency; 2] = [Currency::Usd, Currency::Eur];

    /// The ISO 4217 code in capitals.
    pub const fn code(self) -> &'static str {
        match self {
            Currency::Usd => "USD",
            Currency::Eur => "EUR",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A code that is none of [`Currency::ALL`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("currency reads {all}, got {code:?}", all = Currencies::all())]
pub struct UnknownCurrency {
    /// What was given.
    pub code: String,
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    /// Reads an ISO 4217 code in capitals or small letters.
    fn from_str(code: &str) -> Result<Currency, UnknownCurrency> {
        Currency::ALL
            .into_iter()
            .find(|currency| currency.code().eq_ignore_ascii_case(code))
            .ok_or_else(|| UnknownCurrency { code: code.to_owned() })
    }
}

/// A set of currencies, small enough to be copied into every session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Currencies(u8);

impl Currencies {
    /// The number of different sets, the empty one included.
    pub const SETS: usize = 1 << Currency::ALL.len();

    /// No currency.
    pub const NONE: Currencies = Currencies(0);

    /// Every set there is, the empty one included.
    pub fn sets() -> impl Iterator<Item = Currencies> {
        (0..=Currencies::all().0).map(Currencies)
    }

    /// Every currency there is.
    pub const fn all() -> Currencies {
        Currencies((1 << Currency::ALL.len()) - 1)
    }

    /// Whether the set has no currency in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many currencies are in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether `currency` is in the set.
    pub fn contains(self, currency: Currency) -> bool {
        self.0 & 1 << currency as u8 != 0
    }

    /// What is in this set and not in `other`.
    pub fn without(self, other: Currencies) -> Currencies {
        Currencies(self.0 & !other.0)
    }

    /// What is in both.
    pub fn and(self, other: Currencies) -> Currencies {
        Currencies(self.0 & other.0)
    }

    /// The members, in the order of [`Currency::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Currency> {
        Currency::ALL.into_iter().filter(move |currency| self.contains(*currency))
    }

    /// A number below [`Currencies::SETS`] that is this set's own.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl FromIterator<Currency> for Currencies {
    fn from_iter<I: IntoIterator<Item = Currency>>(currencies: I) -> Currencies {
        Currencies(currencies.into_iter().fold(0, |set, currency| set | 1 << currency as u8))
    }
}

impl From<Currency> for Currencies {
    fn from(currency: Currency) -> Currencies {
        Currencies(1 << currency as u8)
    }
}

/// Written as people list things: `USD`, `USD or EUR`.
impl fmt::Display for Currencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<_> = self.iter().map(Currency::code).collect();
        f.write_str(&listed(&codes, "or"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_read_in_any_case_and_an_unknown_one_is_named() {
        assert_eq!("eur".parse(), Ok(Currency::Eur));
        let error = "GBP".parse::<Currency>().unwrap_err();
        assert_eq!(error.to_string(), r#"currency reads USD or EUR, got "GBP""#);
    }

    #[test]
    fn a_set_keeps_the_order_of_all_and_each_has_its_own_index() {
        let both: Currencies = [Currency::Eur, Currency::Usd].into_iter().collect();
        assert_eq!(both.iter().collect::<Vec<_>>(), Currency::ALL);
        assert_eq!(both.without(Currency::Usd.into()), Currency::Eur.into());
        assert!(both.index() < Currencies::SETS);
        assert_ne!(both.index(), Currencies::from(Currency::Usd).index());
    }
}
