//! The kind of the prices in a feed. A feed has only prices of one kind, because most formats do not show the kind.

use crate::feed::Entry;

/// The kind of the prices in a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceKind {
    /// Prices of exchanges.
    Real,
    /// Prices that this program has made up.
    Simulated,
}

/// The name of the source of simulated prices in the entries of a feed.
const SIMULATED: &str = "simulated";

impl PriceKind {
    /// Returns the word for the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            PriceKind::Real => "real",
            PriceKind::Simulated => SIMULATED,
        }
    }

    /// Returns the kind of prices from these sources.
    pub fn of<'a>(mut sources: impl Iterator<Item = &'a str>) -> PriceKind {
        if sources.any(|source| source == SIMULATED) { PriceKind::Simulated } else { PriceKind::Real }
    }

    /// Returns the kind of a tick's prices. Returns `None` if the entry is a status, or if its tick names no source.
    pub fn of_entry(entry: &Entry) -> Option<PriceKind> {
        let mut sources = entry.tick()?.sources.values().flatten().map(String::as_str).peekable();
        sources.peek()?;
        Some(PriceKind::of(sources))
    }
}

/// Returns the reason why a replica may not write into a feed with prices of the other kind, and what to do. `kept` is
/// the kind in the feed. `other_place` names the setting for another feed, such as `another BTCFEED_DATA`.
pub(super) fn refusal(kept: &str, other_place: &str) -> String {
    let (kept, own, remedy) = if kept == SIMULATED {
        (
            SIMULATED,
            "real",
            "stop all replicas and delete the simulated prices with btcfeed store clear --simulated --yes",
        )
    } else {
        ("real", SIMULATED, "stop all replicas and delete the feed with btcfeed store clear --yes")
    };
    format!("the feed has {kept} prices and this replica would write {own} ones: set {other_place}, or {remedy}")
}
