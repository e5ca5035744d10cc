//! Names of our own headers.

use axum::http::HeaderName;

/// State of the feed as this replica sees it: `live`, `stale` or `down`.
pub(crate) const STATE: HeaderName = HeaderName::from_static("btcfeed-state");
/// Age of the newest tick in milliseconds.
pub(crate) const TICK_AGE: HeaderName = HeaderName::from_static("btcfeed-tick-age-ms");
/// `true` if the newest prices are simulated.
pub(crate) const SIMULATED: HeaderName = HeaderName::from_static("btcfeed-simulated");
/// Id of the request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
