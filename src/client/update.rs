//! The updates that the stream returns.
//!
//! Newer servers may send more fields and messages, so newer versions of this crate may add fields and variants to
//! these types.

use crate::feed::{FeedState, GapReason};
use crate::tick::{Audit, Currencies, Currency, Price, TickId};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// An event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// A replica has answered. The updates that follow come from it.
    Connected(Connected),
    /// New prices.
    Tick(TickUpdate),
    /// A change of the feed's health.
    Status(StatusUpdate),
    /// Updates are missing here.
    Gap(GapUpdate),
    /// The replay is complete, and later updates are live. This comes once after each [`Connected`](Update::Connected),
    /// unless the connection ends first.
    Synced {
        /// The id to resume after.
        id: TickId,
    },
    /// A connection has ended or could not be opened. The stream connects again by itself.
    Disconnected {
        /// The reason, as text for people.
        why: String,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
}

/// The replica that has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connected {
    /// The address of the connection, as in [`Statistics`](super::Statistics).
    pub address: String,
    /// The name of the replica, if it sent one.
    pub replica: Option<String>,
    /// The version of the replica, if it sent one.
    pub version: Option<String>,
    /// The currencies of the feed. Empty if the replica did not send them.
    pub currencies: Currencies,
    /// The time between two ticks, if the replica sent it.
    pub interval: Option<Duration>,
    /// The state of the feed, until the next status. If no replica writes, no status says so: only the age of the
    /// newest tick shows it. `None` if the feed had neither a tick nor a status yet, or if the replica sent no state,
    /// or one that this version does not know.
    pub state: Option<FeedState>,
    /// The reason for the state, as text for people, if the replica sent one.
    pub reason: Option<String>,
}

/// The prices at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TickUpdate {
    /// The position in the feed, which is also the moment. To continue after this tick in another process, start
    /// [after](super::Start::After) this id.
    pub id: TickId,
    /// The id of the entry before it.
    pub prev: TickId,
    /// A price for each chosen currency that has one. The map may be empty.
    pub prices: BTreeMap<Currency, Price>,
    /// For each price, the names of the sources from which it was made. Prices of `simulated` are not from a market.
    pub sources: BTreeMap<Currency, Vec<String>>,
    /// The version of the method by which the prices were made, or zero if the tick is from before version 1.
    pub method: u32,
    /// For each price, how far the sources differ: the distance to the farther of the 25th and the 75th percentile of
    /// the values that were used. Empty if the tick is from before version 1 of the method.
    pub confidence: BTreeMap<Currency, Decimal>,
    /// For each price, the highest minus the lowest value that was used. Empty if the tick is from before version 1 of
    /// the method.
    pub spread: BTreeMap<Currency, Decimal>,
    /// The inputs of the prices and the numbers of the method, if the client [asked for them](super::Builder::audit)
    /// and the feed has kept them.
    pub audit: Option<Audit>,
}

/// A change of the feed's health.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusUpdate {
    /// The position in the feed, which is also the moment.
    pub id: TickId,
    /// The id of the entry before it.
    pub prev: TickId,
    /// The new state.
    pub state: FeedState,
    /// The start of the state: for `stale` and `down` the moment of the last price, for `degraded` that of the last
    /// price from enough sources, for `live` the moment at which the feed recovered. If the reason is about clocks, the
    /// moment of the status.
    pub since: TickId,
    /// The reason, as text for people.
    pub reason: String,
}

/// A range of ids in which updates are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GapUpdate {
    /// The last id before the gap.
    pub after: TickId,
    /// The first id after it.
    pub before: TickId,
    /// The reason.
    pub reason: GapCause,
    /// The affected currencies. `None` if all chosen currencies are affected.
    pub currencies: Option<Currencies>,
}

/// The reason why updates are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// There were no prices in that time.
    SourceOutage,
    /// The entries are older than the retention of the feed.
    HistoryExpired,
    /// The store of the feed lost the entries.
    HistoryLost,
    /// The client limited the number of ticks in its replay.
    ReplayLimit,
    /// The store of the feed could not be written for so long that the server dropped ticks.
    HeldTooLong,
    /// The server remembers no id of this [`client_id`](super::Builder::client_id): it is new, it was not used for as
    /// long as ticks are kept, or the store of the feed has lost it. The first entry after the gap is the latest tick.
    UnknownClientId,
    /// The server gave no reason: this client noticed that an entry does not continue the one before it.
    Unexplained,
    /// A reason that this version does not know.
    Other(String),
}

impl GapCause {
    /// Returns the reason as the server writes it, or `unexplained`.
    pub fn as_str(&self) -> &str {
        match self {
            GapCause::SourceOutage => GapReason::SourceOutage.as_str(),
            GapCause::HistoryExpired => GapReason::HistoryExpired.as_str(),
            GapCause::HistoryLost => GapReason::HistoryLost.as_str(),
            GapCause::ReplayLimit => GapReason::ReplayLimit.as_str(),
            GapCause::HeldTooLong => GapReason::HeldTooLong.as_str(),
            GapCause::UnknownClientId => GapReason::UnknownClientId.as_str(),
            GapCause::Unexplained => "unexplained",
            GapCause::Other(word) => word,
        }
    }
}

impl From<GapReason> for GapCause {
    fn from(reason: GapReason) -> GapCause {
        match reason {
            GapReason::SourceOutage => GapCause::SourceOutage,
            GapReason::HistoryExpired => GapCause::HistoryExpired,
            GapReason::HistoryLost => GapCause::HistoryLost,
            GapReason::ReplayLimit => GapCause::ReplayLimit,
            GapReason::HeldTooLong => GapCause::HeldTooLong,
            GapReason::UnknownClientId => GapCause::UnknownClientId,
        }
    }
}

impl fmt::Display for GapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
