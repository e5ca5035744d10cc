//! The id of an entry, which is also its moment.

use crate::text::parse_duration;
use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The id of an entry: its time in Unix milliseconds, strictly increasing over the whole feed.
///
/// It is the score in Redis, the `after` of a client that resumes and, formatted as a date, the `timedate`. Zero is
/// before every entry, and is the `prev` of the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TickId(u64);

/// The formats of a moment, for an error.
const MOMENTS: &str = "RFC 3339 (2026-11-20T09:20:31Z), Unix seconds (1795166431 or 1795166431.075) or Unix milliseconds \
                       (1795166431075)";
/// The formats of a moment that a person gives.
const REQUESTED_MOMENTS: &str =
    "a time before now (10m), a date, RFC 3339 (2026-11-20T09:20:31Z), Unix seconds or milliseconds";
/// The accepted numbers, for an error about a number that is no moment of a Bitcoin price.
const BEFORE_BITCOIN: &str =
    "0 or a moment from 2009-01-03 on, when Bitcoin began; a time before now has a unit (10s, 10m)";

/// The error for a text that is not a moment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {name} {text:?}: expected {expected}")]
pub struct InvalidMoment {
    /// The name of the parameter.
    pub name: &'static str,
    /// The value that was given.
    pub text: String,
    /// What is accepted.
    pub expected: &'static str,
}

/// The last moment that [`Timestamp`] supports, with milliseconds: 9999-12-30T22:00:00.999Z.
const LAST_MS: u64 = 253_402_207_200_999;
/// Whole numbers from this one on are milliseconds, all others are seconds. As seconds, this number is in the year
/// 5138. As milliseconds, it is in March 1973.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

impl TickId {
    /// The id before all entries.
    pub const ZERO: TickId = TickId(0);
    /// The first id that an entry can have: 2009-01-03T00:00:00Z, midnight of the day of the first block (18:15:05Z).
    pub const FIRST_DAY: TickId = TickId(1_230_940_800_000);

    /// Returns the id of a moment in Unix milliseconds.
    pub const fn from_ms(ms: u64) -> TickId {
        TickId(ms)
    }

    /// Returns the moment in Unix milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Returns true if no entry can have this id, because Bitcoin did not exist yet.
    pub const fn is_before_bitcoin(self) -> bool {
        self.0 < TickId::FIRST_DAY.0
    }

    /// Returns the moment in Unix seconds, rounded down.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Returns a moment, given in Unix seconds and nanoseconds, rounded up to a whole millisecond. Returns `None` if it
    /// is before 1970 or too late to be a date, or if `nanos` is not a number from 0 to 999,999,999.
    pub fn from_moment(seconds: i64, nanos: i32) -> Option<TickId> {
        let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        let ms = u64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(nanos.div_ceil(1_000_000))?;
        (ms <= LAST_MS).then_some(TickId(ms))
    }

    /// Returns the time of this machine's clock.
    pub fn now() -> TickId {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TickId(u64::try_from(since_epoch.as_millis()).unwrap_or(LAST_MS))
    }

    /// Returns the id one millisecond later.
    pub const fn next(self) -> TickId {
        TickId(self.0.saturating_add(1))
    }

    /// Returns the id one millisecond earlier; zero stays zero.
    pub const fn before(self) -> TickId {
        TickId(self.0.saturating_sub(1))
    }

    /// Returns the moment `duration` later.
    pub fn plus(self, duration: Duration) -> TickId {
        TickId(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns the moment `duration` earlier, but not before zero.
    pub fn minus(self, duration: Duration) -> TickId {
        TickId(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns the time from `earlier` to this moment, or zero if `earlier` is later.
    pub fn since(self, earlier: TickId) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Formats the moment by RFC 3339 in UTC with milliseconds: `2026-11-20T09:20:31.075Z`.
    pub fn timedate(self) -> String {
        let ms = i64::try_from(self.0.min(LAST_MS)).unwrap_or_default();
        let moment = Timestamp::from_millisecond(ms).unwrap_or_default();
        format!("{moment:.3}")
    }

    /// Parses a moment that a program gives: RFC 3339 or a Unix time, rounded up to a whole millisecond.
    ///
    /// # Errors
    /// [`InvalidMoment`], whose message contains `name`, if `text` has another format.
    pub fn parse_moment(name: &'static str, text: &str) -> Result<TickId, InvalidMoment> {
        let moment = parse_number(text).or_else(|| parse_timestamp(text));
        moment.ok_or_else(|| InvalidMoment { name, text: text.to_owned(), expected: MOMENTS })
    }

    /// Parses a moment that a person gives, in one of the formats of `REQUESTED_MOMENTS`. A date is its midnight in
    /// UTC.
    ///
    /// # Errors
    /// [`InvalidMoment`], whose message contains `name`, if `text` has another format, or is a number that can be no
    /// moment of a Bitcoin price. Zero is accepted, because it means "from the beginning".
    pub fn parse_requested(name: &'static str, text: &str) -> Result<TickId, InvalidMoment> {
        let error = |expected| InvalidMoment { name, text: text.to_owned(), expected };
        if let Some(moment) = parse_number(text) {
            let possible = moment == TickId::ZERO || !moment.is_before_bitcoin();
            return if possible { Ok(moment) } else { Err(error(BEFORE_BITCOIN)) };
        }
        let moment = parse_timestamp(text).or_else(|| parse_date(text)).or_else(|| parse_age(text));
        moment.ok_or_else(|| error(REQUESTED_MOMENTS))
    }
}

fn parse_number(text: &str) -> Option<TickId> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let number = Decimal::from_str_exact(text).ok()?;
    let ms = if number >= Decimal::from(MILLISECONDS_FROM) && number.scale() == 0 {
        number
    } else {
        number.checked_mul(Decimal::ONE_THOUSAND)?
    };
    ms.ceil().to_u64().filter(|ms| *ms <= LAST_MS).map(TickId)
}

/// Parses a date with a time. A plus sign in a query means a space, so `…T09:20:31+01:00` in a URL arrives as
/// `…T09:20:31 01:00`. That form is accepted, too.
fn parse_timestamp(text: &str) -> Option<TickId> {
    let restored = match text.rsplit_once(' ') {
        Some((date, offset)) if date.contains('T') => format!("{date}+{offset}"),
        _ => text.to_owned(),
    };
    let ns = restored.parse::<Timestamp>().ok()?.as_nanosecond();
    let ms = u64::try_from(ns).ok()?.div_ceil(1_000_000);
    (ms <= LAST_MS).then_some(TickId(ms))
}

/// Parses a date such as `2026-11-20`.
fn parse_date(text: &str) -> Option<TickId> {
    let is_date = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date = text.parse::<Date>().ok().filter(|_| is_date)?;
    parse_timestamp(&format!("{date}T00:00:00Z"))
}

/// Parses an age such as `10m`, and returns the moment that is this long ago.
fn parse_age(text: &str) -> Option<TickId> {
    let age = parse_duration(text).filter(|_| text.starts_with(|first: char| first.is_ascii_digit()))?;
    Some(TickId::now().minus(age))
}

impl fmt::Display for TickId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_parses_in_every_documented_format() {
        let forms = [
            ("2026-11-20T09:20:31.075Z", 1_795_166_431_075),
            ("2026-11-20T10:20:31.075+01:00", 1_795_166_431_075),
            ("2026-11-20T10:20:31.075 01:00", 1_795_166_431_075), // a plus that a URL turned into a space
            ("1795166431", 1_795_166_431_000),
            ("1795166431.075", 1_795_166_431_075),
            ("1795166431.0750001", 1_795_166_431_076), // rounded up, never a millisecond too early
            ("1795166431075", 1_795_166_431_075),
            ("0", 0),
        ];
        for (text, ms) in forms {
            assert_eq!(TickId::parse_moment("since", text), Ok(TickId(ms)), "{text}");
        }
    }

    #[test]
    fn invalid_moment_is_quoted_in_the_error() {
        for text in
            ["", "yesterday", "-1", "1e9", "2026-11-20", "2026-11-20T09:20:31", "99999999999999999", "1.2.3", "NaN"]
        {
            let error = TickId::parse_moment("since", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid since {text:?}: expected RFC 3339")), "{error}");
        }
    }

    #[test]
    fn person_may_give_a_date_or_an_age() {
        let read = |text| TickId::parse_requested("since", text);
        assert_eq!(read("2026-11-20"), Ok(TickId(1_795_132_800_000)));
        assert_eq!(read("2026-11-20T09:20:31.075Z"), Ok(TickId(1_795_166_431_075)));
        for (text, ms) in [("0", 0), ("1230940800", 1_230_940_800_000), ("1795166431075", 1_795_166_431_075)] {
            assert_eq!(read(text), Ok(TickId(ms)), "{text}");
        }
        for (text, ms) in [("10m", 600_000), ("1h30m", 5_400_000), ("500ms", 500), ("0s", 0)] {
            let read = read(text).unwrap();
            let age = TickId::now().since(read).as_millis();
            assert!((ms..ms + 5000).contains(&age), "{text}: {age}");
        }
        for text in ["", "yesterday", "-10m", "+10m", "PT10M", "2026-13-01", "2026-1-1", "20261120T", "10 parsecs"] {
            let error = read(text).unwrap_err().to_string();
            assert_eq!(error, format!("invalid since {text:?}: expected {REQUESTED_MOMENTS}"));
        }
    }

    #[test]
    fn number_before_bitcoin_is_no_moment() {
        for text in ["10", "1", "600", "1230940799", "0.5"] {
            let error = TickId::parse_requested("since", text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("invalid since {text:?}: expected 0 or a moment from 2009-01-03")),
                "{error}"
            );
            assert!(TickId::parse_moment("since", text).is_ok(), "{text}");
        }
    }

    #[test]
    fn seconds_and_nanoseconds_round_up() {
        let moments =
            [((0, 0), 0), ((1_795_166_431, 75_000_000), 1_795_166_431_075), ((1, 1), 1001), ((1, 999_999_999), 2000)];
        for ((seconds, nanos), ms) in moments {
            assert_eq!(TickId::from_moment(seconds, nanos), Some(TickId(ms)), "{seconds} {nanos}");
        }
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (253_402_300_800, 0)] {
            assert_eq!(TickId::from_moment(seconds, nanos), None, "{seconds} {nanos}");
        }
    }

    #[test]
    fn timedate_has_milliseconds_and_parses() {
        let id = TickId(1_795_166_431_070);
        assert_eq!(id.timedate(), "2026-11-20T09:20:31.070Z");
        assert_eq!(TickId::parse_moment("since", &id.timedate()), Ok(id));
        assert_eq!(TickId(0).timedate(), "1970-01-01T00:00:00.000Z");
    }
}
