//! How finely a store keeps an hour that has ended: a candle of each minute, or one candle of the whole hour.

use std::time::Duration;

/// The shortest time for which a store keeps the minute candles of an hour. If entries are kept longer than this,
/// minute candles are kept as long as entries.
pub const MINUTES_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The maximum number of hours whose candles are read from a store or written to it at once. Their minute candles take
/// about 200 KB for each currency.
pub const PAGE_HOURS: usize = 48;

/// How finely a store keeps an hour that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// A candle of each minute, kept for at least [`MINUTES_KEPT`].
    Minutes,
    /// One candle of the hour, kept without end.
    Hour,
}

impl Detail {
    /// Both levels.
    pub const ALL: [Detail; 2] = [Detail::Minutes, Detail::Hour];
}
