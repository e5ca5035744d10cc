//! What the stream brings.
//!
//! Every type may grow: a newer server may say more, and a newer version of this crate will show it.

use crate::feed::FeedState;
use crate::tick::{Currencies, Currency, Price, TickId};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// One thing that happened, in the order in which it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// A replica has answered. What follows comes from it.
    Connected(Connected),
    /// Prices were agreed.
    Tick(Tick),
    /// The feed's health changed.
    Status(Status),
    /// Something is missing here, and this is known about it.
    Gap(Gap),
    /// What was missed has been told; from here on it is live. Comes once after each [`Connected`](Update::Connected).
    Synced {
        /// The newest id at that moment.
        id: TickId,
    },
    /// The connection is over. Another one is tried by itself.
    Disconnected {
        /// Why, for a person to read.
        why: String,
        /// How long is waited before the next try.
        retry_in: Duration,
    },
}

/// Which replica answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connected {
    /// Its name, if it gave one.
    pub replica: Option<String>,
    /// Its version, if it gave one.
    pub version: Option<String>,
    /// How often the feed polls, if it said so.
    pub interval: Option<Duration>,
    /// How the feed is, by its newest status. None if there was no status yet, or the replica did not say.
    pub state: Option<FeedState>,
    /// Why, for a person to read, if it said so.
    pub reason: Option<String>,
}

/// The prices that were agreed at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    /// Its place in the feed and its time. To go on after it in another process, start
    /// [after](super::Start::After) it.
    pub id: TickId,
    /// The entry before it.
    pub prev: TickId,
    /// A price for each chosen currency that could be agreed on. Empty where none could.
    pub prices: BTreeMap<Currency, Price>,
    /// The sources that each price came from. `simulated` is a market that is made up.
    pub sources: BTreeMap<Currency, Vec<String>>,
}

/// A change of the feed's health.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Its place in the feed and its time.
    pub id: TickId,
    /// The entry before it.
    pub prev: TickId,
    /// What it is now.
    pub state: FeedState,
    /// Since when: for `stale` and `down` the last price before it, for `live` the moment prices came back.
    pub since: TickId,
    /// Why, for a person to read.
    pub reason: String,
}

/// Between these two ids something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The last id before it.
    pub after: TickId,
    /// The first id behind it.
    pub before: TickId,
    /// Why.
    pub reason: GapReason,
    /// The currencies concerned, where it is not all of the chosen ones.
    pub currencies: Option<Currencies>,
}

/// Why something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// No price could be agreed in that time.
    SourceOutage,
    /// It is older than what the feed keeps.
    HistoryExpired,
    /// The feed's store lost it.
    HistoryLost,
    /// More was missed than was asked for.
    ReplayLimit,
    /// The server said nothing. Its updates did not follow on one another, and this client has noticed.
    Unexplained,
    /// A reason that this version does not know.
    Other(String),
}

impl GapReason {
    /// The word that the server uses; `unexplained` is this client's own.
    pub fn as_str(&self) -> &str {
        match self {
            GapReason::SourceOutage => "source_outage",
            GapReason::HistoryExpired => "history_expired",
            GapReason::HistoryLost => "history_lost",
            GapReason::ReplayLimit => "replay_limit",
            GapReason::Unexplained => "unexplained",
            GapReason::Other(word) => word,
        }
    }
}

impl From<&str> for GapReason {
    fn from(word: &str) -> GapReason {
        let known = [
            GapReason::SourceOutage,
            GapReason::HistoryExpired,
            GapReason::HistoryLost,
            GapReason::ReplayLimit,
            GapReason::Unexplained,
        ];
        known.into_iter().find(|reason| reason.as_str() == word).unwrap_or_else(|| GapReason::Other(word.to_owned()))
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
