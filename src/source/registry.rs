//! The list of all sources.

use super::definition::Definition;
use super::{
    binance, bitfinex, bitflyer, bitstamp, bitvavo, btcmarkets, coinbase, coinbase_spot, coindesk, coingecko,
    cryptocom, gemini, independentreserve, kraken, simulated,
};

/// All sources, in the order in which they are listed to people.
pub const DEFINITIONS: [Definition; 15] = [
    coinbase::DEFINITION,
    kraken::DEFINITION,
    bitstamp::DEFINITION,
    gemini::DEFINITION,
    bitfinex::DEFINITION,
    bitvavo::DEFINITION,
    binance::DEFINITION,
    cryptocom::DEFINITION,
    bitflyer::DEFINITION,
    btcmarkets::DEFINITION,
    independentreserve::DEFINITION,
    coinbase_spot::DEFINITION,
    coingecko::DEFINITION,
    coindesk::DEFINITION,
    simulated::DEFINITION,
];

/// Returns the source called `name`.
pub fn find(name: &str) -> Option<&'static Definition> {
    const { &DEFINITIONS }.iter().find(|definition| definition.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Endpoint, is_http_url};
    use crate::tick::Currency;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn names_and_variables_are_distinct() {
        let names: BTreeSet<_> = DEFINITIONS.iter().map(|definition| definition.name).collect();
        assert_eq!(names.len(), DEFINITIONS.len());
        for definition in &DEFINITIONS {
            assert_eq!(find(definition.name).unwrap().title, definition.title);
            if let Some(api) = definition.api() {
                let expected = format!("BTCFEED_SOURCE_{}_URL", definition.name.to_ascii_uppercase());
                assert_eq!(api.url_variable, expected);
            }
        }
        assert!(find("mtgox").is_none());
    }

    #[test]
    fn every_source_opens_at_its_own_url() {
        for definition in &DEFINITIONS {
            let opened = definition.open(&Endpoint::default());
            if definition.api().is_some_and(|api| api.base_url.is_none()) {
                let error = opened.err().unwrap().to_string();
                assert_eq!(error, "coindesk has no public host: set BTCFEED_SOURCE_COINDESK_URL");
                continue;
            }
            let opened = opened.unwrap();
            assert_eq!((opened.name(), opened.currencies()), (definition.name, definition.currencies));
        }
    }

    #[test]
    fn every_currency_has_three_sources_or_more() {
        let has = |currency| move |definition: &&Definition| definition.currencies.contains(currency);
        for currency in Currency::ALL {
            let real = DEFINITIONS.iter().filter(|definition| definition.api().is_some());
            assert!(real.filter(has(currency)).count() > 2, "{currency}");
        }
        let default: Vec<_> = DEFINITIONS.iter().filter(|definition| definition.is_default).collect();
        let names: Vec<_> = default.iter().map(|definition| definition.name).collect();
        assert_eq!(names, ["coinbase", "kraken", "bitstamp", "gemini", "bitfinex"]);
    }

    #[test]
    fn real_source_has_limits_and_links() {
        for definition in DEFINITIONS.iter().filter(|definition| definition.api().is_some()) {
            let links = [definition.attribution, definition.terms];
            assert!(links.iter().all(|link| link.is_some_and(is_http_url)), "{}", definition.name);
            assert!(definition.least_interval >= Duration::from_millis(100), "{}", definition.name);
        }
    }
}
