//! Variables that look like settings but are not, probably because they are misspelt.

use super::lookup::Lookup;
use super::settings::settings;
use std::fmt;

/// The similarity (Jaro-Winkler) above which a known name is suggested.
const SIMILAR: f64 = 0.8;
/// The maximum number of changed letters with which a name without our prefix counts as a typing error. Names such as
/// `REDIS_PORT`, which Kubernetes sets for a service called redis, differ by more letters.
const MAX_CHANGES: usize = 2;

/// A variable that is not a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The setting with the most similar name, if there is a similar one.
    pub nearest: Option<&'static str>,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown variable {}", self.name)?;
        self.nearest.map_or(Ok(()), |nearest| write!(f, ": did you mean {nearest}?"))
    }
}

/// Returns the variables of the environment that look like settings but are not.
pub fn unknown_variables(lookup: &Lookup) -> Vec<UnknownVariable> {
    lookup.variables().filter_map(check).filter(|unknown| !is_spelt_right_too(unknown, lookup)).collect()
}

fn check(name: &str) -> Option<UnknownVariable> {
    let known = || settings().iter().map(|setting| setting.env);
    if known().any(|known| known == name) {
        return None;
    }
    let unknown = |nearest| Some(UnknownVariable { name: name.to_owned(), nearest });
    if let Some(rest) = name.strip_prefix("BTCFEED_") {
        // Most settings begin with `BTCFEED_`, which would make all of them similar. So only the rest is compared.
        let similarity = |known: &str| strsim::jaro_winkler(rest, known.trim_start_matches("BTCFEED_"));
        let similar = known().map(|known| (similarity(known), known)).filter(|(similarity, _)| *similarity > SIMILAR);
        return unknown(similar.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known));
    }
    // The number of changes is at least the difference of the lengths.
    let near = known().filter(|known| known.len().abs_diff(name.len()) <= MAX_CHANGES);
    let changes = |known: &str| strsim::damerau_levenshtein(name, known);
    let nearest = near.map(|known| (changes(known), known)).min().filter(|(changes, _)| *changes <= MAX_CHANGES);
    nearest.and_then(|(_, nearest)| unknown(Some(nearest)))
}

/// Returns true for a variable without our prefix if the setting that it resembles is set. The variable then probably
/// belongs to another program.
fn is_spelt_right_too(unknown: &UnknownVariable, lookup: &Lookup) -> bool {
    !unknown.name.starts_with("BTCFEED_") && unknown.nearest.is_some_and(|nearest| lookup.value(nearest).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(variables: &[&str]) -> Vec<String> {
        let variables = variables.iter().map(|name| ((*name).to_owned(), "x".to_owned()));
        unknown_variables(&Lookup::new([], variables)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn misspelt_variables_get_a_suggestion() {
        for (name, nearest) in [
            ("BTCFEED_INTERVALL", "BTCFEED_INTERVAL"),
            ("BTCFEED_SOURCE", "BTCFEED_SOURCES"),
            ("BTCFEED_REDIS_URL", "REDIS_URL"),
            ("REDIS_URI", "REDIS_URL"),
            ("BTC_FEED_INTERVAL", "BTCFEED_INTERVAL"),
            ("btcfeed_roel", ""),
        ] {
            let expected =
                Some(format!("unknown variable {name}: did you mean {nearest}?")).filter(|_| !nearest.is_empty());
            assert_eq!(unknown(&[name]), Vec::from_iter(expected), "{name}");
        }
        assert_eq!(unknown(&["BTCFEED_XYZ"]), ["unknown variable BTCFEED_XYZ"]);
    }

    #[test]
    fn variables_of_others_are_not_reported() {
        let names = ["PATH", "REDIS_PORT", "REDIS_SERVICE_HOST", "REDIS_PORT_6379_TCP", "RUST_LOG", "RUST_BACKTRACE"];
        assert_eq!(unknown(&names), [] as [&str; 0]);
        assert_eq!(unknown(&["REDIS_URI", "REDIS_URL"]), [] as [&str; 0]);
    }
}
