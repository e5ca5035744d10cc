//! The query of `/api/v1/historical-price`.

use super::reader::{QueryReader, SupportedCurrencies};
use crate::api::problem::Problem;
use crate::tick::{Currency, TickId};

/// A moment and a currency, each of which may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoricalPriceQuery {
    /// The currency, or `None` for all.
    pub(crate) currency: Option<Currency>,
    /// The moment, or `None` for the first prices of each hour.
    pub(crate) time: Option<TickId>,
}

impl HistoricalPriceQuery {
    /// Reads the query. As in mempool.space, a timestamp that is empty or zero counts as missing.
    ///
    /// # Errors
    /// 400 that lists the mistakes, at most eight of them.
    pub(crate) fn read(query: &str, supported: SupportedCurrencies) -> Result<HistoricalPriceQuery, Problem> {
        let mut query = QueryReader::new(query);
        let currency = query.currency(supported.currencies);
        let time = query.one(&["timestamp"], |text| {
            let seconds = if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
            let seconds = seconds
                .ok_or_else(|| format!("invalid timestamp {text:?}: expected Unix seconds such as 1795166431"))?;
            Ok(TickId::from_ms(seconds.saturating_mul(1000)))
        });
        query.finish(&["currency", "timestamp"])?;
        Ok(HistoricalPriceQuery { currency, time: time.filter(|time| *time > TickId::ZERO) })
    }
}
