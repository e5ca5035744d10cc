//! The types of values: durations, numbers, words, shares, names, and file paths.

use super::row::{Rejected, Values};
use crate::text::{format_duration, join_list, parse_duration};
use rust_decimal::Decimal;
use std::path::PathBuf;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86400);

/// Durations between two bounds.
#[derive(Clone, Copy)]
pub(super) struct Durations {
    pub(super) min: Duration,
    pub(super) max: Duration,
    /// The minimum in words, if it is zero or depends on another setting. In both cases `min` is zero.
    pub(super) min_words: Option<&'static str>,
}

impl Durations {
    /// Durations from `min` to `max`.
    pub(super) const fn between(min: Duration, max: Duration) -> Durations {
        Durations { min, max, min_words: None }
    }

    /// Durations from a second to `max`.
    pub(super) const fn up_to(max: Duration) -> Durations {
        Durations::between(SECOND, max)
    }

    /// Durations of at most a day, whose minimum depends on another setting.
    pub(super) const fn from(min_words: &'static str) -> Durations {
        Durations { min: Duration::ZERO, max: DAY, min_words: Some(min_words) }
    }

    /// Describes the accepted values if the minimum is `min`.
    pub(super) fn expected_from(&self, min: &str) -> String {
        format!("a duration such as 5s or 500ms, from {min} to {}", format_duration(self.max))
    }
}

impl Values for Durations {
    type Value = Duration;

    fn expected(&self) -> String {
        match self.min_words {
            Some(words) => self.expected_from(words),
            None => self.expected_from(&format_duration(self.min)),
        }
    }

    fn parse(&self, text: &str) -> Result<Duration, Rejected> {
        let duration = parse_duration(text).filter(|duration| (self.min..=self.max).contains(duration));
        duration.ok_or(Rejected::Unexpected)
    }
}

/// Whole numbers between two bounds.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) min: usize,
    pub(super) max: usize,
    /// The maximum in words, if it depends on this machine; `max` is then `usize::MAX`.
    pub(super) max_words: Option<&'static str>,
}

impl Values for Numbers {
    type Value = usize;

    fn expected(&self) -> String {
        match self.max_words {
            Some(words) => format!("a number from {} to {words}", self.min),
            None => format!("a number from {} to {}", self.min, self.max),
        }
    }

    fn parse(&self, text: &str) -> Result<usize, Rejected> {
        let number = text.parse().ok().filter(|number| (self.min..=self.max).contains(number));
        number.ok_or(Rejected::Unexpected)
    }
}

/// One of a few words, each with its meaning.
#[derive(Clone, Copy)]
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy> Values for Words<T> {
    type Value = T;

    fn expected(&self) -> String {
        join_list(&self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>(), "or")
    }

    fn parse(&self, text: &str) -> Result<T, Rejected> {
        self.0.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or(Rejected::Unexpected)
    }
}

/// Shares between 0 and 1, with at most 6 decimals, so that the product of a price and a share is exact.
#[derive(Clone, Copy)]
pub(super) struct Share;

impl Values for Share {
    type Value = Decimal;

    fn expected(&self) -> String {
        "a share between 0 and 1 with at most 6 decimals, for example 0.05 for 5 %".to_owned()
    }

    fn parse(&self, text: &str) -> Result<Decimal, Rejected> {
        let share = text.parse().map_err(|_| Rejected::Unexpected).map(|share: Decimal| share.normalize())?;
        let is_share = share > Decimal::ZERO && share < Decimal::ONE && share.scale() <= 6;
        is_share.then_some(share).ok_or(Rejected::Unexpected)
    }
}

/// Names, which may be any text. An empty value counts as not given, so it never arrives here.
#[derive(Clone, Copy)]
pub(super) struct Name;

impl Values for Name {
    type Value = String;

    fn expected(&self) -> String {
        "a name".to_owned()
    }

    fn parse(&self, text: &str) -> Result<String, Rejected> {
        Ok(text.to_owned())
    }
}

/// Paths of files. The text describes the expected file.
#[derive(Clone, Copy)]
pub(super) struct FilePath(pub(super) &'static str);

impl Values for FilePath {
    type Value = PathBuf;

    fn expected(&self) -> String {
        self.0.to_owned()
    }

    fn parse(&self, text: &str) -> Result<PathBuf, Rejected> {
        Ok(text.into())
    }
}
