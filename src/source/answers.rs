//! Reads bytes as answers of exchanges, for the fuzz target `answers` and for the tests of the adapters.

#[cfg(test)]
use super::definition::Definition;
use super::http::{HttpApi, MAX_REASON_CHARS};
use super::registry::DEFINITIONS;
use crate::tick::{Currencies, Currency};
#[cfg(test)]
use {super::http::Reading, crate::tick::TickId};

/// Reads `body` with the adapter of every exchange, and checks the results.
///
/// # Panics
/// If an adapter panics or breaks a rule: each requested currency, and no other, has one observation or one error, the
/// prices and times are valid, and a reason is neither empty nor too long.
pub(crate) fn check_all(body: &[u8]) {
    for currencies in Currency::ALL.into_iter().map(Currencies::from).chain([Currencies::all()]) {
        for definition in DEFINITIONS {
            let currencies = currencies.and(definition.currencies);
            if let (Some(api), false) = (definition.api(), currencies.is_empty()) {
                check(definition.name, api, body, currencies);
            }
        }
    }
}

fn check(name: &str, api: &HttpApi, body: &[u8], currencies: Currencies) {
    let (observations, errors) = api.read_answer(body, currencies);
    for error in &errors {
        assert!((1..=MAX_REASON_CHARS).contains(&error.reason.chars().count()), "{name}: {}", error.reason);
    }
    let priced = observations.iter().map(|seen| Currencies::from(seen.currency));
    let judged: Vec<_> = priced.chain(errors.iter().map(|error| error.currencies)).collect();
    let all = judged.iter().flat_map(|set| set.iter()).collect::<Currencies>();
    assert_eq!(all, currencies, "{name}: each currency has an observation or an error");
    assert_eq!(judged.iter().map(|set| set.len()).sum::<usize>(), all.len(), "{name}: each currency is judged once");
    for seen in &observations {
        assert!(seen.last.is_some() || seen.bid.is_some() && seen.ask.is_some(), "{name}: {seen:?}");
        for price in [seen.bid, seen.ask, seen.last].into_iter().flatten() {
            assert_eq!(price.to_string().parse(), Ok(price), "{name}");
        }
        for time in [seen.time, seen.trade_time].into_iter().flatten() {
            assert!(time.timedate().ends_with('Z'), "{name}: {time:?}");
        }
    }
}

/// Returns what an adapter reads in an answer, one text for each currency.
#[cfg(test)]
pub(super) fn readings(definition: &Definition, body: &[u8], currencies: impl Into<Currencies>) -> Vec<String> {
    let api = definition.api().unwrap();
    let readings = (api.read)(body, currencies.into()).unwrap_or_else(|error| panic!("{}: {error:#}", definition.name));
    let text = |(currency, reading): Reading| {
        let seen = match reading {
            Ok(seen) => seen,
            Err(error) => return format!("{currency} error: {error:#}"),
        };
        let prices = [("bid", seen.bid), ("ask", seen.ask), ("last", seen.last)];
        let volume = ("volume", seen.volume.map(|volume| volume.to_string()));
        let times = [("time", seen.time), ("trade", seen.trade_time)];
        let fields = prices.map(|(name, price)| (name, price.map(|price| price.to_string()))).into_iter();
        let fields = fields.chain([volume]).chain(times.map(|(name, time)| (name, time.map(TickId::timedate))));
        let fields = fields.filter_map(|(name, value)| Some(format!(" {name} {}", value?)));
        format!("{currency}{}", fields.collect::<String>())
    };
    readings.into_iter().map(text).collect()
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
