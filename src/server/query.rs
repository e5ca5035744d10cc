//! The query of a request: read once for every door, each wrong value named with what is allowed.

mod candles;
mod history;

pub(super) use candles::CandlesQuery;
pub(super) use history::HistoryQuery;

use super::problem::Problem;
use crate::session::{Pace, Start, Subscription};
use crate::text::{duration, listed, written};
use crate::tick::{Currencies, Currency, TickId};
use crate::view::Format;
use axum::http::HeaderValue;
use std::borrow::Cow;
use std::time::Duration;

/// What clients can choose from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) currencies: Currencies,
    /// What those get who choose none.
    pub(super) default: Currency,
}

/// The names that mean `currency`, and those that mean `since`.
const CURRENCY: [&str; 2] = ["currency", "currencies"];
pub(super) const SINCE: [&str; 3] = ["since", "since_date", "start_timedate"];
const ID_EXAMPLE: &str = "1795166431075";
/// The most ticks that a stream replays where its client sets a limit.
pub const REPLAY_LIMIT: std::ops::RangeInclusive<usize> = 1..=10_000;
/// How far apart updates can be asked to be.
pub const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// How far apart that is, in words.
pub fn periods() -> String {
    format!("a time from {} to {}", written(*EVERY.start()), written(*EVERY.end()))
}

/// Reads the query of a stream. `offer` is what there is to choose from.
pub(super) fn read_subscription(query: &str, default: Format, offer: Offer) -> Result<Subscription, Problem> {
    let mut query = Query::new(query);
    let mut subscription = query.subscription(default, offer);
    subscription.limit = query.limit(&REPLAY_LIMIT);
    subscription.pace = Pace { changes: query.switch("changes"), every: query.every() };
    subscription.client = query.one(&["client_id"], |text| text.parse().map_err(|error| format!("{error}")));
    subscription.hello = query.switch("hello");
    let known = ["currency", "since", "after", "format", "limit", "changes", "every", "client_id", "hello"];
    query.finish(&known)?;
    Ok(subscription)
}

/// Reads the id that an `EventSource` saw last. It sends none before it saw one, and some libraries an empty one.
pub(super) fn read_last_event_id(header: Option<&HeaderValue>) -> Result<Option<TickId>, Problem> {
    let Some(header) = header.filter(|header| !header.is_empty()) else { return Ok(None) };
    let text = String::from_utf8_lossy(header.as_bytes());
    let id = parse_id(text.trim()).map(Some);
    id.ok_or_else(|| {
        Problem::bad_request(format!("Last-Event-ID reads the id of an update ({ID_EXAMPLE}), got {text:?}"))
    })
}

fn parse_id(text: &str) -> Option<TickId> {
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).map(TickId::from_ms)
}

/// Reads the query of a request that begins nowhere, for the newest tick.
pub(super) fn read_latest(query: &str, default: Format, offer: Offer) -> Result<Subscription, Problem> {
    let mut query = Query::new(query);
    let (currencies, format) = (query.currencies(offer), query.format(default));
    query.finish(&["currency", "format"])?;
    Ok(Subscription::new(currencies, format, Start::Latest))
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
            [..] => {
                let what = if names.len() == 1 { names.concat() } else { format!("one of {}", listed(names, "and")) };
                let quoted: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
                format!("{what} may stand once, got {}", listed(&quoted, "and"))
            }
        };
        self.mistakes.push(mistake);
        None
    }

    fn subscription(&mut self, default: Format, offer: Offer) -> Subscription {
        Subscription::new(self.currencies(offer), self.format(default), self.start())
    }

    fn start(&mut self) -> Start {
        let both = self.contradiction();
        let since = self.one(&SINCE, |text| TickId::parse_moment("since", text).map_err(|error| error.to_string()));
        let after = self.one(&["after"], |text| {
            parse_id(text).ok_or_else(|| format!("after reads the id of an update ({ID_EXAMPLE}), got {text:?}"))
        });
        match (since, after) {
            (Some(_), Some(_)) => {
                self.mistakes.push(format!("since and after exclude each other, got {both}"));
                Start::Latest
            }
            (Some(moment), None) => Start::Since(moment),
            (None, Some(id)) => Start::After(id),
            (None, None) => Start::Latest,
        }
    }

    /// Every word that says where to begin, as it was given.
    fn contradiction(&self) -> String {
        let begins = |name: &str| name == "after" || SINCE.contains(&name);
        let words = self.parameters.iter().filter(|(name, _)| begins(name));
        listed(&words.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>(), "and")
    }

    /// The last moment of a part of the history.
    fn until(&mut self) -> TickId {
        let until = self.one(&["until"], |text| TickId::parse_moment("until", text).map_err(|error| error.to_string()));
        until.unwrap_or(TickId::from_ms(u64::MAX))
    }

    fn limit(&mut self, allowed: &std::ops::RangeInclusive<usize>) -> Option<usize> {
        self.one(&["limit"], |text| {
            let limit = text.parse().ok().filter(|limit| allowed.contains(limit));
            limit.ok_or_else(|| {
                format!("limit reads a number from {} to {}, got {text:?}", allowed.start(), allowed.end())
            })
        })
    }

    fn switch(&mut self, name: &'static str) -> bool {
        let on = self.one(&[name], |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{name} reads true or false, got {text:?}")),
        });
        on.unwrap_or(false)
    }

    /// A period, in the words of the settings: `500ms`, `30s`, `5m`, `1h`.
    fn every(&mut self) -> Option<Duration> {
        self.one(&["every"], |text| {
            duration(text)
                .filter(|period| EVERY.contains(period))
                .ok_or_else(|| format!("every reads {}, as 500ms, 30s, 5m or 1h, got {text:?}", periods()))
        })
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
        let names = known.iter().flat_map(|name| match *name {
            "currency" => CURRENCY.to_vec(),
            "since" => SINCE.to_vec(),
            name => vec![name],
        });
        let names = names.collect::<Vec<_>>().join(", ");
        for (name, _) in &self.parameters {
            self.mistakes.push(format!("there is no parameter {name:?}, only {names}"));
        }
        if self.mistakes.is_empty() { Ok(()) } else { Err(Problem::bad_request(self.mistakes.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Offer = Offer { currencies: Currencies::all(), default: Currency::Usd };

    fn read(query: &str) -> Result<Subscription, String> {
        read_subscription(query, Format::Timedate, BOTH).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn without_a_query_it_is_the_latest_price_in_dollars() {
        let expected = Subscription::new(Currency::Usd.into(), Format::Timedate, Start::Latest);
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
        let all = read("changes=true&every=1m&limit=7&client_id=a.b-c_1&hello=true").unwrap();
        assert_eq!(all.pace, Pace { changes: true, every: Some(Duration::from_secs(60)) });
        assert_eq!((all.limit, all.client.unwrap().to_string(), all.hello), (Some(7), "a.b-c_1".to_owned(), true));
    }

    #[test]
    fn every_mistake_is_named_with_what_is_allowed() {
        let cases = [
            ("currency=GBP", r#"currency reads USD or EUR, got "GBP""#),
            ("currency=", r#"currency reads USD or EUR, got """#),
            ("since=yesterday", "since reads RFC 3339"),
            ("start_timedate=12:00", r#"got "12:00""#),
            ("since=1&since_date=2", r#"one of since, since_date and start_timedate may stand once, got "1" and "2""#),
            ("after=1&after=1&after=2", r#"after may stand once, got "1", "1" and "2""#),
            ("after=-1", r#"after reads the id of an update (1795166431075), got "-1""#),
            ("after=", "after reads the id"),
            ("after=99999999999999999999", "after reads the id"),
            ("since_date=1&after=2", r#"since and after exclude each other, got since_date="1" and after="2""#),
            ("format=xml", r#"format reads timedate, timestamp or full, got "xml""#),
            (
                "curency=EUR",
                r#"there is no parameter "curency", only currency, currencies, since, since_date, start_timedate, after, format, limit"#,
            ),
            ("limit=0", r#"limit reads a number from 1 to 10000, got "0""#),
            ("changes=yes", r#"changes reads true or false, got "yes""#),
            ("every=0s", "every reads a time from 100ms to 24h"),
            ("every=30", r#"got "30""#),
            ("every=-5s", r#"got "-5s""#),
            ("client_id=a/b", "client_id reads 1 to 64 letters"),
            ("client_id=", r#"got """#),
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
            read_subscription("currency=EUR", Format::Timedate, Offer { currencies: Currency::Usd.into(), ..BOTH })
                .unwrap_err();
        assert_eq!(problem.detail(), r#"currency reads USD, got "EUR""#);
    }
}
