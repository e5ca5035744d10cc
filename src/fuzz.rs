//! Doors for the fuzz targets in `fuzz/`, which hold the server against what strangers may send. Only they and the tests
//! have them.

use crate::api::problem::Problem;
use crate::api::query::{
    CandlesQuery, HistoryQuery, SupportedCurrencies, read_last_event_id, read_latest, read_subscription,
};
use crate::encode::Format;
use crate::session::{EVERY, REPLAY_LIMIT};
use crate::tick::{Currencies, Currency};
use crate::wire::websocket::oracle;
use axum::http::HeaderValue;

/// Reads a WebSocket's bytes with our decoder and with tungstenite: four lengths of pieces, and the stream to cut into them.
///
/// # Panics
/// If the two do not agree.
pub fn frames(made: &[u8]) {
    oracle::fuzz(made);
}

/// Reads a query as each door does that takes one, and a `Last-Event-ID`.
///
/// # Panics
/// If one panics, takes what is out of bounds, or refuses something without naming it.
pub fn query(made: &[u8]) {
    let offer = SupportedCurrencies { currencies: Currencies::all(), default: Currency::Usd };
    let query = String::from_utf8_lossy(made);
    let subscription = read_subscription(&query, Format::Timedate, offer);
    if let Ok(subscription) = &subscription {
        assert!(subscription.limit.is_none_or(|limit| REPLAY_LIMIT.contains(&limit)));
        assert!(subscription.throttle.every.is_none_or(|every| EVERY.contains(&every)));
    }
    let doors = [
        subscription.map(drop),
        read_latest(&query, Format::Timedate, offer).map(drop),
        HistoryQuery::read(&query, Format::Timedate, offer).map(drop),
        CandlesQuery::read(&query, offer).map(drop),
    ];
    for problem in doors.into_iter().filter_map(Result::err) {
        assert!(names_what_it_refuses(&query, &problem), "{}", problem.detail());
    }
    if let Ok(header) = HeaderValue::from_bytes(made)
        && let Err(problem) = read_last_event_id(Some(&header))
    {
        assert!(problem.detail().ends_with(&format!("got {query:?}")), "{}", problem.detail());
    }
}

/// Whether the detail quotes a name or a value of the query, whole or up to a comma, or names two that contradict each other.
fn names_what_it_refuses(query: &str, problem: &Problem) -> bool {
    let quotes = |word: &str| problem.detail().contains(&format!("{word:?}"));
    let contradicts = "format cannot be both";
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
        quotes(&name) || quotes(&value) || value.split(',').any(|part| quotes(part) || quotes(part.trim()))
    }) || problem.detail().contains(contradicts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn what_the_fuzz_targets_begin_with_passes() {
        for (target, door) in [("frames", frames as fn(&[u8])), ("query", query)] {
            let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
            for seed in fs::read_dir(seeds).unwrap() {
                door(&fs::read(seed.unwrap().path()).unwrap());
            }
        }
    }
}
