//! The report of a replica about the feed and about itself, as `/v1/status` returns it.

use super::by_currency::ByCurrency;
use super::word::Word;
use crate::feed::FeedState;
use crate::tick::{Currency, TickId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// An age in milliseconds for each currency.
pub type TickAges = ByCurrency<u64>;

/// The state of the feed and of its replicas, as one replica sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Report))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "state": "live", "reason": "prices arrive", "tick_age_ms": {"USD": 1204, "EUR": 1204},
    "last_id": 1_795_166_431_075_u64, "simulated": false, "leader": "r1", "replica": "r2",
    "replicas": [{"name": "r1", "version": "0.3.0"}, {"name": "r2", "version": "0.3.0"}],
    "sources": [{"name": "kraken", "currencies": ["USD", "EUR"]}], "store": {"kind": "redis", "up": true},
    "warnings": [],
    "version": "0.3.0", "uptime_s": 86_400
}))))]
pub struct StatusReport<'a> {
    /// The state of the feed.
    #[cfg_attr(feature = "server", schema(value_type = FeedState))]
    pub state: Word<FeedState>,
    /// The reason for the state, as text for people.
    pub reason: Cow<'a, str>,
    /// For each currency, the age of the newest tick with a price in it, in milliseconds. A currency is left out if
    /// this replica knows no price in it.
    pub tick_age_ms: TickAges,
    /// The id of the newest entry, or 0 if there is none.
    #[cfg_attr(feature = "server", schema(value_type = u64))]
    pub last_id: TickId,
    /// True if the newest prices are simulated.
    pub simulated: bool,
    /// The name of the replica that leads, or null if none does or the store does not answer.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub leader: Option<Cow<'a, str>>,
    /// The name of the replica that answers.
    pub replica: Cow<'a, str>,
    /// The replicas that are alive, as of the last answer of the store.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub replicas: Vec<ReplicaReport<'a>>,
    /// The sources that this replica is configured to poll, and those of the newest tick.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub sources: Vec<SourceReport<'a>>,
    /// The store.
    #[cfg_attr(feature = "server", schema(inline))]
    pub store: StoreReport<'a>,
    /// What an operator should know, as texts for people, for example that clocks differ.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required))]
    pub warnings: Vec<Cow<'a, str>>,
    /// The version of the program that answers.
    pub version: Cow<'a, str>,
    /// The seconds since the start of the replica that answers.
    pub uptime_s: u64,
}

/// A replica that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReplicaReport))]
pub struct ReplicaReport<'a> {
    /// The name of the replica.
    pub name: Cow<'a, str>,
    /// The version of its program.
    pub version: Cow<'a, str>,
}

/// A source of prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = SourceReport))]
pub struct SourceReport<'a> {
    /// The name of the source.
    pub name: Cow<'a, str>,
    /// The currencies whose price in the newest tick was made with this source.
    #[cfg_attr(feature = "server", schema(value_type = Vec<Currency>))]
    pub currencies: Vec<Word<Currency>>,
}

/// The store of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = StoreReport))]
pub struct StoreReport<'a> {
    /// `redis`, `disk` or `memory`.
    pub kind: Cow<'a, str>,
    /// True if the store passed the last check, which runs once a second.
    pub up: bool,
    /// The reason why this replica cannot write to the store at the moment, or must not lead. A leader keeps new
    /// updates in memory until it can write them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Cow<'a, str>>,
}
