//! The query of a request: read once for every door, each wrong value named with what is allowed.

use super::problem::Problem;
use crate::session::Start;
use crate::tick::{Currencies, Currency, TickId};
use crate::view::{Format, Framing, View};
use std::borrow::Cow;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) currencies: Currencies,
    pub(super) format: Format,
    pub(super) start: Start,
}

/// What clients can choose from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) currencies: Currencies,
    /// What those get who choose none.
    pub(super) default: Currency,
}

/// A part of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HistoryQuery {
    pub(super) subscription: Subscription,
    /// The last moment.
    pub(super) until: TickId,
    /// The most entries.
    pub(super) limit: usize,
}

/// The names that mean `currency`, and those that mean `since`.
const CURRENCY: [&str; 2] = ["currency", "currencies"];
const SINCE: [&str; 3] = ["since", "since_date", "start_timedate"];
/// The most entries in one answer of the history, and how many there are where nobody says.
const LIMIT: std::ops::RangeInclusive<usize> = 1..=100_000;
const DEFAULT_LIMIT: usize = 1000;

impl Subscription {
    /// Reads the query of a stream. `offer` is what there is to choose from.
    pub(super) fn read(query: &str, default: Format, offer: Offer) -> Result<Subscription, Problem> {
        let mut query = Query::new(query);
        let subscription = query.subscription(default, offer);
        query.finish(&["currency", "since", "after", "format"])?;
        Ok(subscription)
    }

    /// Reads the query of a request that begins nowhere, for the newest tick.
    pub(super) fn read_latest(query: &str, default: Format, offer: Offer) -> Result<Subscription, Problem> {
        let mut query = Query::new(query);
        let (currencies, format) = (query.currencies(offer), query.format(default));
        query.finish(&["currency", "format"])?;
        Ok(Subscription { currencies, format, start: Start::Latest })
    }

    pub(super) fn view(&self, framing: Framing) -> View {
        View { format: self.format, currencies: self.currencies, framing }
    }
}

impl HistoryQuery {
    /// Reads the query of the history.
    pub(super) fn read(query: &str, default: Format, offer: Offer) -> Result<HistoryQuery, Problem> {
        let mut query = Query::new(query);
        let subscription = query.subscription(default, offer);
        let until =
            query.one(&["until"], |text| TickId::parse_moment("until", text).map_err(|error| error.to_string()));
        let limit = query.one(&["limit"], |text| {
            let limit = text.parse().ok().filter(|limit| LIMIT.contains(limit));
            limit.ok_or_else(|| format!("limit reads a number from {} to {}, got {text:?}", LIMIT.start(), LIMIT.end()))
        });
        query.finish(&["currency", "since", "until", "after", "limit", "format"])?;
        let until = until.unwrap_or(TickId::from_ms(u64::MAX));
        Ok(HistoryQuery { subscription, until, limit: limit.unwrap_or(DEFAULT_LIMIT) })
    }
}

/// Parameters, taken out one by one; every mistake is kept, so that all are told at once.
struct Query<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    mistakes: Vec<String>,
}

impl<'a> Query<'a> {
    fn new(query: &'a str) -> Query<'a> {
        Query { parameters: form_urlencoded::parse(query.as_bytes()).collect(), mistakes: Vec::new() }
    }

    /// The values of a parameter, by any of its names.
    fn all(&mut self, names: &[&str]) -> Vec<Cow<'a, str>> {
        let taken = self.parameters.extract_if(.., |(name, _)| names.contains(&&**name));
        taken.map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may stand once at most, by any of its names.
    fn one<T>(&mut self, names: &[&str], read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let values = self.all(names);
        let mistake = match &values[..] {
            [] => return None,
            [value] => match read(value) {
                Ok(value) => return Some(value),
                Err(mistake) => mistake,
            },
            [..] => format!("{} may stand once, got {}", names.join(", "), values.join(" and ")),
        };
        self.mistakes.push(mistake);
        None
    }

    fn subscription(&mut self, default: Format, offer: Offer) -> Subscription {
        let (currencies, format) = (self.currencies(offer), self.format(default));
        let since = self.one(&SINCE, |text| TickId::parse_moment("since", text).map_err(|error| error.to_string()));
        let after = self.one(&["after"], |text| {
            let id = Some(text)
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok());
            id.map(TickId::from_ms)
                .ok_or_else(|| format!("after reads the id of an update (1795166431075), got {text:?}"))
        });
        let start = match (since, after) {
            (Some(_), Some(_)) => {
                self.mistakes.push("since and after exclude each other".to_owned());
                Start::Latest
            }
            (Some(moment), None) => Start::Since(moment),
            (None, Some(id)) => Start::After(id),
            (None, None) => Start::Latest,
        };
        Subscription { currencies, format, start }
    }

    fn format(&mut self, default: Format) -> Format {
        self.one(&["format"], |text| text.parse().map_err(|error| format!("{error}"))).unwrap_or(default)
    }

    fn currencies(&mut self, offer: Offer) -> Currencies {
        let values = self.all(&CURRENCY);
        if values.is_empty() {
            return offer.default.into();
        }
        let served = offer.currencies;
        let mut chosen = Vec::new();
        for code in values.iter().flat_map(|value| value.split(',')) {
            match code.trim().parse::<Currency>().ok().filter(|currency| served.contains(*currency)) {
                Some(currency) => chosen.push(currency),
                None => self.mistakes.push(format!("currency reads {served}, got {code:?}")),
            }
        }
        chosen.into_iter().collect()
    }

    /// Refuses whatever was wrong, and what nobody took: a misspelt name would otherwise be met with silence.
    fn finish(mut self, known: &[&str]) -> Result<(), Problem> {
        for (name, _) in &self.parameters {
            self.mistakes.push(format!("there is no parameter {name:?}, only {}", known.join(", ")));
        }
        if self.mistakes.is_empty() { Ok(()) } else { Err(Problem::bad_request(self.mistakes.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Offer = Offer { currencies: Currencies::all(), default: Currency::Usd };

    fn read(query: &str) -> Result<Subscription, String> {
        Subscription::read(query, Format::Timedate, BOTH).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn without_a_query_it_is_the_latest_price_in_dollars() {
        let expected =
            Subscription { currencies: Currency::Usd.into(), format: Format::Timedate, start: Start::Latest };
        assert_eq!(read(""), Ok(expected));
    }

    #[test]
    fn every_name_of_a_parameter_means_the_same() {
        for query in
            ["currency=USD&currency=EUR", "currencies=usd,eur", "currency=EUR&currencies=USD", "currency=USD,%20EUR"]
        {
            assert_eq!(read(query).unwrap().currencies, Currencies::all(), "{query}");
        }
        for query in ["since=1795166431", "since_date=2026-11-20T09:20:31Z", "start_timedate=2026-11-20T10:20:31+01:00"]
        {
            assert_eq!(read(query).unwrap().start, Start::Since(TickId::from_ms(1_795_166_431_000)), "{query}");
        }
        assert_eq!(read("after=1795166431075").unwrap().start, Start::After(TickId::from_ms(1_795_166_431_075)));
        assert_eq!(read("format=full").unwrap().format, Format::Full);
    }

    #[test]
    fn every_mistake_is_named_with_what_is_allowed() {
        let cases = [
            ("currency=GBP", r#"currency reads USD or EUR, got "GBP""#),
            ("currency=", r#"currency reads USD or EUR, got """#),
            ("since=yesterday", "since reads RFC 3339"),
            ("start_timedate=12:00", r#"got "12:00""#),
            ("since=1&since_date=2", "since, since_date, start_timedate may stand once, got 1 and 2"),
            ("after=-1", r#"after reads the id of an update (1795166431075), got "-1""#),
            ("after=", "after reads the id"),
            ("after=99999999999999999999", "after reads the id"),
            ("since=1&after=2", "since and after exclude each other"),
            ("format=xml", r#"format reads timedate, timestamp or full, got "xml""#),
            ("curency=EUR", r#"there is no parameter "curency", only currency, since, after, format"#),
        ];
        for (query, expected) in cases {
            let detail = read(query).expect_err(query);
            assert!(detail.contains(expected), "{query}: {detail}");
        }
        let all = read("currency=GBP&format=xml&since=x").unwrap_err();
        assert!(all.contains("GBP") && all.contains("xml") && all.contains("\"x\""), "all at once: {all}");
    }

    #[test]
    fn a_currency_that_this_feed_does_not_have_is_refused() {
        let problem =
            Subscription::read("currency=EUR", Format::Timedate, Offer { currencies: Currency::Usd.into(), ..BOTH })
                .unwrap_err();
        assert_eq!(problem.detail(), r#"currency reads USD, got "EUR""#);
    }

    #[test]
    fn the_history_has_an_end_and_a_limit() {
        let read = |query| HistoryQuery::read(query, Format::Timedate, BOTH);
        let query = read("since=0&until=1795166431&limit=7").unwrap();
        assert_eq!((query.until.ms(), query.limit), (1_795_166_431_000, 7));
        for query in ["limit=0", "limit=100001", "limit=many", "until=soon"] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
