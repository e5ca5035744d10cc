//! `GET /api/v1/prices` and `GET /api/v1/historical-price`: answers in the shapes of mempool.space, for wallets and
//! shops that read those. The paths, the parameters and the fields are those of its backend (`prices.routes.ts`,
//! `mining-routes.ts`, `PricesRepository.ts`).

use crate::api::caching::{self, CacheableResponse};
use crate::api::page::{Block, Order, read_block};
use crate::api::problem::Problem;
use crate::api::query::HistoricalPriceQuery;
use crate::api::state::ApiState;
use crate::candle::{Book, Interval};
use crate::encode::{Format, Framing, View};
use crate::feed::{Entry, Feed};
use crate::hub::{Hub, LOAD_ENTRIES};
use crate::message::{
    ExactAmount, ExactPrice, ExactPricesAt, ExchangeRates, HistoricalPrices, TimedPrices, WholePrices,
};
use crate::net::connection_limit::Permit;
use crate::schema::{answers, parameters};
use crate::session::StartPoint;
use crate::tick::{Currencies, Currency, Price, TickId};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// The maximum age of a price at the moment that is asked for. mempool.space has a price for each hour.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// The maximum number of hours in an answer: a year.
const MAX_HOURS: usize = 8784;

/// The newest prices, as mempool.space returns them
///
/// The newest tick with a price in any currency of the feed, rounded to whole units of each currency, as mempool.space
/// does. `/v1/prices/latest` has the exact prices.
#[utoipa::path(
    get, path = "/api/v1/prices", tag = "prices", operation_id = "mempool_prices",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": "curl 'http://localhost:8080/api/v1/prices'"}]))),
    params(parameters::IfNoneMatch),
    responses(
        (
            status = 200, description = "The newest prices.", body = WholePrices,
            headers(("ETag" = String, description = "The entity tag of this content, for `If-None-Match`."))
        ),
        answers::NotModified, answers::Unauthorized, answers::TooManyRequests, answers::Unavailable
    )
)]
pub(crate) async fn prices(State(state): State<Arc<ApiState>>, headers: HeaderMap) -> Result<Response, Problem> {
    let hub = state.primed_hub()?;
    let tick = newest(hub, state.currencies.currencies)?;
    let whole = |price: &Price| price.value().round().to_u64();
    let prices = tick.tick().into_iter().flat_map(|tick| &tick.prices);
    let prices = prices.filter_map(|(currency, price)| Some((*currency, whole(price)?)));
    let message: WholePrices = TimedPrices { time: tick.id, prices: prices.collect() };
    respond(&headers, hub, &message)
}

/// Prices in the past, as mempool.space returns them
///
/// The last prices at or before `timestamp` that are at most an hour older, and the current rates between the US dollar
/// and the other currencies. A moment in the future means now. With `currency`, the prices are in this currency and in
/// USD, otherwise in all currencies of the feed. Without `timestamp`, the first prices of each of the newest 8784
/// hours, newest first. Prices have all their digits.
#[utoipa::path(
    get, path = "/api/v1/historical-price", tag = "prices", operation_id = "mempool_historical_price",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/api/v1/historical-price?currency=USD'\n",
        "curl 'http://localhost:8080/api/v1/historical-price?currency=EUR&timestamp='$(date +%s)"
    )}]))),
    params(parameters::HistoricalPriceParameters, parameters::IfNoneMatch),
    responses(
        (
            status = 200, description = "The prices, newest first.", body = HistoricalPrices,
            headers(("ETag" = String, description = "The entity tag of this content, for `If-None-Match`."))
        ),
        answers::NotModified, answers::BadRequest, answers::Unauthorized, answers::NoPriceBefore,
        answers::TooManyRequests, answers::Unavailable
    )
)]
pub(crate) async fn historical_price(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let HistoricalPriceQuery { currency, time } =
        HistoricalPriceQuery::read(&query.unwrap_or_default(), state.currencies)?;
    let hub = state.primed_hub()?;
    let served = state.currencies.currencies;
    let newest = newest(hub, served)?;
    permit.begin_read()?;
    // The currency that was asked for comes first, then the US dollar, as in mempool.space.
    let shown: Vec<_> = match currency {
        Some(Currency::Usd) => vec![Currency::Usd],
        Some(other) => [other, Currency::Usd].into_iter().filter(|currency| served.contains(*currency)).collect(),
        None => served.iter().collect(),
    };
    let prices = match time {
        Some(time) => vec![prices_at(&state, hub, &permit, &shown, currency, time).await?],
        None => prices_of_hours(&state, hub, &permit, &shown).await?,
    };
    respond(&headers, hub, &HistoricalPrices { prices, exchange_rates: rates(&newest, served) })
}

/// Returns the newest tick with a price in one of `currencies`.
fn newest(hub: &Hub, currencies: Currencies) -> Result<Arc<Entry>, Problem> {
    hub.latest_tick(currencies).ok_or_else(|| Problem::unavailable("this replica has no price, try again later"))
}

fn respond(headers: &HeaderMap, hub: &Hub, message: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_string(message).map_err(|_| Problem::unavailable("the prices cannot be written"))?;
    let answer = CacheableResponse::json(Some(caching::tag_of_bytes(text.as_bytes())));
    Ok(answer.with(headers, hub.head(), || Body::from(text + "\n")))
}

/// Returns the prices of the last tick at or before a moment, in the currencies `shown`. The tick must be at most
/// [`MAX_AGE`] older than the moment, and have a price in the currency `asked`, or in any of `shown` if it is `None`.
async fn prices_at(
    state: &ApiState,
    hub: &Hub,
    permit: &Permit,
    shown: &[Currency],
    asked: Option<Currency>,
    time: TickId,
) -> Result<ExactPricesAt, Problem> {
    let time = time.min(state.monitor.now().max(hub.head()));
    let begin = StartPoint { id: time.minus(MAX_AGE).before(), is_entry: false };
    let view = View::new(Format::Timedate, shown.iter().copied().collect(), Framing::Line);
    let wanted = asked.map_or(view.currencies, Currencies::from);
    let has = |entry: &Arc<Entry>| entry.tick().is_some_and(|tick| !tick.currencies().and(wanted).is_empty());
    let (mut found, mut end) = (None, Some(time));
    while let (None, Some(until)) = (&found, end) {
        state.charge_volume(permit, begin.id, until, LOAD_ENTRIES, 1)?;
        let block = read_block(hub, view, Order::Descending, (begin, until), LOAD_ENTRIES).await;
        let Block { after, entries } = block.map_err(Problem::unreadable)?;
        end = after.is_entry.then_some(after.id);
        found = entries.into_iter().rev().find(has);
    }
    let Some(entry) = found else {
        let (moment, code) = (time.timedate(), asked.map_or("any currency", |currency| currency.code()));
        let detail = format!("no price in {code} at {moment}: the feed keeps none from the hour before it");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let price = |currency: &Currency| Some((*currency, ExactPrice(*entry.tick()?.prices.get(currency)?)));
    Ok(TimedPrices { time: entry.id, prices: shown.iter().filter_map(price).collect() })
}

/// Updates the candles, and returns the first prices of the newest hours, newest first.
async fn prices_of_hours(
    state: &ApiState,
    hub: &Hub,
    permit: &Permit,
    shown: &[Currency],
) -> Result<Vec<ExactPricesAt>, Problem> {
    permit.charge_volume(MAX_HOURS)?;
    state.candles.catch_up(hub).await.map_err(Problem::unreadable)?;
    Ok(openings(&state.candles.book(), shown))
}

/// Returns the first prices of the newest hours, newest first.
fn openings(book: &Book, shown: &[Currency]) -> Vec<ExactPricesAt> {
    let currencies = shown.iter().copied().collect();
    let hours = book.newest_before(Interval::Hour, currencies, TickId::from_ms(u64::MAX), MAX_HOURS);
    let prices = hours.into_iter().rev().map(|candle| {
        let opening = |currency: &Currency| Some((*currency, ExactPrice(candle.price(*currency)?.open)));
        TimedPrices { time: candle.id, prices: shown.iter().filter_map(opening).collect() }
    });
    prices.collect()
}

/// Returns the value of a US dollar in each other currency of the feed, by the prices of a tick.
fn rates(newest: &Entry, served: Currencies) -> ExchangeRates {
    let price = |currency| newest.tick().and_then(|tick| tick.prices.get(&currency)).map(|price| price.value());
    let others = served.iter().filter(|currency| *currency != Currency::Usd);
    let rate = |currency| {
        let rate = price(currency)?.checked_div(price(Currency::Usd)?)?;
        Some((currency, ExactAmount(rate.round_dp(2).normalize())))
    };
    ExchangeRates(others.filter_map(rate).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Event;
    use crate::tick::Tick;

    #[test]
    fn newest_hours_are_returned() {
        let mut book = Book::new(Duration::from_secs(24 * 3600));
        let start = |hour: usize| TickId::from_ms(hour as u64 * 3_600_000);
        let last = MAX_HOURS + 2;
        for hour in 1..=last {
            let prices = [(Currency::Usd, "97116.17".parse().unwrap())].into();
            let event = Event::Tick { tick: Tick { prices, ..Tick::default() }, outages: vec![] };
            book.add(&Entry { id: start(hour), prev: start(hour - 1), event });
        }
        let found = openings(&book, &[Currency::Usd]);
        let ends = (found.len(), found[0].time, found[MAX_HOURS - 1].time);
        assert_eq!(ends, (MAX_HOURS, start(last), start(last - MAX_HOURS + 1)));
    }
}
