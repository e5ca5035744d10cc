//! Query of the history.

use super::reader::{QueryReader, SupportedCurrencies, quoted};
use crate::api::negotiate::Media;
use crate::api::page::Order;
use crate::api::problem::Problem;
use crate::encode::Format;
use crate::feed::Start;
use crate::tick::{Currencies, TickId};
use std::ops::RangeInclusive;

/// Query of the history: a range of entries, and the format of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryQuery {
    /// The currencies whose prices are in the response.
    pub(crate) currencies: Currencies,
    /// The format of updates.
    pub(crate) format: Format,
    /// Media type, if the query has one.
    pub(crate) media: Option<Media>,
    /// The beginning of the range. Without `since` and `after`, it is the first entry that is kept.
    pub(crate) start: Start,
    /// The inclusive upper bound of the ids.
    pub(crate) until: TickId,
    /// True if the response has statuses and gaps also in a format that otherwise has none.
    pub(crate) notices: bool,
    /// The order of the entries in the response.
    pub(crate) order: Order,
    /// The maximum number of entries in the response.
    pub(crate) limit: usize,
    /// True if the range depends on the time of the request.
    pub(crate) is_moving: bool,
}

/// The accepted values of `limit`.
const LIMIT: RangeInclusive<usize> = 1..=100_000;
/// The value if the query has no `limit`.
const DEFAULT_LIMIT: usize = 1000;

impl HistoryQuery {
    /// Reads the query.
    ///
    /// # Errors
    /// 400 that lists the mistakes, at most eight of them.
    pub(crate) fn read(query: &str, default: Format, supported: SupportedCurrencies) -> Result<HistoryQuery, Problem> {
        let mut query = QueryReader::new(query);
        let currencies = query.currencies(supported);
        let (format, media) = query.format_and_media(default);
        let start = match query.start() {
            Start::Latest => Start::Since(TickId::ZERO),
            start => start,
        };
        let (until, order, notices) = (query.until(), query.order(), query.switch("notices"));
        let limit = query.limit(&LIMIT).unwrap_or(DEFAULT_LIMIT);
        let is_moving = query.is_moving;
        query.finish(&["currency", "since", "until", "after", "order", "limit", "format", "notices"])?;
        Ok(HistoryQuery { currencies, format, media, start, until, notices, order, limit, is_moving })
    }
}

impl QueryReader<'_> {
    fn order(&mut self) -> Order {
        let order = self.one(&["order"], |text| match text.to_ascii_lowercase().as_str() {
            "asc" => Ok(Order::Ascending),
            "desc" => Ok(Order::Descending),
            _ => Err(format!("invalid order {text:?}: expected asc (oldest first) or desc (newest first)")),
        });
        order.unwrap_or_default()
    }

    /// Reads `format`: the format of updates, the media type, or both. Both can be given as two parameters or in one,
    /// separated by a comma.
    fn format_and_media(&mut self, default: Format) -> (Format, Option<Media>) {
        let (mut format, mut media) = (None, None);
        let values = self.all(&["format"]);
        for word in values.iter().flat_map(|value| value.split(',')).map(str::trim) {
            let conflicting = match (word.parse::<Format>(), Media::named(word)) {
                (Ok(new), _) => format.replace(new).filter(|old| *old != new).map(Format::name),
                (_, Some(new)) => media.replace(new).filter(|old| *old != new).map(Media::name),
                _ => {
                    let expected =
                        "the fields (timedate, timestamp, full or audit), the form (json, ndjson or csv), or both";
                    self.errors.push(&format!("invalid format {:?}: expected {expected}", quoted(word)));
                    continue;
                }
            };
            if let Some(conflicting) = conflicting {
                self.errors.push(&format!("conflicting format {conflicting:?} and {word:?}: expected one of them"));
            }
        }
        if (format, media) == (Some(Format::Audit), Some(Media::Csv)) {
            self.errors.push("conflicting format \"audit\" and \"csv\": expected json or ndjson with audit");
        }
        (format.unwrap_or(default), media)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currency;

    fn read(query: &str) -> Result<HistoryQuery, String> {
        let supported = SupportedCurrencies { currencies: Currencies::USD_EUR, default: Currency::Usd };
        HistoryQuery::read(query, Format::Timedate, supported).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn history_has_an_end_and_a_limit() {
        let query = read("since=0&until=1795166431&limit=7").unwrap();
        assert_eq!((query.until.ms(), query.limit), (1_795_166_431_000, 7));
        for query in ["limit=0", "limit=100001", "limit=many", "until=soon"] {
            assert!(read(query).is_err(), "{query}");
        }
    }

    #[test]
    fn order_is_a_word_in_any_case() {
        for (query, order) in
            [("", Order::Ascending), ("order=asc", Order::Ascending), ("order=DESC", Order::Descending)]
        {
            assert_eq!(read(query).unwrap().order, order, "{query}");
        }
        let mistake = r#"invalid order "newest": expected asc (oldest first) or desc (newest first)"#;
        assert_eq!(read("order=newest"), Err(mistake.to_owned()));
    }

    #[test]
    fn range_before_now_moves() {
        for query in ["since=10m", "since=2026-11-20&until=5m", "start_timedate=1h"] {
            assert!(read(query).unwrap().is_moving, "{query}");
        }
        for query in ["", "since=0", "since=2026-11-20&until=1795166431", "after=1795166431075"] {
            assert!(!read(query).unwrap().is_moving, "{query}");
        }
    }

    #[test]
    fn length_of_a_query_is_bounded() {
        let query = |bytes: usize| format!("currency=USD{}", ",USD".repeat(bytes / 4 - 3));
        assert!(read(&query(1024)).is_ok());
        assert_eq!(read(&query(1028)), Err("query of 1028 bytes: expected at most 1024".to_owned()));
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
            (
                "format=xml",
                r#"invalid format "xml": expected the fields (timedate, timestamp, full or audit), the form (json, ndjson or csv), or both"#,
            ),
            ("format=", r#"invalid format """#),
            ("format=full,timedate", r#"conflicting format "full" and "timedate": expected one of them"#),
            ("format=audit,csv", r#"conflicting format "audit" and "csv": expected json or ndjson with audit"#),
            ("format=csv&format=json", r#"conflicting format "csv" and "json": expected one of them"#),
        ];
        for (query, expected) in cases {
            let detail = read(query).expect_err(query);
            assert!(detail.contains(expected), "{query}: {detail}");
        }
    }
}
