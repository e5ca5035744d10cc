//! The list of all sources.

use super::definition::Definition;
use super::{bitstamp, coinbase, coindesk, kraken, simulated};

/// All sources, in the order in which they are listed to people.
pub const DEFINITIONS: [Definition; 5] =
    [coinbase::DEFINITION, kraken::DEFINITION, bitstamp::DEFINITION, coindesk::DEFINITION, simulated::DEFINITION];

/// Returns the source called `name`.
pub fn find(name: &str) -> Option<&'static Definition> {
    const { &DEFINITIONS }.iter().find(|definition| definition.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
            assert_eq!(definition.open(None).unwrap().name(), definition.name);
        }
    }
}
