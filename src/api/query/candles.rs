//! Query of the candles.

use super::reader::{QueryReader, SupportedCurrencies};
use crate::api::negotiate::Media;
use crate::api::problem::Problem;
use crate::candle::{Interval, Range};
use crate::feed::Start;
use crate::tick::TickId;
use std::ops::RangeInclusive;

/// Range of candles, and the media type if the query has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CandlesQuery {
    pub(crate) range: Range,
    pub(crate) media: Option<Media>,
    /// True if the range depends on the time of the request.
    pub(crate) is_moving: bool,
}

/// The accepted values of `limit`.
const LIMIT: RangeInclusive<usize> = 1..=10_000;
/// The value if the query has no `limit`: the number of minutes in a day.
const DEFAULT_LIMIT: usize = 1440;

impl CandlesQuery {
    /// Reads the query.
    ///
    /// # Errors
    /// 400 that lists the mistakes, at most eight of them.
    pub(crate) fn read(query: &str, supported: SupportedCurrencies) -> Result<CandlesQuery, Problem> {
        let mut query = QueryReader::new(query);
        let interval = query.one(&["interval"], |text| text.parse().map_err(|error| format!("{error}")));
        let currencies = query.currencies(supported);
        let media = query.one(&["format"], |text| {
            Media::named(text).ok_or_else(|| format!("invalid format {text:?}: expected json, ndjson or csv"))
        });
        let after = match query.start() {
            Start::Latest => TickId::ZERO,
            Start::Since(moment) => moment.before(),
            Start::After(id) => id,
        };
        let (until, limit) = (query.until(), query.limit(&LIMIT).unwrap_or(DEFAULT_LIMIT));
        let is_moving = query.is_moving;
        query.finish(&["interval", "currency", "since", "until", "after", "limit", "format"])?;
        let range = Range { interval: interval.unwrap_or(Interval::Minute), currencies, after, until, limit };
        Ok(CandlesQuery { range, media, is_moving })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::{Currencies, Currency};

    fn read(query: &str) -> Result<CandlesQuery, String> {
        let supported = SupportedCurrencies { currencies: Currencies::USD_EUR, default: Currency::Usd };
        CandlesQuery::read(query, supported).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn default_is_a_day_of_minutes_in_dollars() {
        let expected = Range {
            interval: Interval::Minute,
            currencies: Currency::Usd.into(),
            after: TickId::ZERO,
            until: TickId::from_ms(u64::MAX),
            limit: 1440,
        };
        assert_eq!(read(""), Ok(CandlesQuery { range: expected, media: None, is_moving: false }));
    }

    #[test]
    fn since_includes_its_candle_and_after_does_not() {
        assert_eq!(read("since=1795166400").unwrap().range.after.ms(), 1_795_166_399_999);
        assert_eq!(read("after=1795166400000").unwrap().range.after.ms(), 1_795_166_400_000);
    }

    #[test]
    fn mistakes_name_value_and_expectation() {
        for (query, expected) in [
            ("interval=2m", r#""2m""#),
            ("format=full", r#"invalid format "full": expected json, ndjson or csv"#),
            ("limit=10001", r#"invalid limit "10001": expected a number from 1 to 10000"#),
            (
                "from=1",
                r#"unknown parameter "from": expected interval, currency, currencies, since, since_date, start_timedate, until, after, limit, format"#,
            ),
        ] {
            let detail = read(query).expect_err(query);
            assert!(detail.contains(expected), "{query}: {detail}");
        }
    }
}
