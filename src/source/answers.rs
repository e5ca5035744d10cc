//! Reads arbitrary bytes as the answer of every exchange, for the fuzz target `answers`.

use super::Api;
use super::bitstamp::Bitstamp;
use super::coinbase::Coinbase;
use super::coindesk::CoinDesk;
use super::http::{MAX_REASON_CHARS, read};
use super::kraken::Kraken;
use crate::tick::{Currencies, Currency};

/// Checks what every exchange's adapter makes of `body`.
///
/// # Panics
/// If an adapter panics, returns a price that was not requested or two in one currency, or fails with an unbounded reason.
pub(crate) fn check_all(body: &[u8]) {
    for currencies in [Currencies::all(), Currency::Usd.into(), Currency::Eur.into()] {
        check::<Bitstamp>(body, currencies);
        check::<Coinbase>(body, currencies);
        check::<CoinDesk>(body, currencies);
        check::<Kraken>(body, currencies);
    }
}

fn check<A: Api>(body: &[u8], currencies: Currencies) {
    let observations = match read::<A>(body, currencies) {
        Ok(observations) => observations,
        Err(reason) => {
            assert!((1..=MAX_REASON_CHARS).contains(&reason.chars().count()), "{}: {reason}", A::NAME);
            return;
        }
    };
    assert!(!observations.is_empty(), "{}", A::NAME);
    for (index, seen) in observations.iter().enumerate() {
        assert!(currencies.contains(seen.currency), "{}: {seen:?} was not requested", A::NAME);
        assert!(observations[..index].iter().all(|other| other.currency != seen.currency), "{}: {seen:?}", A::NAME);
        assert_eq!(seen.price.to_string().parse(), Ok(seen.price), "{}", A::NAME);
        if let Some(time) = seen.time {
            assert!(time.timedate().ends_with('Z'), "{}: {time:?}", A::NAME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_for_a_bad_answer_is_bounded() {
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
