//! A place in the feed, which is a moment too.

use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The id of an entry: its time in Unix milliseconds, strictly increasing over the whole feed.
///
/// It is the sorted-set score, the `after` cursor and, written as a date, the `timedate`. Zero stands before the whole
/// feed: it is the `prev` of the first entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TickId(u64);

/// How a moment is written.
pub const MOMENTS: &str = "RFC 3339 (2026-11-20T09:20:31Z), Unix seconds (1795166431 or 1795166431.075) or Unix milliseconds \
                           (1795166431075)";

/// A text that is no moment, with the name of the parameter that it was given for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} reads {MOMENTS}, got {text:?}")]
pub struct BadMoment {
    /// The parameter.
    pub name: &'static str,
    /// What it was given.
    pub text: String,
}

/// The last moment that a date can name: 9999-12-30T22:00:00.999Z.
const LAST_MS: u64 = 253_402_207_200_999;
/// Numbers from here on are milliseconds: as seconds this is the year 5138, as milliseconds March 1973.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

impl TickId {
    /// Before the whole feed.
    pub const ZERO: TickId = TickId(0);

    /// The id with this number of Unix milliseconds.
    pub const fn from_ms(ms: u64) -> TickId {
        TickId(ms)
    }

    /// Unix milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// The moment in whole Unix seconds, rounded down.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The first whole millisecond that is not before a moment, given as Unix seconds and nanoseconds; `None` if no date
    /// names it, or it is before 1970.
    pub fn from_moment(seconds: i64, nanos: i32) -> Option<TickId> {
        let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        let ms = u64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(nanos.div_ceil(1_000_000))?;
        (ms <= LAST_MS).then_some(TickId(ms))
    }

    /// This machine's clock.
    pub fn now() -> TickId {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TickId(u64::try_from(since_epoch.as_millis()).unwrap_or(LAST_MS))
    }

    /// The id right after this one.
    pub const fn next(self) -> TickId {
        TickId(self.0.saturating_add(1))
    }

    /// The id right before this one; zero stays zero.
    pub const fn before(self) -> TickId {
        TickId(self.0.saturating_sub(1))
    }

    /// This moment and `duration` more.
    pub fn plus(self, duration: Duration) -> TickId {
        TickId(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This moment less `duration`; never before zero.
    pub fn minus(self, duration: Duration) -> TickId {
        TickId(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this moment; nothing if it is later.
    pub fn since(self, earlier: TickId) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment as RFC 3339 with milliseconds, in UTC: `2026-11-20T09:20:31.075Z`.
    pub fn timedate(self) -> String {
        let ms = i64::try_from(self.0.min(LAST_MS)).unwrap_or_default();
        let moment = Timestamp::from_millisecond(ms).unwrap_or_default();
        format!("{moment:.3}")
    }

    /// Reads a moment as [`BadMoment`] describes it: the first whole millisecond that is not before it.
    ///
    /// # Errors
    /// [`BadMoment`], with `name` in its message, for anything else.
    pub fn parse_moment(name: &'static str, text: &str) -> Result<TickId, BadMoment> {
        parse_number(text).or_else(|| parse_date(text)).ok_or_else(|| BadMoment { name, text: text.to_owned() })
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

/// A plus sign in a query means a space, so `…T09:20:31+01:00` pasted into a URL arrives as `…T09:20:31 01:00`.
fn parse_date(text: &str) -> Option<TickId> {
    let mended = match text.rsplit_once(' ') {
        Some((date, offset)) if date.contains('T') => format!("{date}+{offset}"),
        _ => text.to_owned(),
    };
    let ns = mended.parse::<Timestamp>().ok()?.as_nanosecond();
    let ms = u64::try_from(ns).ok()?.div_ceil(1_000_000);
    (ms <= LAST_MS).then_some(TickId(ms))
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
    fn a_moment_is_read_in_every_documented_form() {
        let forms = [
            ("2026-11-20T09:20:31.075Z", 1_795_166_431_075),
            ("2026-11-20T10:20:31.075+01:00", 1_795_166_431_075),
            ("2026-11-20T10:20:31.075 01:00", 1_795_166_431_075), // the plus of a URL
            ("1795166431", 1_795_166_431_000),
            ("1795166431.075", 1_795_166_431_075),
            ("1795166431.0750001", 1_795_166_431_076), // at or after: never a millisecond too early
            ("1795166431075", 1_795_166_431_075),
            ("0", 0),
        ];
        for (text, ms) in forms {
            assert_eq!(TickId::parse_moment("since", text), Ok(TickId(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_and_named() {
        for text in
            ["", "yesterday", "-1", "1e9", "2026-11-20", "2026-11-20T09:20:31", "99999999999999999", "1.2.3", "NaN"]
        {
            let error = TickId::parse_moment("since", text).unwrap_err().to_string();
            assert!(error.starts_with("since reads RFC 3339") && error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_moment_in_seconds_and_nanoseconds_is_rounded_up() {
        let read =
            [((0, 0), 0), ((1_795_166_431, 75_000_000), 1_795_166_431_075), ((1, 1), 1001), ((1, 999_999_999), 2000)];
        for ((seconds, nanos), ms) in read {
            assert_eq!(TickId::from_moment(seconds, nanos), Some(TickId(ms)), "{seconds} {nanos}");
        }
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (253_402_300_800, 0)] {
            assert_eq!(TickId::from_moment(seconds, nanos), None, "{seconds} {nanos}");
        }
    }

    #[test]
    fn a_timedate_has_milliseconds_and_reads_back() {
        let id = TickId(1_795_166_431_070);
        assert_eq!(id.timedate(), "2026-11-20T09:20:31.070Z");
        assert_eq!(TickId::parse_moment("since", &id.timedate()), Ok(id));
        assert_eq!(TickId(0).timedate(), "1970-01-01T00:00:00.000Z");
    }
}
