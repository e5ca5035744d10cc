//! Reads arbitrary bytes as the answer of every exchange, for the fuzz target `answers`.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, MAX_REASON_CHARS};
use super::registry::DEFINITIONS;
use crate::tick::{Currencies, Currency};

/// Reads `body` with the adapter of every exchange, and checks the results.
///
/// # Panics
/// If an adapter panics, returns a price that was not requested, two prices in one currency, or a reason that is empty
/// or too long.
pub(crate) fn check_all(body: &[u8]) {
    for currencies in [Currencies::all(), Currency::Usd.into(), Currency::Eur.into()] {
        for Definition { name, origin, .. } in DEFINITIONS {
            if let Origin::Http(api) = origin {
                check(name, &api, body, currencies);
            }
        }
    }
}

fn check(name: &str, api: &HttpApi, body: &[u8], currencies: Currencies) {
    let observations = match api.read_answer(body, currencies) {
        Ok(observations) => observations,
        Err(reason) => {
            assert!((1..=MAX_REASON_CHARS).contains(&reason.chars().count()), "{name}: {reason}");
            return;
        }
    };
    assert!(!observations.is_empty(), "{name}");
    for (index, seen) in observations.iter().enumerate() {
        assert!(currencies.contains(seen.currency), "{name}: {seen:?} was not requested");
        assert!(observations[..index].iter().all(|other| other.currency != seen.currency), "{name}: {seen:?}");
        assert_eq!(seen.price.to_string().parse(), Ok(seen.price), "{name}");
        if let Some(time) = seen.time {
            assert!(time.timedate().ends_with('Z'), "{name}: {time:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_for_a_bad_answer_is_bounded() {
        let long = "x".repeat(60_000);
        let answers = [
            format!(r#"{{"error":["{long}"]}}"#),
            format!(r#"{{"timestamp":"{long}","last":"73285"}}"#),
            format!(r#"{{"price":"1","time":"{long}"}}"#),
            long,
        ];
        for answer in &answers {
            check_all(answer.as_bytes());
        }
    }
}
