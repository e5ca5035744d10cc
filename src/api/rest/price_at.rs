//! `GET /v1/prices/at`: the price in force at a moment, and the time-weighted average over the `window` before it.
//!
//! Only a bounded part of the history is read. It begins before the window, so early that a feed without gaps has a
//! tick before the window. It ends after the moment, because later entries show if the moment is in a gap.

use crate::api::caching::{self, CacheableResponse};
use crate::api::in_force::{OPEN, Timeline};
use crate::api::page::is_chain;
use crate::api::problem::Problem;
use crate::api::query::PriceAtQuery;
use crate::api::state::ApiState;
use crate::feed::{Entry, Feed, Gap};
use crate::hub::Hub;
use crate::message::{ExactPrice, PriceAtMessage, PricesAtMessage};
use crate::net::connection_limit::Permit;
use crate::schema::{answers, parameters};
use crate::tick::{Currency, TickId};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;

/// The number of intervals before the window that are read at first.
const TICKS_BEFORE: u32 = 6;
/// The number of entries that are read after `time + stale_after`. The tick that ends an outage is often among them,
/// and describes the outage.
const ENTRIES_AFTER: usize = 50;
/// The maximum number of entries that are read up to `time`. The same limit applies to the entries from `time` to
/// `time + stale_after`.
const MAX_ENTRIES: usize = 100_000;

/// The price at a moment
///
/// The tick that was in force at a moment: the last one at or before it, unless the feed had a gap there. With
/// `window`, also the average over the time that ends at the moment. Each price counts for the time in which it was in
/// force.
#[utoipa::path(
    get, path = "/v1/prices/at", tag = "prices",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/v1/prices/at'\n",
        "curl 'http://localhost:8080/v1/prices/at?window=60s&currency=USD,EUR'"
    )}]))),
    params(
        parameters::CurrencyParameters, parameters::MomentParameter, parameters::WindowParameter, parameters::IfNoneMatch
    ),
    responses(
        (
            status = 200, description = "The prices in force at the moment.", body = PricesAtMessage<'static>,
            headers(("ETag" = String, description = "The entity tag of this content, for `If-None-Match`."))
        ),
        answers::NotModified, answers::BadRequest, answers::Unauthorized, answers::NoPriceAt, answers::TooManyRequests,
        answers::Unavailable
    )
)]
pub(crate) async fn price_at(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = PriceAtQuery::read(&query.unwrap_or_default(), state.currencies)?;
    let hub = state.primed_hub()?;
    let (head, now) = (hub.head(), state.monitor.now().max(hub.head()));
    let time = query.time.unwrap_or(now);
    if time > now {
        return Err(not_found(format!("the time {} is in the future", time.timedate())));
    }
    let stale_after = state.monitor.stale_after();
    let begin = time.minus(query.window.unwrap_or_default() + stale_after * 2);
    permit.begin_read()?;
    state.charge_volume(&permit, begin, time, MAX_ENTRIES, 1)?;
    let entries = read(&state, hub, query, time).await?;
    let mut prices = Vec::new();
    for currency in query.currencies.iter() {
        let timeline = Timeline::of(&entries, currency, stale_after);
        prices.push(price(&timeline, currency, time, query.window)?);
    }
    let message = PricesAtMessage { time: time.into(), window_ms: query.window.map(ms), prices };
    let text = serde_json::to_string(&message).map_err(|_| Problem::unavailable("the price cannot be written"))?;
    // If entries are missing here, another replica may have them, and give another answer.
    let is_complete = entries.first().is_some_and(|first| is_chain(first.prev, &entries));
    // Once there is a tick in each currency after the moment, the content cannot change any more.
    let is_past = query.currencies.iter().all(|currency| has_tick_after(&entries, currency, time));
    let is_settled = !query.is_moving && is_complete && is_past;
    let oldest = entries.first().filter(|_| is_settled);
    let settled_until = oldest.map(|entry| entry.id.plus(hub.retention()));
    let tag = is_complete.then(|| caching::tag_of_bytes(text.as_bytes()));
    let answer = CacheableResponse { settled_until, ..CacheableResponse::json(tag) };
    Ok(answer.with(&headers, head, || Body::from(text + "\n")))
}

/// Reads the entries that decide the prices at `time` and in the window before it.
async fn read(
    state: &ApiState,
    hub: &Hub,
    PriceAtQuery { currencies, window, .. }: PriceAtQuery,
    time: TickId,
) -> Result<Vec<Arc<Entry>>, Problem> {
    let stale_after = state.monitor.stale_after();
    let begin = time.minus(window.unwrap_or_default());
    // Before the window, a feed without gaps has at least one tick within `most`. Normally it also has a few within
    // `before`, which is shorter and is tried first.
    let (mut before, most) = (state.sessions.hello.interval * TICKS_BEFORE, stale_after * 2);
    let mut entries = loop {
        before = before.min(most);
        let entries =
            hub.pages(begin.minus(before).before(), time, MAX_ENTRIES + 1, false).await.map_err(Problem::unreadable)?;
        if entries.len() > MAX_ENTRIES {
            let detail =
                format!("invalid window: more than {MAX_ENTRIES} entries must be read, expected a shorter one");
            return Err(Problem::bad_request(detail));
        }
        let begins = |currency| entries.iter().take_while(|entry| entry.id <= begin).any(|entry| has(entry, currency));
        if before == most || currencies.iter().all(begins) {
            break entries;
        }
        before *= 8;
    };
    // If no tick comes in this time, the price at the moment may be the last one before an outage.
    let stale = time.plus(stale_after);
    entries.extend(hub.pages(time, stale, MAX_ENTRIES, false).await.map_err(Problem::unreadable)?);
    let last = entries.last().map_or(stale, |entry| entry.id.max(time));
    entries.extend(hub.history(last, TickId::from_ms(u64::MAX), ENTRIES_AFTER).await.map_err(Problem::unreadable)?);
    Ok(entries)
}

fn price(
    timeline: &Timeline,
    currency: Currency,
    time: TickId,
    window: Option<Duration>,
) -> Result<PriceAtMessage, Problem> {
    let found = timeline.at(time);
    let (average, covered) = window.map_or((None, 0), |window| timeline.average(time.minus(window), time));
    if let Err(gap) = found
        && average.is_none()
    {
        return Err(not_found(no_price(currency, time, gap)));
    }
    let (price, id) = found.ok().unzip();
    Ok(PriceAtMessage {
        currency: currency.into(),
        price: price.map(ExactPrice),
        id,
        age_ms: id.map(|id| ms(time.since(id))),
        average: average.map(ExactPrice),
        covered: window.map(|window| share(covered, ms(window))),
    })
}

fn no_price(currency: Currency, time: TickId, gap: Option<Gap>) -> String {
    let moment = time.timedate();
    match gap {
        Some(Gap { after, before, reason, .. }) => {
            let end = if before == OPEN { String::new() } else { format!(" and before {before}") };
            let reason = reason.as_str();
            format!("no price in {currency} at {moment}: the feed has a gap after {after}{end} ({reason})")
        }
        None => format!("no price in {currency} at {moment}: the feed has no tick shortly before it"),
    }
}

fn not_found(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn has_tick_after(entries: &[Arc<Entry>], currency: Currency, time: TickId) -> bool {
    let later = entries.iter().rev().take_while(|entry| entry.id > time);
    { later }.any(|entry| has(entry, currency))
}

/// Returns true if an entry is a tick with a price in `currency`.
fn has(entry: &Entry, currency: Currency) -> bool {
    entry.tick().is_some_and(|tick| tick.prices.contains_key(&currency))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a share of a window, rounded to six decimals.
#[expect(clippy::cast_precision_loss, reason = "a window has at most 3,600,000 ms")]
fn share(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64 * 1e6).round() / 1e6
}
