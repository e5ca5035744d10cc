//! The query of `/v1/prices/at`.

use super::reader::{QueryReader, SupportedCurrencies};
use crate::api::problem::Problem;
use crate::text::parse_duration;
use crate::tick::{Currencies, TickId};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The accepted lengths of a window.
const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// A moment, and the length of the window that ends at this moment. The answer has the average over the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PriceAtQuery {
    pub(crate) currencies: Currencies,
    /// The moment, or `None` for now.
    pub(crate) time: Option<TickId>,
    pub(crate) window: Option<Duration>,
    /// True if the moment depends on the time of the request.
    pub(crate) is_moving: bool,
}

impl PriceAtQuery {
    /// Reads the query.
    ///
    /// # Errors
    /// 400 that lists the mistakes, at most eight of them.
    pub(crate) fn read(query: &str, supported: SupportedCurrencies) -> Result<PriceAtQuery, Problem> {
        let mut query = QueryReader::new(query);
        let currencies = query.currencies(supported);
        let time = query.moment("time", &["time"]);
        let window = query.one(&["window"], |text| {
            let window = parse_duration(text).filter(|window| WINDOW.contains(window));
            window.ok_or_else(|| format!("invalid window {text:?}: expected a duration from 1s to 1h"))
        });
        let is_moving = time.is_none() || query.is_moving;
        query.finish(&["currency", "time", "window"])?;
        Ok(PriceAtQuery { currencies, time, window, is_moving })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currency;

    fn read(query: &str) -> Result<PriceAtQuery, String> {
        let supported = SupportedCurrencies { currencies: Currencies::USD_EUR, default: Currency::Usd };
        PriceAtQuery::read(query, supported).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn window_has_bounds() {
        let query = read("time=1795166431&window=1h&currency=EUR").unwrap();
        let expected = (Some(TickId::from_ms(1_795_166_431_000)), Some(Duration::from_secs(3600)));
        assert_eq!((query.time, query.window), expected);
        assert_eq!(read("").unwrap().time, None);
        let is_moving = |query| read(query).unwrap().is_moving;
        assert!(is_moving("") && is_moving("time=10m") && !is_moving("time=2026-11-20"));
        for window in ["999ms", "61m", "0s", "soon", "-5s"] {
            let error = read(&format!("window={window}")).unwrap_err();
            assert_eq!(error, format!("invalid window {window:?}: expected a duration from 1s to 1h"));
        }
        assert!(
            read("time=yesterday").unwrap_err().starts_with(r#"invalid time "yesterday": expected a time before now"#)
        );
    }
}
