//! The queries of `/v1/status` and `/v1/sources`.

use super::reader::{QueryReader, SupportedCurrencies};
use crate::api::problem::Problem;
use crate::text::parse_duration;
use crate::tick::Currencies;
use std::time::Duration;

/// Reads `max_age`, if the query has it. If the newest tick is older than `max_age`, the response is 503.
///
/// # Errors
/// 400 that lists the mistakes, at most eight of them.
pub(crate) fn read_max_age(query: &str) -> Result<Option<Duration>, Problem> {
    let mut reader = QueryReader::new(query);
    let max_age = reader.one(&["max_age"], |text| {
        parse_duration(text).ok_or_else(|| format!("invalid max_age {text:?}: expected a duration such as 15s"))
    });
    reader.finish(&["max_age"])?;
    Ok(max_age)
}

/// Reads the currencies in which the sources are reported. The default is every currency of the feed.
///
/// # Errors
/// 400 that lists the mistakes, at most eight of them.
pub(crate) fn read_sources(query: &str, supported: SupportedCurrencies) -> Result<Currencies, Problem> {
    let mut reader = QueryReader::new(query);
    let currencies = reader.currencies_or(supported.currencies, supported.currencies);
    reader.finish(&["currency"])?;
    Ok(currencies)
}
