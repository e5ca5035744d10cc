//! Entry points of the fuzz targets in `fuzz/`. This module exists only for them and for the tests.

use crate::admission::client_address;
use crate::api::problem::Problem;
use crate::api::query::{
    CandlesQuery, HistoricalPriceQuery, HistoryQuery, PriceAtQuery, SupportedCurrencies, UdfHistoryQuery,
    UdfSearchQuery, read_last_event_id, read_latest, read_max_age, read_sources, read_subscription, read_udf_symbol,
};
use crate::encode::Format;
use crate::net::{proxy_protocol, request_head};
use crate::session::{EVERY, REPLAY_LIMIT};
use crate::source;
use crate::text::quotable;
use crate::tick::{Currencies, Currency, TickId};
use crate::tls;
use crate::wire::websocket::oracle;
use axum::http::HeaderValue;

/// Parses the input as the answer of each exchange.
///
/// # Panics
/// If an adapter panics, does not return exactly one price or error for each requested currency, or gives a reason that
/// is empty or too long.
pub fn answers(input: &[u8]) {
    source::answers::check_all(input);
}

/// Decodes the input as WebSocket frames with btcfeed's decoder and with tungstenite. The first four bytes of the input
/// are the lengths of the pieces in which the frames arrive, the others are the frames.
///
/// # Panics
/// If the results differ.
pub fn frames(input: &[u8]) {
    oracle::fuzz(input);
}

/// Performs a TLS handshake with a client whose bytes are changed. The first four bytes of the input are the lengths of
/// the pieces in which the client's bytes arrive, the others say what is changed.
///
/// # Panics
/// If the outcome depends on the pieces, or if the server accepts too many bytes before the handshake is done.
pub fn handshakes(input: &[u8]) {
    tls::check_handshake(input);
}

/// Reads the input as the first bytes of a connection.
///
/// # Panics
/// If the decision about the connection depends on the pieces in which the bytes arrive.
pub fn head(input: &[u8]) {
    request_head::check(input);
}

/// Reads the input as the headers of HTTP proxies, one value a line, and as a header of the PROXY protocol.
///
/// # Panics
/// If a client can choose its address, or if the decision about a PROXY header depends on the pieces in which it
/// arrives.
pub fn proxies(input: &[u8]) {
    client_address::check(input);
    proxy_protocol::check(input);
}

/// Parses the input as the query of every route with parameters, and as a `Last-Event-ID`.
///
/// # Panics
/// If a parser panics, accepts a value out of bounds, or rejects a value without naming it.
pub fn query(input: &[u8]) {
    let supported = SupportedCurrencies { currencies: Currencies::USD_EUR, default: Currency::Usd };
    let query = String::from_utf8_lossy(input);
    let subscription = read_subscription(&query, Format::Timedate, supported);
    if let Ok(subscription) = &subscription {
        assert!(subscription.limit.is_none_or(|limit| REPLAY_LIMIT.contains(&limit)));
        assert!(subscription.throttle.every.is_none_or(|every| EVERY.contains(&every)));
    }
    let readers = [
        subscription.map(drop),
        read_latest(&query, Format::Timedate, supported).map(drop),
        HistoryQuery::read(&query, Format::Timedate, supported).map(drop),
        CandlesQuery::read(&query, supported).map(drop),
        PriceAtQuery::read(&query, supported).map(drop),
        HistoricalPriceQuery::read(&query, supported).map(drop),
        UdfHistoryQuery::read(&query, supported, TickId::FIRST_DAY).map(drop),
        UdfSearchQuery::read(&query).map(drop),
        read_udf_symbol(&query, supported).map(drop),
        read_max_age(&query).map(drop),
        read_sources(&query, supported).map(drop),
    ];
    for problem in readers.into_iter().filter_map(Result::err) {
        assert!(names_what_it_rejects(&query, &problem), "{}", problem.detail());
    }
    if let Ok(header) = HeaderValue::from_bytes(input)
        && let Err(problem) = read_last_event_id(Some(&header))
    {
        assert!(
            problem.detail().contains(&format!("invalid Last-Event-ID {:?}", quotable(&query, 40))),
            "{}",
            problem.detail()
        );
    }
}

/// Reads the input as TLS records, and interprets each record as if it had been decrypted already. The first four bytes
/// of the input are the lengths of the pieces in which the records arrive, the others are the records.
///
/// # Panics
/// If the records depend on the pieces, if more than one record is buffered, or if a flood of records without data is
/// accepted.
pub fn records(input: &[u8]) {
    tls::check_records(input);
}

/// Returns true if the detail quotes a name, a value, or a part of a value between commas, or reports conflicting
/// formats or the length of the query.
fn names_what_it_rejects(query: &str, problem: &Problem) -> bool {
    let detail = problem.detail();
    let quotes =
        |word: &str| [usize::MAX, 40, 20].iter().any(|max| detail.contains(&format!("{:?}", quotable(word, *max))));
    let quotes_name = |name: &str| quotes(name) || name.strip_suffix("[]").is_some_and(quotes);
    let quotes_value = |value: &str| quotes(value) || value.split(',').any(|part| quotes(part) || quotes(part.trim()));
    let is_too_long = detail.contains(&format!("query of {} bytes: expected at most", query.len()));
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| quotes_name(&name) || quotes_value(&value))
        || is_too_long
        || detail.contains("conflicting format")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn seeds_of_the_fuzz_targets_pass() {
        type Target = fn(&[u8]);
        for (target, run) in [
            ("answers", answers as Target),
            ("frames", frames),
            ("handshakes", handshakes),
            ("head", head),
            ("proxies", proxies),
            ("query", query),
            ("records", records),
        ] {
            let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
            for seed in fs::read_dir(seeds).unwrap() {
                run(&fs::read(seed.unwrap().path()).unwrap());
            }
        }
    }
}
