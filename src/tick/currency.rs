//! Currencies, and sets of them.

use crate::text::join_list;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A currency that the feed supports, named by its ISO 4217 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// United States dollar.
    Usd,
    /// Euro.
    Eur,
    /// Pound sterling.
    Gbp,
    /// Japanese yen.
    Jpy,
    /// Swiss franc.
    Chf,
    /// Canadian dollar.
    Cad,
    /// Australian dollar.
    Aud,
}

impl Currency {
    /// All currencies. In the formats `timedate` and `timestamp`, a tick is sent as one update for each currency, in
    /// this order.
    pub const ALL: [Currency; 7] =
        [Currency::Usd, Currency::Eur, Currency::Gbp, Currency::Jpy, Currency::Chf, Currency::Cad, Currency::Aud];

    /// Returns the ISO 4217 code in upper case.
    pub const fn code(self) -> &'static str {
        match self {
            Currency::Usd => "USD",
            Currency::Eur => "EUR",
            Currency::Gbp => "GBP",
            Currency::Jpy => "JPY",
            Currency::Chf => "CHF",
            Currency::Cad => "CAD",
            Currency::Aud => "AUD",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The error for a code that is not one of [`Currency::ALL`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid currency {code:?}: expected {all}", all = Currencies::all())]
pub struct UnknownCurrency {
    /// The code that was given.
    pub code: String,
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    /// Parses an ISO 4217 code in upper or lower case.
    fn from_str(code: &str) -> Result<Currency, UnknownCurrency> {
        Currency::ALL
            .into_iter()
            .find(|currency| currency.code().eq_ignore_ascii_case(code))
            .ok_or_else(|| UnknownCurrency { code: code.to_owned() })
    }
}

/// A set of currencies.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currencies(u8);

impl Currencies {
    /// The empty set.
    pub const NONE: Currencies = Currencies(0);

    /// The currencies of a feed whose settings name none.
    pub const USD_EUR: Currencies = Currencies::of(&[Currency::Usd, Currency::Eur]);

    /// Returns the set of `currencies`.
    pub const fn of(currencies: &[Currency]) -> Currencies {
        let (mut set, mut index) = (0, 0);
        while index < currencies.len() {
            set |= 1 << currencies[index] as u8;
            index += 1;
        }
        Currencies(set)
    }

    /// Returns the set of all currencies.
    pub const fn all() -> Currencies {
        Currencies((1 << Currency::ALL.len()) - 1)
    }

    /// Returns true if the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the number of currencies in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Returns true if the set contains `currency`.
    pub fn contains(self, currency: Currency) -> bool {
        self.0 & 1 << currency as u8 != 0
    }

    /// Returns the currencies of this set that are not in `other`.
    pub fn without(self, other: Currencies) -> Currencies {
        Currencies(self.0 & !other.0)
    }

    /// Returns the currencies that are in both sets.
    pub fn and(self, other: Currencies) -> Currencies {
        Currencies(self.0 & other.0)
    }

    /// Returns the members in the order of [`Currency::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Currency> {
        Currency::ALL.into_iter().filter(move |currency| self.contains(*currency))
    }
}

impl fmt::Debug for Currencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
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

impl Currencies {
    /// Returns the codes as a list for people: `USD`, `USD and EUR`.
    pub(crate) fn joined(self, word: &str) -> String {
        join_list(&self.iter().map(Currency::code).collect::<Vec<_>>(), word)
    }
}

/// Formats the set as a list of alternatives: `USD`, `USD or EUR`.
impl fmt::Display for Currencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined("or"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currency_code_parses_in_any_case() {
        assert_eq!("eur".parse(), Ok(Currency::Eur));
        let error = "XBT".parse::<Currency>().unwrap_err();
        assert_eq!(error.to_string(), r#"invalid currency "XBT": expected USD, EUR, GBP, JPY, CHF, CAD or AUD"#);
    }

    #[test]
    fn set_is_ordered_and_has_each_member_once() {
        let both: Currencies = [Currency::Eur, Currency::Usd, Currency::Eur].into_iter().collect();
        assert_eq!(format!("{both:?}"), "{Usd, Eur}");
        assert_eq!(both.iter().collect::<Vec<_>>(), [Currency::Usd, Currency::Eur]);
        assert_eq!((both, both.len()), (Currencies::USD_EUR, 2));
        assert_eq!(both.without(Currency::Usd.into()), Currency::Eur.into());
        let all = Currencies::of(&Currency::ALL);
        assert_eq!((all, all.len()), (Currencies::all(), Currency::ALL.len()));
    }
}
