//! The sources of prices: one adapter for each exchange, and one registry that lists them.
//!
//! An adapter is a [`Definition`]: data, and two pure functions that say what to request and how to read the answer.
//! `http.rs` sends the requests in the same way for all exchanges. Status 200 alone is not success: an answer counts
//! only if it has the documented form.
//!
//! A new source needs a file with its `DEFINITION`, a `mod` line here and a line in `registry.rs`. docs/development.md
//! lists all steps. Settings, help texts and generated documents take everything else from the definition.

#[cfg(any(test, fuzzing))]
pub(crate) mod answers;
mod binance;
mod bitfinex;
mod bitflyer;
mod bitstamp;
mod bitvavo;
mod btcmarkets;
mod coinbase;
mod coinbase_spot;
mod coindesk;
mod coingecko;
mod cryptocom;
mod date;
mod definition;
mod endpoint;
mod failure;
mod gemini;
mod http;
mod independentreserve;
mod kraken;
mod observation;
mod pause;
mod quote;
mod registry;
mod simulated;

pub use definition::{Definition, Origin};
pub use endpoint::Endpoint;
#[cfg(feature = "cli")]
pub(crate) use http::read_bounded;
pub use http::{HttpApi, KeyHeader, Reading, Request, is_http_url};
pub use observation::{Answer, Observation, Source, SourceError};
pub use registry::{DEFINITIONS, find};
pub use simulated::SIMULATED;
