//! Reader of a query's parameters. It collects all mistakes, so that they are reported together.

use crate::api::problem::Problem;
use crate::api::request_errors::RequestErrors;
use crate::encode::Format;
use crate::feed::Start;
use crate::session::{EVERY, Subscription, every_range};
use crate::text::{join_list, parse_duration, quotable};
use crate::tick::{Currencies, Currency, TickId};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Currencies of the feed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SupportedCurrencies {
    pub(crate) currencies: Currencies,
    /// Currency for clients that do not choose one.
    pub(crate) default: Currency,
}

/// Names of the parameters `currency` and `since`.
const CURRENCY: [&str; 2] = ["currency", "currencies"];
pub(crate) const SINCE: [&str; 3] = ["since", "since_date", "start_timedate"];
/// Names of the parameter in which polyfills of a browser's `EventSource` send the last id. Polyfills use it if they
/// cannot set the header `Last-Event-ID`.
const LAST_EVENT_ID: [&str; 4] = ["lastEventId", "lastEventID", "last-event-id", "Last-Event-ID"];
/// Name of a parameter with a random value, which some libraries add so that no cache answers.
const CACHE_BUSTER: &str = "_";
pub(super) const ID_EXAMPLE: &str = "1795166431075";
pub(super) fn parse_id(text: &str) -> Option<TickId> {
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).map(TickId::from_ms)
}

/// Maximum number of bytes of a query. All parameters together need about 200. The header `Link` of a page repeats the
/// query, so this also limits the length of that header.
const MAX_QUERY_BYTES: usize = 1024;
/// Maximum number of characters of a name in an error message, so that there is room for the expected names.
const MAX_NAME_CHARACTERS: usize = 20;
/// Maximum number of characters of a value in an error message, so that there is room for the expected values.
const MAX_VALUE_CHARACTERS: usize = 40;
/// Maximum number of values that an error message quotes.
const MAX_QUOTED: usize = 3;

/// Removes the brackets that some libraries add to the name of a parameter with several values (`currency[]`).
fn without_brackets<'a>((name, value): (Cow<'a, str>, Cow<'a, str>)) -> (Cow<'a, str>, Cow<'a, str>) {
    let bare = name.strip_suffix("[]").filter(|bare| CURRENCY.contains(bare)).map(|bare| bare.to_owned().into());
    (bare.unwrap_or(name), value)
}

/// Parses the code of a currency that is served. The error quotes the code in its shortened form.
fn currency_of(code: &str, served: Currencies) -> Result<Currency, String> {
    let currency = code.trim().parse().ok().filter(|currency| served.contains(*currency));
    currency.ok_or_else(|| format!("invalid currency {:?}: expected {served}", quoted(code)))
}

/// Returns a value, shortened for an error message.
pub(super) fn quoted(value: &str) -> String {
    quotable(value, MAX_VALUE_CHARACTERS)
}

/// Parameters of a query that have not been read yet, and the mistakes so far.
pub(super) struct QueryReader<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) errors: RequestErrors,
    /// True if a moment was given as a duration before now, so that the same query means something else later.
    pub(super) is_moving: bool,
}

impl<'a> QueryReader<'a> {
    pub(super) fn new(query: &'a str) -> QueryReader<'a> {
        let mut reader = QueryReader { parameters: Vec::new(), errors: RequestErrors::default(), is_moving: false };
        if query.len() > MAX_QUERY_BYTES {
            let length = query.len();
            reader.errors.push(&format!("query of {length} bytes: expected at most {MAX_QUERY_BYTES}"));
        } else {
            let parameters = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != CACHE_BUSTER);
            reader.parameters = parameters.map(without_brackets).collect();
        }
        reader
    }

    /// Takes a parameter out, and returns its values under all of its names.
    pub(super) fn all(&mut self, names: &[&str]) -> Vec<Cow<'a, str>> {
        let taken = self.parameters.extract_if(.., |(name, _)| names.contains(&&**name));
        taken.map(|(_, value)| value).collect()
    }

    /// Returns the value of a parameter, which may be given at most once, under any of its names.
    pub(super) fn one<T>(&mut self, names: &[&str], read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let values = self.all(names);
        let mistake = match &values[..] {
            [] => return None,
            [value] => match read(value) {
                Ok(value) => return Some(value),
                // The invalid value is parsed a second time in its shortened form, so that the error quotes that form.
                Err(mistake) => read(&quoted(value)).err().unwrap_or(mistake),
            },
            [..] => {
                let what = join_list(names, "or");
                let values: Vec<_> =
                    values.iter().take(MAX_QUOTED).map(|value| format!("{:?}", self::quoted(value))).collect();
                format!("repeated {what} {}: expected one value", join_list(&values, "and"))
            }
        };
        self.errors.push(&mistake);
        None
    }

    pub(super) fn subscription(&mut self, default: Format, supported: SupportedCurrencies) -> Subscription {
        Subscription::new(self.currencies(supported), self.format(default), self.start())
    }

    /// Returns the id that a client has received last. An empty value means that it has received none.
    pub(super) fn last_event_id(&mut self) -> Option<TickId> {
        self.parameters.retain(|(name, value)| !value.is_empty() || !LAST_EVENT_ID.contains(&&**name));
        self.one(&LAST_EVENT_ID, |text| {
            parse_id(text).ok_or_else(|| {
                format!("invalid Last-Event-ID {text:?}: expected the id of an update such as {ID_EXAMPLE}")
            })
        })
    }

    pub(super) fn start(&mut self) -> Start {
        let both = self.contradiction();
        let since = self.moment("since", &SINCE);
        let after = self.one(&["after"], |text| {
            parse_id(text)
                .ok_or_else(|| format!("invalid after {text:?}: expected the id of an update such as {ID_EXAMPLE}"))
        });
        match (since, after) {
            (Some(_), Some(_)) => {
                self.errors.push(&format!("conflicting {both}: expected since or after, not both"));
                Start::Latest
            }
            (Some(moment), None) => Start::Since(moment),
            (None, Some(id)) => Start::After(id),
            (None, None) => Start::Latest,
        }
    }

    /// Returns the parameters that give the start, as text for an error. Call it before they are read.
    fn contradiction(&self) -> String {
        let begins = |name: &str| name == "after" || SINCE.contains(&name);
        let words = self.parameters.iter().filter(|(name, _)| begins(name)).take(MAX_QUOTED);
        join_list(&words.map(|(name, value)| format!("{name}={:?}", quoted(value))).collect::<Vec<_>>(), "and")
    }

    /// Returns the parameter `until`.
    pub(super) fn until(&mut self) -> TickId {
        self.moment("until", &["until"]).unwrap_or(TickId::from_ms(u64::MAX))
    }

    /// Returns a parameter that is a moment.
    pub(super) fn moment(&mut self, name: &'static str, names: &[&str]) -> Option<TickId> {
        let is_age = |(given, value): &(Cow<'a, str>, Cow<'a, str>)| {
            names.contains(&&**given) && parse_duration(value).is_some()
        };
        self.is_moving |= self.parameters.iter().any(is_age);
        self.one(names, |text| TickId::parse_requested(name, text).map_err(|error| error.to_string()))
    }

    pub(super) fn limit(&mut self, allowed: &RangeInclusive<usize>) -> Option<usize> {
        self.one(&["limit"], |text| {
            let limit = text.parse().ok().filter(|limit| allowed.contains(limit));
            limit.ok_or_else(|| {
                format!("invalid limit {text:?}: expected a number from {} to {}", allowed.start(), allowed.end())
            })
        })
    }

    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        let on = self.one(&[name], |text| match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("invalid {name} {text:?}: expected true or false")),
        });
        on.unwrap_or(false)
    }

    /// Returns the parameter `every`, a period such as `500ms`, `30s`, `5m` or `1h`.
    pub(super) fn every(&mut self) -> Option<Duration> {
        self.one(&["every"], |text| {
            parse_duration(text).filter(|period| EVERY.contains(period)).ok_or_else(|| {
                format!("invalid every {text:?}: expected {} such as 500ms, 30s, 5m or 1h", every_range())
            })
        })
    }

    pub(super) fn format(&mut self, default: Format) -> Format {
        self.one(&["format"], |text| text.parse().map_err(|error| format!("{error}"))).unwrap_or(default)
    }

    pub(super) fn currencies(&mut self, supported: SupportedCurrencies) -> Currencies {
        self.currencies_or(supported.default.into(), supported.currencies)
    }

    /// Returns the parameter `currency`. More than one currency is a mistake.
    pub(super) fn currency(&mut self, served: Currencies) -> Option<Currency> {
        self.one(&CURRENCY, |text| currency_of(text, served))
    }

    /// Returns the parameter `currency`, or `default` if it is not given.
    pub(super) fn currencies_or(&mut self, default: Currencies, served: Currencies) -> Currencies {
        let values = self.all(&CURRENCY);
        if values.is_empty() {
            return default;
        }
        let mut chosen = Vec::new();
        for code in values.iter().flat_map(|value| value.split(',')) {
            match currency_of(code, served) {
                Ok(currency) => chosen.push(currency),
                Err(mistake) => self.errors.push(&mistake),
            }
        }
        chosen.into_iter().collect()
    }

    /// Ends the reading. Parameters that have not been read are unknown. They are rejected, so that a misspelt name is
    /// not ignored.
    ///
    /// # Errors
    /// 400 that lists the mistakes, at most eight of them.
    pub(super) fn finish(mut self, known: &[&str]) -> Result<(), Problem> {
        let names = known.iter().flat_map(|name| match *name {
            "currency" => CURRENCY.to_vec(),
            "since" => SINCE.to_vec(),
            name => vec![name],
        });
        let names = names.collect::<Vec<_>>().join(", ");
        for (name, _) in &self.parameters {
            self.errors.push(&format!("unknown parameter {:?}: expected {names}", quotable(name, MAX_NAME_CHARACTERS)));
        }
        self.finish_with_others()
    }

    /// Ends the reading, and ignores parameters that have not been read.
    ///
    /// # Errors
    /// 400 that lists the mistakes, at most eight of them.
    pub(super) fn finish_with_others(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::bad_request(self.errors.report())) }
    }
}
