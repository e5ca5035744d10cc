//! `GET /v1/candles`: open, high, low and close of each interval, for charts.

use crate::api::base_url::{BaseUrl, absolute};
use crate::api::caching::{self, CacheableResponse};
use crate::api::negotiate::Media;
use crate::api::problem::Problem;
use crate::api::query::CandlesQuery;
use crate::api::state::ApiState;
use crate::candle::{Candle, Ohlc, Part, Range};
use crate::message::{self, CandleMessage, CandlesPage, text_around_list};
use crate::net::connection_limit::Permit;
use crate::schema::{answers, parameters, tables};
use crate::tick::{Currencies, TickId};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

/// Candles
///
/// The first, highest, lowest and last price of each interval, oldest first. An interval has no candle if none of the
/// chosen currencies has a price in it. An interval in which entries may be missing has no candle either: `gaps` lists
/// what is missing. The newest candle may still change.
#[utoipa::path(
    get, path = "/v1/candles", tag = "prices",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/v1/candles?interval=5m&since=2026-11-20T09:00:00Z'\n",
        "curl 'http://localhost:8080/v1/candles?interval=1h&currency=USD,EUR&format=csv'"
    )}]))),
    params(
        parameters::IntervalParameter, parameters::CurrencyParameters, parameters::StartParameters, parameters::UntilParameter, parameters::CandlesLimit,
        parameters::CandlesFormat, parameters::IfNoneMatch
    ),
    responses(
        (
            status = 200, description = "A page of candles.",
            content(
                (message::CandlesPage<'static> = "application/json"),
                (message::CandleMessage<'static> = "application/x-ndjson"),
                (tables::CandleTable = "text/csv")
            ),
            headers(
                ("ETag" = String, description = "The entity tag of this content, for `If-None-Match`."),
                ("Link" = String, description = "If there is a next page, its address: `<https://…>; rel=\"next\"`."),
            )
        ),
        answers::NotModified, answers::BadRequest, answers::Unauthorized, answers::NotAcceptable, answers::TooManyRequests, answers::Unavailable
    )
)]
pub(crate) async fn candles(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    base: Option<BaseUrl>,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let CandlesQuery { range, media, is_moving } = CandlesQuery::read(&query, state.currencies)?;
    let (media, by_accept) = Media::chosen(media, &headers)?;
    let hub = state.primed_hub()?;
    permit.begin_read()?;
    permit.charge_volume(range.limit)?;
    state.candles.catch_up(hub).await.map_err(Problem::unreadable)?;
    let book = state.candles.book();
    let part = book.part(range);
    let tag = caching::tag(&(media, range, version(&part, book.head())));
    let next = part.next.map(|id| absolute(base.as_ref(), &uri, &caching::link_after(&query, id)));
    let settled_until = part.settled_until.filter(|_| !is_moving);
    let answer = CacheableResponse {
        media,
        by_accept,
        tag: Some(tag),
        settled_until,
        next,
        by_host: state.public_url.is_none(),
    };
    Ok(answer.with(&headers, book.head(), || Body::from(render(media, range, &part))))
}

/// Returns the values that identify the content of a part, in addition to its range: the id of its first candle, and
/// the head if the part may still change.
fn version(part: &Part<'_>, head: TickId) -> (Option<TickId>, Option<TickId>) {
    let first = part.candles.first().map(|candle| candle.id);
    (first, part.settled_until.is_none().then_some(head))
}

fn render(media: Media, range: Range, part: &Part<'_>) -> String {
    match media {
        Media::Json => json(range, part),
        Media::Ndjson => part.candles.iter().fold(String::new(), |mut lines, candle| {
            lines.push_str(&candle_json(candle, range.currencies));
            lines.push('\n');
            lines
        }),
        Media::Csv => csv(range.currencies, part),
    }
}

fn json(Range { interval, currencies, .. }: Range, part: &Part<'_>) -> String {
    let gaps = part.gaps.iter().map(Into::into).collect();
    let (before, after) = text_around_list(&CandlesPage { interval, candles: Vec::new(), gaps, next: part.next });
    let candles: Vec<_> = part.candles.iter().map(|candle| candle_json(candle, currencies)).collect();
    format!("{before}{}{after}\n", candles.join(","))
}

/// Returns a candle as JSON. Usually, all clients that chose the same currencies share one encoded text.
fn candle_json(candle: &Candle, chosen: Currencies) -> Cow<'_, str> {
    let encode = |candle: &Candle| serde_json::to_string(&CandleMessage::new(candle, chosen));
    candle.encoded(chosen, |candle| encode(candle).expect("messages have string keys"))
}

/// Returns a table with a row for each currency of each candle.
fn csv(chosen: Currencies, part: &Part<'_>) -> String {
    let mut csv = String::from("id,timedate,ticks,currency,open,high,low,close\r\n");
    for candle in &part.candles {
        let (id, timedate, ticks) = (candle.id, candle.id.timedate(), candle.ticks(chosen));
        for currency in candle.currencies().and(chosen).iter() {
            if let Some(Ohlc { open, high, low, close }) = candle.price(currency) {
                write!(csv, "{id},{timedate},{ticks},{currency},{open},{high},{low},{close}\r\n").ok();
            }
        }
    }
    csv
}
