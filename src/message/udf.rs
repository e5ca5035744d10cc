//! Answers in the formats of UDF, the protocol with which TradingView's chart reads candles.
//!
//! The names are those of the protocol: <https://www.tradingview.com/charting-library-docs/latest/connecting_data/UDF>.

use super::price::ExactPrice;
use crate::tick::Currency;
use serde::Serialize;
use utoipa::ToSchema;

/// The resolutions that a chart can ask for.
pub(crate) const RESOLUTIONS: [&str; 6] = ["1", "5", "15", "60", "240", "1D"];
/// The name of the exchange of all symbols.
pub(crate) const EXCHANGE: &str = "BTCFEED";
/// The type of all symbols.
pub(crate) const TYPE: &str = "crypto";

/// The features of this data feed.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the protocol has them")]
pub(crate) struct UdfConfig {
    /// The lengths of candles: minutes, or `1D` for a day.
    pub(crate) supported_resolutions: [&'static str; 6],
    /// `true`: `/udf/search` and `/udf/symbols` answer.
    supports_search: bool,
    /// `false`: symbols are not listed by group.
    supports_group_request: bool,
    /// `false`: the feed has no marks.
    supports_marks: bool,
    /// `false`: the feed has no marks on the time scale.
    supports_timescale_marks: bool,
    /// `true`: `/udf/time` answers.
    supports_time: bool,
}

/// A symbol: bitcoin in a currency of the feed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "name": "BTCUSD", "ticker": "BTCUSD", "description": "Bitcoin in USD", "type": "crypto", "exchange": "BTCFEED",
    "listed_exchange": "BTCFEED", "session": "24x7", "timezone": "Etc/UTC", "format": "price", "minmov": 1, "pricescale": 100,
    "has_intraday": true, "intraday_multipliers": ["1", "5", "15", "60", "240"], "has_daily": true,
    "has_weekly_and_monthly": false, "supported_resolutions": ["1", "5", "15", "60", "240", "1D"],
    "visible_plots_set": "ohlc", "data_status": "streaming", "currency_code": "USD"
})))]
pub(crate) struct UdfSymbol {
    /// The symbol.
    name: String,
    /// The symbol as requests for candles name it.
    ticker: String,
    /// The description.
    description: String,
    /// The type.
    r#type: &'static str,
    /// The exchange.
    exchange: &'static str,
    /// The exchange.
    listed_exchange: &'static str,
    /// The time in which there are prices: always.
    session: &'static str,
    /// The time zone in which days begin and end.
    timezone: &'static str,
    /// The format of a price.
    format: &'static str,
    /// The smallest change of a displayed price, in units of `1 / pricescale`.
    minmov: u32,
    /// The number of displayed decimals, as a power of ten: `100` means two decimals.
    pricescale: u32,
    /// `true`: there are candles of less than a day.
    has_intraday: bool,
    /// The lengths of candles of less than a day, in minutes.
    intraday_multipliers: [&'static str; 5],
    /// `true`: there are candles of a day.
    has_daily: bool,
    /// `false`: the chart makes longer candles from those of a day.
    has_weekly_and_monthly: bool,
    /// The lengths of candles.
    supported_resolutions: [&'static str; 6],
    /// The prices of a candle. There is no volume.
    visible_plots_set: &'static str,
    /// The kind of data.
    data_status: &'static str,
    /// The currency.
    #[schema(value_type = Currency)]
    currency_code: &'static str,
}

/// A symbol that a search has found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfSearchResult {
    /// The symbol.
    pub(crate) symbol: String,
    /// The symbol with its exchange.
    full_name: String,
    /// The symbol as requests for candles name it.
    ticker: String,
    /// The description.
    pub(crate) description: String,
    /// The exchange.
    exchange: &'static str,
    /// The type.
    r#type: &'static str,
}

/// Candles as a table, or the reason why there are none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "s", rename_all = "snake_case")]
pub(crate) enum UdfHistory {
    /// Candles. Each list has a value for each candle, oldest first.
    Ok {
        /// The first moments of the candles, in Unix seconds.
        t: Vec<u64>,
        /// The first prices.
        o: Vec<ExactPrice>,
        /// The highest prices.
        h: Vec<ExactPrice>,
        /// The lowest prices.
        l: Vec<ExactPrice>,
        /// The last prices.
        c: Vec<ExactPrice>,
    },
    /// There is no candle in the range.
    NoData {
        /// The first moment of the newest candle before the range, in Unix seconds. Missing if there is none.
        #[serde(rename = "nextTime", skip_serializing_if = "Option::is_none")]
        #[schema(required = false, value_type = u64)]
        next_time: Option<u64>,
    },
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfErrorMessage {
    /// `error`.
    pub(crate) s: &'static str,
    /// What is wrong, and what is expected.
    pub(crate) errmsg: String,
}

impl UdfConfig {
    pub(crate) fn new() -> UdfConfig {
        UdfConfig {
            supported_resolutions: RESOLUTIONS,
            supports_search: true,
            supports_group_request: false,
            supports_marks: false,
            supports_timescale_marks: false,
            supports_time: true,
        }
    }
}

/// Returns the name of the symbol for a currency.
pub(crate) fn symbol(currency: Currency) -> String {
    format!("BTC{currency}")
}

impl UdfSymbol {
    pub(crate) fn new(currency: Currency) -> UdfSymbol {
        UdfSymbol {
            name: symbol(currency),
            ticker: symbol(currency),
            description: description(currency),
            r#type: TYPE,
            exchange: EXCHANGE,
            listed_exchange: EXCHANGE,
            session: "24x7",
            timezone: "Etc/UTC",
            format: "price",
            minmov: 1,
            pricescale: 100,
            has_intraday: true,
            intraday_multipliers: ["1", "5", "15", "60", "240"],
            has_daily: true,
            has_weekly_and_monthly: false,
            supported_resolutions: RESOLUTIONS,
            visible_plots_set: "ohlc",
            data_status: "streaming",
            currency_code: currency.code(),
        }
    }
}

impl UdfSearchResult {
    pub(crate) fn new(currency: Currency) -> UdfSearchResult {
        UdfSearchResult {
            symbol: symbol(currency),
            full_name: format!("{EXCHANGE}:{}", symbol(currency)),
            ticker: symbol(currency),
            description: description(currency),
            exchange: EXCHANGE,
            r#type: TYPE,
        }
    }
}

fn description(currency: Currency) -> String {
    format!("Bitcoin in {currency}")
}
