//! Names of our own headers.

pub(crate) use crate::net::stall::REQUEST_ID;
use axum::http::HeaderName;

/// State of the feed as this replica sees it: `live`, `degraded`, `stale` or `down`.
pub(crate) const STATE: HeaderName = HeaderName::from_static("btcfeed-state");
/// Age of the newest tick in milliseconds.
pub(crate) const TICK_AGE: HeaderName = HeaderName::from_static("btcfeed-tick-age-ms");
/// `true` if the newest prices are simulated.
pub(crate) const SIMULATED: HeaderName = HeaderName::from_static("btcfeed-simulated");
