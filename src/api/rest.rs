//! Requests that are answered once.

pub(crate) mod candles;
pub(crate) mod history;
pub(crate) mod latest;
