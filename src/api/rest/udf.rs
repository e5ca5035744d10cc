//! `GET /udf/…`: candles in the shapes of UDF, the protocol of TradingView's chart, so that the chart draws them.
//!
//! The chart's adapter does not look at the status of a response, but at `s` in its body. So the body of an error is
//! that of UDF. The status of an error is the same as on other paths.

use crate::api::problem::Problem;
use crate::api::query::{UdfHistoryQuery, UdfSearchQuery, read_udf_symbol};
use crate::api::state::ApiState;
use crate::candle::Candle;
use crate::message::udf::{UdfConfig, UdfErrorMessage, UdfHistory, UdfSearchResult, UdfSymbol};
use crate::message::{ExactPrice, ProblemDetails};
use crate::net::connection_limit::Permit;
use crate::schema::{answers, parameters};
use crate::tick::Currency;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;

/// Error in the shape of the protocol.
pub(crate) struct UdfError(Problem);

impl<E: Into<Problem>> From<E> for UdfError {
    fn from(error: E) -> UdfError {
        UdfError(error.into())
    }
}

impl IntoResponse for UdfError {
    fn into_response(self) -> Response {
        let message = UdfErrorMessage { s: "error", errmsg: self.0.detail().to_owned() };
        let mut response = self.0.into_response();
        // If these details stayed, `problem::add_request_id` would replace the body below with them.
        response.extensions_mut().remove::<ProblemDetails<'static>>();
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.body_mut() = Body::from(serde_json::to_vec(&message).unwrap_or_default());
        response
    }
}

/// Features for TradingView's chart
///
/// The paths below `/udf` follow UDF, the protocol of TradingView's chart. Give the chart the address `…/udf` as its
/// data feed. Unknown parameters are ignored.
#[utoipa::path(
    get, path = "/udf/config", tag = "TradingView",
    responses((status = 200, description = "The features.", body = UdfConfig), answers::Unauthorized)
)]
pub(crate) async fn config() -> Response {
    json(&UdfConfig::new())
}

/// Time for TradingView's chart
///
/// The current time in Unix seconds.
#[utoipa::path(
    get, path = "/udf/time", tag = "TradingView",
    responses((status = 200, description = "The time.", body = String, content_type = "text/plain"), answers::Unauthorized)
)]
pub(crate) async fn time(State(state): State<Arc<ApiState>>) -> Response {
    let headers = [(CACHE_CONTROL, "no-store, no-transform"), (CONTENT_TYPE, "text/plain")];
    (headers, state.monitor.now().seconds().to_string()).into_response()
}

/// A symbol for TradingView's chart
///
/// The symbols are bitcoin in each currency of the feed: `BTCUSD`, `BTCEUR`.
#[utoipa::path(
    get, path = "/udf/symbols", tag = "TradingView",
    params(parameters::UdfSymbolParameter),
    responses(
        (status = 200, description = "The symbol.", body = UdfSymbol),
        answers::UdfBadRequest, answers::Unauthorized
    )
)]
pub(crate) async fn symbols(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, UdfError> {
    let currency = read_udf_symbol(&query.unwrap_or_default(), state.currencies)?;
    Ok(json(&UdfSymbol::new(currency)))
}

/// Search for TradingView's chart
///
/// The symbols whose name or description contains the text.
#[utoipa::path(
    get, path = "/udf/search", tag = "TradingView",
    params(parameters::UdfSearchParameters),
    responses(
        (status = 200, description = "The symbols.", body = [UdfSearchResult]),
        answers::UdfBadRequest, answers::Unauthorized
    )
)]
pub(crate) async fn search(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, UdfError> {
    let UdfSearchQuery { text, is_here, limit } = UdfSearchQuery::read(&query.unwrap_or_default())?;
    let all = state.currencies.currencies.iter().filter(|_| is_here).map(UdfSearchResult::new);
    let has_text = |found: &UdfSearchResult| {
        [&found.symbol, &found.description].iter().any(|name| name.to_ascii_uppercase().contains(&text))
    };
    let found: Vec<_> = all.filter(has_text).take(limit).collect();
    Ok(json(&found))
}

/// Candles for TradingView's chart
///
/// The candles that begin before `to`. `countback` is the number of candles: the newest are returned. If `countback` is
/// missing, `from` is the first moment. An interval without a price, or in which entries may be missing, has no candle.
/// The newest candle may still change.
#[utoipa::path(
    get, path = "/udf/history", tag = "TradingView",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source":
        "curl 'http://localhost:8080/udf/history?symbol=BTCUSD&resolution=60&to=1795166400&countback=300'"
    }]))),
    params(parameters::UdfSymbolParameter, parameters::UdfHistoryParameters),
    responses(
        (status = 200, description = "The candles.", body = UdfHistory),
        answers::UdfBadRequest, answers::Unauthorized, answers::UdfTooManyRequests, answers::UdfUnavailable
    )
)]
pub(crate) async fn history(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    RawQuery(query): RawQuery,
) -> Result<Response, UdfError> {
    let query = UdfHistoryQuery::read(&query.unwrap_or_default(), state.currencies, state.monitor.now())?;
    let hub = state.primed_hub()?;
    permit.begin_read()?;
    permit.charge_volume(query.volume())?;
    state.candles.catch_up(hub).await.map_err(Problem::unreadable)?;
    let message = {
        let book = state.candles.book();
        let candles = |limit| book.newest_before(query.interval, query.currency.into(), query.to, limit);
        let mut found = candles(query.limit);
        found.retain(|candle| candle.id >= query.from);
        if found.is_empty() {
            UdfHistory::NoData { next_time: candles(1).last().map(|candle| candle.id.seconds()) }
        } else {
            table(query.currency, &found)
        }
    };
    Ok(json(&message))
}

/// Returns a response that a cache must validate.
fn json(message: &impl Serialize) -> Response {
    let headers = [(CACHE_CONTROL, "no-cache, no-transform"), (CONTENT_TYPE, "application/json")];
    let body = serde_json::to_string(message).expect("the messages have string keys");
    (headers, body + "\n").into_response()
}

/// Returns candles as the columns of a table.
fn table(currency: Currency, candles: &[&Candle]) -> UdfHistory {
    let prices: Vec<_> = candles.iter().filter_map(|candle| Some((candle.id, candle.price(currency)?))).collect();
    UdfHistory::Ok {
        t: prices.iter().map(|(id, _)| id.seconds()).collect(),
        o: prices.iter().map(|(_, price)| ExactPrice(price.open)).collect(),
        h: prices.iter().map(|(_, price)| ExactPrice(price.high)).collect(),
        l: prices.iter().map(|(_, price)| ExactPrice(price.low)).collect(),
        c: prices.iter().map(|(_, price)| ExactPrice(price.close)).collect(),
    }
}
