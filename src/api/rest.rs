//! Endpoints that answer with one response: the latest price, the history, candles and the status.

pub(crate) mod candles;
pub(crate) mod history;
pub(crate) mod latest;
pub(crate) mod status;
