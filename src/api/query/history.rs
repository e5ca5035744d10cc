//! The query of the history.

use super::reader::{QueryReader, SupportedCurrencies};
use crate::api::negotiate::Media;
use crate::api::problem::Problem;
use crate::encode::Format;
use crate::session::Start;
use crate::tick::{Currencies, TickId};
use std::ops::RangeInclusive;

/// A part of the history, and what it is to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryQuery {
    pub(crate) currencies: Currencies,
    pub(crate) format: Format,
    /// What it is written as, if the query says so.
    pub(crate) media: Option<Media>,
    pub(crate) start: Start,
    /// The last moment.
    pub(crate) until: TickId,
    /// The most entries.
    pub(crate) limit: usize,
}

/// The most entries in one answer, and how many there are where nobody says.
const LIMIT: RangeInclusive<usize> = 1..=100_000;
const DEFAULT_LIMIT: usize = 1000;

impl HistoryQuery {
    pub(crate) fn read(query: &str, default: Format, offer: SupportedCurrencies) -> Result<HistoryQuery, Problem> {
        let mut query = QueryReader::new(query);
        let currencies = query.currencies(offer);
        let (format, media) = query.format_and_media(default);
        let start = match query.start() {
            Start::Latest => Start::Since(TickId::ZERO),
            start => start,
        };
        let (until, limit) = (query.until(), query.limit(&LIMIT).unwrap_or(DEFAULT_LIMIT));
        query.finish(&["currency", "since", "until", "after", "limit", "format"])?;
        Ok(HistoryQuery { currencies, format, media, start, until, limit })
    }
}

impl QueryReader<'_> {
    /// `format` names what an update looks like, what the answer is written as, or both: repeated or with a comma.
    fn format_and_media(&mut self, default: Format) -> (Format, Option<Media>) {
        let (mut format, mut media) = (None, None);
        let values = self.all(&["format"]);
        for word in values.iter().flat_map(|value| value.split(',')).map(str::trim) {
            let before = match (word.parse::<Format>(), Media::named(word)) {
                (Ok(new), _) => format.replace(new).filter(|old| *old != new).map(Format::name),
                (_, Some(new)) => media.replace(new).filter(|old| *old != new).map(Media::name),
                _ => {
                    let mistake =
                        "format reads one of timedate, timestamp, full, one of json, ndjson, csv, or one of each";
                    self.mistakes.push(format!("{mistake}, got {word:?}"));
                    continue;
                }
            };
            if let Some(before) = before {
                self.mistakes.push(format!("format cannot be both {before} and {word}"));
            }
        }
        (format.unwrap_or(default), media)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currency;

    fn read(query: &str) -> Result<HistoryQuery, String> {
        let offer = SupportedCurrencies { currencies: Currencies::all(), default: Currency::Usd };
        HistoryQuery::read(query, Format::Timedate, offer).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn the_history_has_an_end_and_a_limit() {
        let query = read("since=0&until=1795166431&limit=7").unwrap();
        assert_eq!((query.until.ms(), query.limit), (1_795_166_431_000, 7));
        for query in ["limit=0", "limit=100001", "limit=many", "until=soon"] {
            assert!(read(query).is_err(), "{query}");
        }
    }

    #[test]
    fn format_names_fields_and_media_in_any_order() {
        let cases = [
            ("", Format::Timedate, None),
            ("format=csv", Format::Timedate, Some(Media::Csv)),
            ("format=full", Format::Full, None),
            ("format=full,ndjson", Format::Full, Some(Media::Ndjson)),
            ("format=json,%20timestamp", Format::Timestamp, Some(Media::Json)),
            ("format=csv&format=full&format=csv", Format::Full, Some(Media::Csv)),
        ];
        for (query, format, media) in cases {
            let read = read(query).unwrap();
            assert_eq!((read.format, read.media), (format, media), "{query}");
        }
        let cases = [
            ("format=xml", r#"one of json, ndjson, csv, or one of each, got "xml""#),
            ("format=", r#"got """#),
            ("format=full,timedate", "format cannot be both full and timedate"),
            ("format=csv&format=json", "format cannot be both csv and json"),
        ];
        for (query, expected) in cases {
            let detail = read(query).expect_err(query);
            assert!(detail.contains(expected), "{query}: {detail}");
        }
    }
}
