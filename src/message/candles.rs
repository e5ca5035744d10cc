//! Candles as JSON.

use super::by_currency::ByCurrency;
use super::price::ExactPrice;
use super::timedate::Timedate;
use super::word::Word;
use crate::candle::{Candle, Interval, Ohlc};
use crate::feed::{Gap, GapReason};
use crate::tick::{Currencies, Currency, TickId};
use serde::{Deserialize, Serialize};

/// A page of candles of one interval, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Candles))]
pub struct CandlesPage<'a> {
    /// The length of each candle.
    #[cfg_attr(feature = "server", schema(inline))]
    pub interval: Interval,
    /// The candles. An interval without a price in any chosen currency has none. An interval in which entries may be
    /// missing has none either: `gaps` lists what is missing.
    pub candles: Vec<CandleMessage<'a>>,
    /// The ranges in which prices are missing. A chart should not draw a line across them.
    pub gaps: Vec<PageGap>,
    /// The `after` of the next page. `null` means that you have reached the end.
    #[cfg_attr(feature = "server", schema(required, value_type = Option<u64>))]
    pub next: Option<TickId>,
}

/// A summary of the prices in one interval. The newest candle may still change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Candle))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "id": 1_795_166_400_000_u64, "timedate": "2026-11-20T09:20:00.000Z", "ticks": 12,
    "prices": {"USD": {"open": 97100.5, "high": 97120, "low": 97090.25, "close": 97116.17}}
}))))]
pub struct CandleMessage<'a> {
    /// The first moment of the interval: a multiple of its length in Unix milliseconds.
    pub id: TickId,
    /// The same moment as `id`.
    pub timedate: Timedate<'a>,
    /// The number of ticks in the interval with a price in a chosen currency.
    #[cfg_attr(feature = "server", schema(value_type = u64, minimum = 1))]
    pub ticks: u32,
    /// The prices in each chosen currency that had a price.
    pub prices: CandlePrices,
}

/// The prices of an interval in each chosen currency that had a price.
pub type CandlePrices = ByCurrency<ExactOhlc>;

/// The first, highest, lowest and last price of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = Ohlc))]
pub struct ExactOhlc {
    /// The first price.
    pub open: ExactPrice,
    /// The highest price.
    pub high: ExactPrice,
    /// The lowest price.
    pub low: ExactPrice,
    /// The last price.
    pub close: ExactPrice,
}

/// A range of ids in which prices are missing, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PageGap {
    /// The last id before the gap. If the first candles that the request asks for have expired, this is the id after
    /// which the request starts, or 0 if the request has no start.
    #[cfg_attr(feature = "server", schema(value_type = u64))]
    pub after: TickId,
    /// The first id after the gap.
    pub before: TickId,
    /// The reason.
    #[cfg_attr(feature = "server", schema(value_type = GapReason))]
    pub reason: Word<GapReason>,
    /// The affected currencies. Missing if all chosen currencies are affected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(required = false, value_type = Vec<Currency>))]
    pub currencies: Option<Vec<Word<Currency>>>,
}

impl CandleMessage<'static> {
    /// Returns the message about a candle for a client that chose these currencies.
    pub fn new(candle: &Candle, chosen: Currencies) -> CandleMessage<'static> {
        let prices = chosen.iter().filter_map(|currency| Some((currency, candle.price(currency)?.into())));
        CandleMessage {
            id: candle.id,
            timedate: candle.id.into(),
            ticks: candle.ticks(chosen),
            prices: prices.collect(),
        }
    }
}

impl From<&Ohlc> for ExactOhlc {
    fn from(ohlc: &Ohlc) -> ExactOhlc {
        let [open, high, low, close] = [ohlc.open, ohlc.high, ohlc.low, ohlc.close].map(ExactPrice);
        ExactOhlc { open, high, low, close }
    }
}

impl From<&Gap> for PageGap {
    fn from(gap: &Gap) -> PageGap {
        let Gap { after, before, reason, only } = *gap;
        PageGap { after, before, reason: reason.into(), currencies: only.map(super::stream::words) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_of_candles_is_read_as_it_is_written() {
        let json = r#"{"interval":"5m","candles":[{"id":1795166400000,"timedate":"2026-11-20T09:20:00.000Z","ticks":12,"prices":{"USD":{"open":97100.50,"high":97120,"low":97090.25,"close":97116.17}}}],"gaps":[{"after":0,"before":1795166400000,"reason":"history_expired","currencies":["EUR"]}],"next":null}"#;
        let page: CandlesPage<'_> = serde_json::from_str(json).unwrap();
        assert_eq!(page.interval, Interval::FiveMinutes);
        assert_eq!(serde_json::to_string(&page).unwrap(), json);
    }

    #[test]
    fn interval_is_written_by_its_name() {
        for interval in Interval::ALL {
            assert_eq!(serde_json::to_value(interval).unwrap(), interval.name());
        }
    }
}
