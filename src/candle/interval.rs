//! The lengths of candles.

use super::detail::Detail;
use crate::tick::TickId;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The length of a candle. Candles start at multiples of it in Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interval {
    /// One minute, `1m`.
    #[serde(rename = "1m")]
    Minute,
    /// Five minutes, `5m`.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// Fifteen minutes, `15m`.
    #[serde(rename = "15m")]
    FifteenMinutes,
    /// One hour, `1h`.
    #[serde(rename = "1h")]
    Hour,
    /// Four hours, `4h`.
    #[serde(rename = "4h")]
    FourHours,
    /// A day of UTC, `1d`.
    #[serde(rename = "1d")]
    Day,
}

/// The error for a text that is not the name of an interval.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid interval {0:?}: expected 1m, 5m, 15m, 1h, 4h or 1d")]
pub struct UnknownInterval(pub String);

impl Interval {
    /// All intervals.
    pub const ALL: [Interval; 6] = [
        Interval::Minute,
        Interval::FiveMinutes,
        Interval::FifteenMinutes,
        Interval::Hour,
        Interval::FourHours,
        Interval::Day,
    ];

    /// Returns the name in queries and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Interval::Minute => "1m",
            Interval::FiveMinutes => "5m",
            Interval::FifteenMinutes => "15m",
            Interval::Hour => "1h",
            Interval::FourHours => "4h",
            Interval::Day => "1d",
        }
    }

    /// Returns the length in milliseconds.
    pub const fn ms(self) -> u64 {
        match self {
            Interval::Minute => 60_000,
            Interval::FiveMinutes => 300_000,
            Interval::FifteenMinutes => 900_000,
            Interval::Hour => 3_600_000,
            Interval::FourHours => 14_400_000,
            Interval::Day => 86_400_000,
        }
    }

    /// Returns the level of detail of the stored candles from which candles of this length are made.
    pub const fn detail(self) -> Detail {
        match self {
            Interval::Minute | Interval::FiveMinutes | Interval::FifteenMinutes => Detail::Minutes,
            Interval::Hour | Interval::FourHours | Interval::Day => Detail::Hour,
        }
    }

    /// Returns the first moment of the interval that contains `moment`.
    pub const fn start(self, moment: TickId) -> TickId {
        TickId::from_ms(moment.ms() - moment.ms() % self.ms())
    }

    /// Returns the first moment after the interval that contains `moment`.
    pub const fn end(self, moment: TickId) -> TickId {
        TickId::from_ms(self.start(moment).ms().saturating_add(self.ms()))
    }

    /// Returns the first start of an interval at or after `moment`.
    pub const fn first_start_at_or_after(self, moment: TickId) -> TickId {
        if moment.ms().is_multiple_of(self.ms()) { moment } else { self.end(moment) }
    }
}

impl FromStr for Interval {
    type Err = UnknownInterval;

    fn from_str(name: &str) -> Result<Interval, UnknownInterval> {
        Interval::ALL
            .into_iter()
            .find(|interval| interval.name() == name)
            .ok_or_else(|| UnknownInterval(name.to_owned()))
    }
}
