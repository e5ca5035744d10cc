//! Endpoints that answer with one response: the latest price, the history, the price at a moment, candles, the sources
//! and the status, and prices and candles in the shapes of other services.

pub(crate) mod candles;
pub(crate) mod history;
pub(crate) mod latest;
pub(crate) mod mempool;
pub(crate) mod price_at;
pub(crate) mod sources;
pub(crate) mod status;
pub(crate) mod udf;
