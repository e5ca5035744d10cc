//! The levels of detail in which a store keeps the candles of an hour.

use std::time::Duration;

/// The least time for which a store keeps the minutes of an hour. If entries are kept longer, so are the minutes.
pub const MINUTES_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The number of hours that are read from a store or written to it at once: about 200 KB of minutes for each currency.
pub const PAGE_HOURS: usize = 48;

/// The candles of an hour that a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// A candle of each minute, kept for at least [`MINUTES_KEPT`].
    Minutes,
    /// One candle of the hour, kept without end.
    Hour,
}

impl Detail {
    /// Both details.
    pub const ALL: [Detail; 2] = [Detail::Minutes, Detail::Hour];
}
