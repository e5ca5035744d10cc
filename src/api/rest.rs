//! Endpoints that answer with one response: the latest price, the history and candles.

pub(crate) mod candles;
pub(crate) mod history;
pub(crate) mod latest;
