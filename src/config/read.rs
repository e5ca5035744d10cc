//! Reads one setting after the other and keeps every mistake.

use super::{Mistakes, SETTINGS};
use crate::text::{format_duration, join_list, parse_duration};
use crate::tick::{Currencies, Currency};
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Reads settings. A setting that cannot be read is a mistake, and some value that is allowed stands in for it.
pub(super) struct Reader<'a> {
    given: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(given: &'a dyn Fn(&str) -> Option<String>) -> Reader<'a> {
        Reader { given, mistakes: Vec::new() }
    }

    pub(super) fn mistake(&mut self, mistake: String) {
        self.mistakes.push(mistake);
    }

    pub(super) fn finish(self) -> Result<(), Mistakes> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(Mistakes(self.mistakes)) }
    }

    /// What was given, or else the default. An empty value is none, as in a line `NAME=` of an `.env` file.
    pub(super) fn text(&self, env: &'static str) -> Option<String> {
        let default = SETTINGS.iter().find(|setting| setting.env == env).and_then(|setting| setting.default);
        let given = (self.given)(env).map(|value| value.trim().to_owned());
        given.filter(|value| !value.is_empty()).or_else(|| default.map(str::to_owned))
    }

    /// Reads a setting with `parse`; `allowed` says what it takes.
    fn optional<T>(
        &mut self,
        env: &'static str,
        allowed: impl Display,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(env)?;
        let value = parse(&text);
        if value.is_none() {
            self.mistake(format!("{env} reads {allowed}, got {text:?}"));
        }
        value
    }

    pub(super) fn optional_duration(
        &mut self,
        env: &'static str,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let least = format_duration(*allowed.start());
        self.duration_from(env, allowed, &least)
    }

    /// Reads a duration of at least `least`, which `follows` from another setting, and at most a day.
    pub(super) fn duration_after(&mut self, env: &'static str, least: Duration, follows: &str) -> Option<Duration> {
        let told = format!("{} ({follows})", format_duration(least));
        self.duration_from(env, least..=Duration::from_secs(86400), &told)
    }

    fn duration_from(&mut self, env: &'static str, allowed: RangeInclusive<Duration>, least: &str) -> Option<Duration> {
        let says = format!("a duration in ms, s, m or h, from {least} to {}", format_duration(*allowed.end()));
        self.optional(env, says, |text| parse_duration(text).filter(|duration| allowed.contains(duration)))
    }

    pub(super) fn duration(&mut self, env: &'static str, allowed: RangeInclusive<Duration>) -> Duration {
        let shortest = *allowed.start();
        self.optional_duration(env, allowed).unwrap_or(shortest)
    }

    pub(super) fn optional_number(&mut self, env: &'static str, allowed: RangeInclusive<usize>) -> Option<usize> {
        let says = format!("a number from {} to {}", allowed.start(), allowed.end());
        self.optional(env, says, |text| text.parse().ok().filter(|number| allowed.contains(number)))
    }

    pub(super) fn number(&mut self, env: &'static str, allowed: RangeInclusive<usize>) -> usize {
        let least = *allowed.start();
        self.optional_number(env, allowed).unwrap_or(least)
    }

    pub(super) fn address(&mut self, env: &'static str) -> SocketAddr {
        let address =
            self.optional(env, "an IP address and a port (0.0.0.0:8080, [::]:8080)", |text| text.parse().ok());
        address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Reads one of a few words.
    pub(super) fn one_of<T: Copy>(&mut self, env: &'static str, words: &[(&str, T)]) -> T {
        let says = join_list(&words.iter().map(|(word, _)| *word).collect::<Vec<_>>(), "or");
        let found =
            self.optional(env, says, |text| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value));
        found.unwrap_or(words[0].1)
    }

    /// Reads currencies, and which of them is the first.
    pub(super) fn currencies(&mut self, env: &'static str) -> (Currencies, Currency) {
        let says = format!("{}, or several of them with commas", Currencies::all());
        let read = |text: &str| text.split(',').map(|code| code.trim().parse().ok()).collect::<Option<Vec<Currency>>>();
        let listed = self.optional(env, says, read).unwrap_or_else(|| Currency::ALL.to_vec());
        if let Some(again) = listed.iter().enumerate().find(|(place, code)| listed[..*place].contains(code)) {
            let given = self.text(env).unwrap_or_default();
            self.mistake(format!("{env} reads each currency once, got {} again in {given:?}", again.1));
        }
        (listed.iter().copied().collect(), listed.first().copied().unwrap_or(Currency::Usd))
    }
}
