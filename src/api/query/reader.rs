//! Takes parameters out of a query one by one. Every mistake is kept, so that all are reported at once.

use crate::api::problem::Problem;
use crate::encode::Format;
use crate::session::{EVERY, Start, Subscription, every_range};
use crate::text::{join_list, parse_duration};
use crate::tick::{Currencies, Currency, TickId};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What clients can choose from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SupportedCurrencies {
    pub(crate) currencies: Currencies,
    /// What those get who choose none.
    pub(crate) default: Currency,
}

/// The names that mean `currency`, and those that mean `since`.
const CURRENCY: [&str; 2] = ["currency", "currencies"];
pub(crate) const SINCE: [&str; 3] = ["since", "since_date", "start_timedate"];
pub(super) const ID_EXAMPLE: &str = "1795166431075";
pub(super) fn parse_id(text: &str) -> Option<TickId> {
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).map(TickId::from_ms)
}

/// Parameters, taken out one by one; every mistake is kept, so that all are told at once.
pub(super) struct QueryReader<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) mistakes: Vec<String>,
}

impl<'a> QueryReader<'a> {
    pub(super) fn new(query: &'a str) -> QueryReader<'a> {
        QueryReader { parameters: form_urlencoded::parse(query.as_bytes()).collect(), mistakes: Vec::new() }
    }

    /// The values of a parameter, by any of its names.
    pub(super) fn all(&mut self, names: &[&str]) -> Vec<Cow<'a, str>> {
        let taken = self.parameters.extract_if(.., |(name, _)| names.contains(&&**name));
        taken.map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may stand once at most, by any of its names.
    pub(super) fn one<T>(&mut self, names: &[&str], read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let values = self.all(names);
        let mistake = match &values[..] {
            [] => return None,
            [value] => match read(value) {
                Ok(value) => return Some(value),
                Err(mistake) => mistake,
            },
            [..] => {
                let what =
                    if names.len() == 1 { names.concat() } else { format!("one of {}", join_list(names, "and")) };
                let quoted: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
                format!("{what} may stand once, got {}", join_list(&quoted, "and"))
            }
        };
        self.mistakes.push(mistake);
        None
    }

    pub(super) fn subscription(&mut self, default: Format, offer: SupportedCurrencies) -> Subscription {
        Subscription::new(self.currencies(offer), self.format(default), self.start())
    }

    pub(super) fn start(&mut self) -> Start {
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
        join_list(&words.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>(), "and")
    }

    /// The last moment of a part of the history.
    pub(super) fn until(&mut self) -> TickId {
        let until = self.one(&["until"], |text| TickId::parse_moment("until", text).map_err(|error| error.to_string()));
        until.unwrap_or(TickId::from_ms(u64::MAX))
    }

    pub(super) fn limit(&mut self, allowed: &RangeInclusive<usize>) -> Option<usize> {
        self.one(&["limit"], |text| {
            let limit = text.parse().ok().filter(|limit| allowed.contains(limit));
            limit.ok_or_else(|| {
                format!("limit reads a number from {} to {}, got {text:?}", allowed.start(), allowed.end())
            })
        })
    }

    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        let on = self.one(&[name], |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{name} reads true or false, got {text:?}")),
        });
        on.unwrap_or(false)
    }

    /// A period, in the words of the settings: `500ms`, `30s`, `5m`, `1h`.
    pub(super) fn every(&mut self) -> Option<Duration> {
        self.one(&["every"], |text| {
            parse_duration(text)
                .filter(|period| EVERY.contains(period))
                .ok_or_else(|| format!("every reads {}, as 500ms, 30s, 5m or 1h, got {text:?}", every_range()))
        })
    }

    pub(super) fn format(&mut self, default: Format) -> Format {
        self.one(&["format"], |text| text.parse().map_err(|error| format!("{error}"))).unwrap_or(default)
    }

    pub(super) fn currencies(&mut self, offer: SupportedCurrencies) -> Currencies {
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
    pub(super) fn finish(mut self, known: &[&str]) -> Result<(), Problem> {
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
