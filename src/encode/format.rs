//! The content of an update.

use std::fmt;
use std::str::FromStr;

/// The content of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// `{"timedate":"2026-11-20T09:20:31.075Z","price":97116.17}`. If several currencies are chosen, there is one
    /// update for each, with the field `currency`.
    Timedate,
    /// `{"timestamp":1795166431,"price":97116.17}`, otherwise like `Timedate`.
    Timestamp,
    /// Ticks with id, prev, all chosen prices and their sources. This format and `Audit` also have statuses and gaps.
    /// On a stream they also have `synced` and, if the client asks for it, `hello`. In `Timedate` and `Timestamp`, an
    /// event stream has the same messages. Over WebSocket and REST, the client must ask for them.
    Full,
    /// Like `Full`, with what each source said about the prices of each tick. The hub's window does not have these
    /// inputs, so entries in this format are always read as pages of the history.
    Audit,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 4] = [Format::Timedate, Format::Timestamp, Format::Full, Format::Audit];

    /// Returns the word for the format in a query.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Timedate => "timedate",
            Format::Timestamp => "timestamp",
            Format::Full => "full",
            Format::Audit => "audit",
        }
    }

    /// Returns true for `full` and `audit`, which have statuses and gaps in every framing.
    pub const fn is_full(self) -> bool {
        matches!(self, Format::Full | Format::Audit)
    }
}

/// The error for a word that is not a format.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid format {0:?}: expected timedate, timestamp, full or audit")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Format, UnknownFormat> {
        Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
