//! The query of the candles.

use super::reader::{QueryReader, SupportedCurrencies};
use crate::api::negotiate::Media;
use crate::api::problem::Problem;
use crate::candle::{Interval, Range};
use crate::session::Start;
use crate::tick::TickId;
use std::ops::RangeInclusive;

/// Which candles, and what the answer is written as, if the query says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CandlesQuery {
    pub(crate) range: Range,
    pub(crate) media: Option<Media>,
}

/// The most candles in one answer, and how many there are where nobody says: a day of minutes.
const LIMIT: RangeInclusive<usize> = 1..=10_000;
const DEFAULT_LIMIT: usize = 1440;

impl CandlesQuery {
    pub(crate) fn read(query: &str, offer: SupportedCurrencies) -> Result<CandlesQuery, Problem> {
        let mut query = QueryReader::new(query);
        let interval = query.one(&["interval"], |text| text.parse().map_err(|error| format!("{error}")));
        let currencies = query.currencies(offer);
        let media = query.one(&["format"], |text| {
            Media::named(text).ok_or_else(|| format!("format reads json, ndjson or csv, got {text:?}"))
        });
        let after = match query.start() {
            Start::Latest => TickId::ZERO,
            Start::Since(moment) => moment.before(),
            Start::After(id) => id,
        };
        let (until, limit) = (query.until(), query.limit(&LIMIT).unwrap_or(DEFAULT_LIMIT));
        query.finish(&["interval", "currency", "since", "until", "after", "limit", "format"])?;
        let range = Range { interval: interval.unwrap_or(Interval::Minute), currencies, after, until, limit };
        Ok(CandlesQuery { range, media })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::{Currencies, Currency};

    fn read(query: &str) -> Result<CandlesQuery, String> {
        let offer = SupportedCurrencies { currencies: Currencies::all(), default: Currency::Usd };
        CandlesQuery::read(query, offer).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn without_a_query_it_is_the_first_day_of_minutes_in_dollars() {
        let expected = Range {
            interval: Interval::Minute,
            currencies: Currency::Usd.into(),
            after: TickId::ZERO,
            until: TickId::from_ms(u64::MAX),
            limit: 1440,
        };
        assert_eq!(read(""), Ok(CandlesQuery { range: expected, media: None }));
    }

    #[test]
    fn a_candle_that_begins_at_since_is_in_and_at_after_is_not() {
        assert_eq!(read("since=1795166400").unwrap().range.after.ms(), 1_795_166_399_999);
        assert_eq!(read("after=1795166400000").unwrap().range.after.ms(), 1_795_166_400_000);
    }

    #[test]
    fn every_mistake_is_named_with_what_is_allowed() {
        for (query, expected) in [
            ("interval=2m", r#"interval reads 1m, 5m or 1h, got "2m""#),
            ("format=full", r#"format reads json, ndjson or csv, got "full""#),
            ("limit=10001", r#"limit reads a number from 1 to 10000, got "10001""#),
            (
                "from=1",
                r#"there is no parameter "from", only interval, currency, currencies, since, since_date, start_timedate, until, after, limit, format"#,
            ),
        ] {
            let detail = read(query).expect_err(query);
            assert!(detail.contains(expected), "{query}: {detail}");
        }
    }
}
