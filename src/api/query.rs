//! The query of a request. All paths over HTTP use the same reader. Its errors name the invalid values, at most eight
//! of them, and what is expected.

mod candles;
mod history;
mod mempool;
mod price_at;
mod reader;
mod status;
mod subscription;
mod udf;

pub(crate) use candles::CandlesQuery;
pub(crate) use history::HistoryQuery;
pub(crate) use mempool::HistoricalPriceQuery;
pub(crate) use price_at::PriceAtQuery;
pub(crate) use reader::{SINCE, SupportedCurrencies};
pub(crate) use status::{read_max_age, read_sources};
pub(crate) use subscription::{read_last_event_id, read_latest, read_subscription};
pub(crate) use udf::{UdfHistoryQuery, UdfSearchQuery, read_udf_symbol};
