//! The queries of `/udf/…`. Unknown parameters are ignored, because charts and their wrappers send some of their own.

use super::reader::{QueryReader, SupportedCurrencies};
use crate::api::problem::Problem;
use crate::candle::Interval;
use crate::message::udf;
use crate::text::join_list;
use crate::tick::{Currency, TickId};

/// Maximum number of candles in a response.
pub(crate) const MAX_CANDLES: usize = 10_000;
/// Maximum number of candles in a response if the query has neither `from` nor `countback`.
const DEFAULT_CANDLES: usize = 300;
/// Maximum number of symbols in a response if the query has no limit.
const DEFAULT_SYMBOLS: usize = 30;

/// The candles that a chart asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UdfHistoryQuery {
    pub(crate) currency: Currency,
    pub(crate) interval: Interval,
    /// The first moment, or zero if only `limit` bounds the candles.
    pub(crate) from: TickId,
    /// Every candle begins before this moment.
    pub(crate) to: TickId,
    /// Maximum number of candles. If there are more, the newest are returned.
    pub(crate) limit: usize,
}

impl UdfHistoryQuery {
    /// Reads the query. Without `to`, the range ends with `now`.
    ///
    /// # Errors
    /// 400 that lists the mistakes, at most eight of them.
    pub(crate) fn read(query: &str, supported: SupportedCurrencies, now: TickId) -> Result<UdfHistoryQuery, Problem> {
        let mut query = QueryReader::new(query);
        let currency = read_symbol(&mut query, supported);
        let interval = query.one(&["resolution"], resolution).unwrap_or(Interval::Day);
        let from = query.one(&["from"], |text| seconds("from", text));
        let to = query.one(&["to"], |text| seconds("to", text)).unwrap_or(now.next());
        let count = query.one(&["countback"], |text| number("countback", text));
        let code = query.one(&["currencyCode"], |text| {
            let is_same = text.eq_ignore_ascii_case(currency.code());
            is_same.then_some(()).ok_or_else(|| format!("invalid currencyCode {text:?}: expected {currency}"))
        });
        code.unwrap_or_default();
        query.finish_with_others()?;
        // `countback` has precedence over `from`.
        let (from, limit) = match (from, count) {
            (_, Some(count)) => (TickId::ZERO, count.min(MAX_CANDLES)),
            (Some(from), None) => (from, MAX_CANDLES),
            (None, None) => (TickId::ZERO, DEFAULT_CANDLES),
        };
        Ok(UdfHistoryQuery { currency, interval, from, to, limit })
    }

    /// Returns the number of candles that the range has room for, at most `limit`.
    pub(crate) fn volume(&self) -> usize {
        let ms = self.to.ms().saturating_sub(self.from.ms());
        usize::try_from(ms / self.interval.ms() + 1).unwrap_or(usize::MAX).min(self.limit)
    }
}

/// Reads the query of a symbol.
///
/// # Errors
/// 400 if it is not a symbol of the feed.
pub(crate) fn read_udf_symbol(query: &str, supported: SupportedCurrencies) -> Result<Currency, Problem> {
    let mut query = QueryReader::new(query);
    let currency = read_symbol(&mut query, supported);
    query.finish_with_others().map(|()| currency)
}

/// What a search looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UdfSearchQuery {
    /// The text in upper case.
    pub(crate) text: String,
    /// True if the type and the exchange are those of the symbols, or not given.
    pub(crate) is_here: bool,
    pub(crate) limit: usize,
}

impl UdfSearchQuery {
    /// Reads the query.
    ///
    /// # Errors
    /// 400 that lists the mistakes.
    pub(crate) fn read(query: &str) -> Result<UdfSearchQuery, Problem> {
        let mut query = QueryReader::new(query);
        let text = query.one(&["query"], |text| Ok(text.to_ascii_uppercase())).unwrap_or_default();
        let mut is_own = |name, own: &str| {
            query.one(&[name], |text| Ok(text.is_empty() || text.eq_ignore_ascii_case(own))).unwrap_or(true)
        };
        let is_here = is_own("type", udf::TYPE) & is_own("exchange", udf::EXCHANGE);
        let limit = query.one(&["limit"], |text| number("limit", text)).unwrap_or(DEFAULT_SYMBOLS);
        query.finish_with_others()?;
        Ok(UdfSearchQuery { text, is_here, limit })
    }
}

/// Returns the currency of the parameter `symbol`. The name of an exchange before the symbol is ignored.
fn read_symbol(query: &mut QueryReader<'_>, supported: SupportedCurrencies) -> Currency {
    let found = query.one(&["symbol"], |text| {
        let name = text.rsplit_once(':').map_or(text, |(_, name)| name).to_ascii_uppercase();
        let is_named = |currency: &Currency| udf::symbol(*currency) == name;
        supported.currencies.iter().find(is_named).ok_or_else(|| {
            let symbols: Vec<_> = supported.currencies.iter().map(udf::symbol).collect();
            format!("invalid symbol {text:?}: expected {}", join_list(&symbols, "or"))
        })
    });
    found.unwrap_or(supported.default)
}

fn resolution(text: &str) -> Result<Interval, String> {
    match text {
        "1" => Ok(Interval::Minute),
        "5" => Ok(Interval::FiveMinutes),
        "15" => Ok(Interval::FifteenMinutes),
        "60" => Ok(Interval::Hour),
        "240" => Ok(Interval::FourHours),
        "1D" | "D" => Ok(Interval::Day),
        _ => Err(format!("invalid resolution {text:?}: expected {}", join_list(&udf::RESOLUTIONS, "or"))),
    }
}

/// Parses a moment in Unix seconds. A moment before 1970, which a chart that goes far back may ask for, counts as 0.
fn seconds(name: &str, text: &str) -> Result<TickId, String> {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let seconds: Option<i64> = whole.parse().ok();
    let ms = seconds.map(|seconds| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    ms.map(TickId::from_ms).ok_or_else(|| format!("invalid {name} {text:?}: expected Unix seconds such as 1795166400"))
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("invalid {name} {text:?}: expected a number from 1 on"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currencies;

    fn read(query: &str) -> Result<UdfHistoryQuery, String> {
        let supported = SupportedCurrencies { currencies: Currencies::USD_EUR, default: Currency::Usd };
        let now = TickId::from_ms(1_795_166_400_500);
        UdfHistoryQuery::read(query, supported, now).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn countback_has_precedence_over_from() {
        let query = read("symbol=BTCFEED:btceur&resolution=60&from=1795100000&to=1795166400&countback=9&x=1").unwrap();
        let (currency, interval, to) = (Currency::Eur, Interval::Hour, TickId::from_ms(1_795_166_400_000));
        assert_eq!(query, UdfHistoryQuery { currency, interval, from: TickId::ZERO, to, limit: 9 });
        let query = read("resolution=D&from=-5.5&to=1795166400").unwrap();
        assert_eq!((query.interval, query.from, query.limit), (Interval::Day, TickId::ZERO, MAX_CANDLES));
        assert_eq!(read("from=1795166000&to=1795166400&resolution=1").unwrap().volume(), 7);
        assert_eq!(read("").unwrap().volume(), DEFAULT_CANDLES);
    }

    #[test]
    fn udf_mistakes_say_what_is_expected() {
        for (query, expected) in [
            ("symbol=BTCGBP", r#"invalid symbol "BTCGBP": expected BTCUSD or BTCEUR"#),
            ("resolution=30", r#"invalid resolution "30": expected 1, 5, 15, 60, 240 or 1D"#),
            ("to=now", r#"invalid to "now": expected Unix seconds such as 1795166400"#),
            ("countback=0", r#"invalid countback "0": expected a number from 1 on"#),
            ("currencyCode=EUR", r#"invalid currencyCode "EUR": expected USD"#),
        ] {
            assert_eq!(read(query).unwrap_err(), expected);
        }
    }
}
