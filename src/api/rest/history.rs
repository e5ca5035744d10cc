//! `GET /v1/prices`: a page of the history, in the same formats as on the streams.
//!
//! Both ends of the page are known before its first byte is sent, so the headers can link to the next page, and tell
//! whether this page can still change. If the oldest entry comes first, the page ends with the earliest of these: the
//! entry at which the limit is reached, `until`, and the current head. If the newest entry comes first, the page begins
//! with the earlier of `until` and the head, and the limit decides which entry is the oldest. The entries are read only
//! as fast as the client reads them, so a long response needs no more memory than a short one.

mod body;

use crate::api::base_url::{BaseUrl, absolute};
use crate::api::caching::{self, CacheableResponse};
use crate::api::negotiate::Media;
use crate::api::page::{Block, Order, block_entries, is_chain};
use crate::api::problem::Problem;
use crate::api::query::HistoryQuery;
use crate::api::state::{ApiState, weight};
use crate::encode::{Format, Framing, View};
use crate::feed::{Continuity, Entry, Feed};
use crate::hub::Hub;
use crate::message;
use crate::net::connection_limit::Permit;
use crate::schema::{answers, parameters, tables};
use crate::session::StartPoint;
use crate::store;
use crate::tick::TickId;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use body::HistoryBody;
use std::sync::Arc;

/// The history
///
/// A page of the history, oldest first, or with `order=desc` newest first. It has the entries that a stream would
/// replay. The response is streamed, so a long response needs no more memory than a short one. If a page can no longer
/// change, `Cache-Control` says how long caches may keep it. The content is JSON, JSON lines or CSV.
/// `format` selects one of them. Without it, `Accept` does.
#[utoipa::path(
    get, path = "/v1/prices", tag = "prices",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/v1/prices?since=2026-11-20T09:00:00Z&limit=100'\n",
        "curl 'http://localhost:8080/v1/prices?order=desc&limit=10'\n",
        "curl 'http://localhost:8080/v1/prices?format=full,ndjson&after=1795166431075'\n",
        "curl 'http://localhost:8080/v1/prices?format=csv&currency=USD,EUR&limit=100000'\n",
        "curl 'http://localhost:8080/v1/prices?format=audit,ndjson&limit=100'"
    )}]))),
    params(
        parameters::CurrencyParameters, parameters::StartParameters, parameters::UntilParameter, parameters::OrderParameter,
        parameters::HistoryLimit, parameters::HistoryFormat, parameters::HistoryNotices, parameters::IfNoneMatch
    ),
    responses(
        (
            status = 200, description = "A page of the history.",
            content(
                (message::HistoryPage<'static> = "application/json"),
                (message::HistoryLine<'static> = "application/x-ndjson"),
                (tables::HistoryTable = "text/csv")
            ),
            headers(
                ("ETag" = String, description = "Entity tag of the content, for `If-None-Match`. A page in which an entry is missing has none. A page of more than 500 entries (100 in the format `audit`) has none if the newest entry comes first, or if the replica does not have all entries after the first 500 (or 100) in memory."),
                ("Link" = String, description = "If there is a next page, its address: `<https://…>; rel=\"next\"`."),
            )
        ),
        answers::NotModified, answers::BadRequest, answers::Unauthorized, answers::NotAcceptable, answers::TooManyRequests, answers::Unavailable
    )
)]
pub(crate) async fn history(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    base: Option<BaseUrl>,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let query = HistoryQuery::read(&text, Format::Timedate, state.currencies)?;
    let (media, by_accept) = Media::chosen(query.media, &headers)?;
    if query.format == Format::Audit && media == Media::Csv {
        return Err(Problem::bad_request("invalid Accept: expected JSON or JSON lines with the format audit"));
    }
    if query.notices && media == Media::Csv && !query.format.is_full() {
        let expected = "expected the form json or ndjson with notices, or the format full";
        return Err(Problem::bad_request(format!(
            "conflicting notices and csv in the format {}: {expected}",
            query.format
        )));
    }
    let hub = state.primed_hub()?;
    let framing = if media == Media::Csv { Framing::Row } else { Framing::Line };
    let view = View::new(query.format, query.currencies, framing).with_notices(query.notices);
    let head = hub.head();
    let (start, last) = (StartPoint::of(query.start, query.currencies, hub), query.until.min(head));
    permit.begin_read()?;
    state.charge_volume(&permit, start.id, last, query.limit, weight(view))?;
    let (order, limit) = (query.order, query.limit);
    let (begin, end, next) = match order {
        Order::Ascending => {
            let next = hub.nth(start.id, last, limit).await.map_err(Problem::unreadable)?;
            (start, next.unwrap_or(last), next)
        }
        Order::Descending => {
            let next = hub.nth_newest(start.id, last, limit + 1).await.map_err(Problem::unreadable)?;
            (next.map_or(start, |id| StartPoint { id, is_entry: true }), last, next)
        }
    };
    let mut pages = HistoryBody::new(state.clone(), view, media, order, (begin, end), limit, next);
    // The first entries are read before the response begins, so that an error can still change its status.
    let first = pages.read().await.map_err(Problem::unreadable)?;
    let complete_to = complete_to(&first, order, limit.min(block_entries(view)), (begin, end), hub);
    pages.is_complete = complete_to.is_some();
    let oldest = first.entries.first();
    let tag = complete_to.map(|last| {
        let first = oldest.map(|entry| (entry.id, entry.prev));
        caching::tag(&(media, &query, begin.id, first, last, end))
    });
    let is_ended = query.until <= head || order == Order::Ascending && next.is_some();
    let is_past = is_ended && !query.is_moving;
    let mut settled = oldest.filter(|entry| is_past && is_complete_before(entry, first.after));
    if settled.is_some() && !is_complete_after(complete_to, end, head, hub).await.map_err(Problem::unreadable)? {
        settled = None;
    }
    let settled_until = settled.map(|entry| entry.id.plus(hub.retention()));
    let query_of_next = next.map(|id| match order {
        Order::Ascending => caching::link_after(&text, id),
        Order::Descending => caching::link_until(&text, id, query.is_moving.then_some(start.id.next())),
    });
    let next = query_of_next.map(|query| absolute(base.as_ref(), &uri, &query));
    let answer = CacheableResponse { media, by_accept, tag, settled_until, next, by_host: state.public_url.is_none() };
    Ok(answer.with(&headers, head, || pages.body(&first)))
}

/// Returns whether no entry is missing between `begin`, the start of a response, and its first entry. Nothing is
/// missing if the start is a moment between two entries. If it is an id between two entries, the feed has lost the
/// entry with this id.
fn is_complete_before(first: &Entry, begin: StartPoint) -> bool {
    first.continues(begin.id) != Continuity::Known && first.gap_after(begin.id, begin.is_entry).is_none()
}

/// Returns the id of the last entry of a response if no entry is missing in the response. If entries are missing on
/// this replica, another replica may have them, so only a complete response gets an entity tag and a lifetime. The
/// first block has at most `max_first` entries. The entries after it are checked in the window. If the window lacks one
/// of them, the result is `None`, because a check in the store would read these entries twice. If the newest entry
/// comes first, a response of several blocks is not checked, and the result is `None`.
fn complete_to(
    Block { entries, after }: &Block,
    order: Order,
    max_first: usize,
    (begin, end): (StartPoint, TickId),
    hub: &Hub,
) -> Option<TickId> {
    let last = entries.last().map_or(after.id, |entry| entry.id);
    let chained = is_chain(entries.first().map_or(after.id, |entry| entry.prev), entries);
    let to = match order {
        Order::Ascending if entries.len() < max_first || last >= end => Some(last),
        Order::Ascending => hub.chained(last, end),
        Order::Descending => (after.id == begin.id).then_some(last),
    };
    to.filter(|_| chained)
}

/// Returns true if no entry is missing between `last`, the last entry of a response, and `end`, the upper bound of its
/// ids. This can be seen from the `prev` of the entry after the end.
async fn is_complete_after(last: Option<TickId>, end: TickId, head: TickId, hub: &Hub) -> store::Result<bool> {
    let Some(last) = last else { return Ok(false) };
    Ok(last == end || hub.history(end, head, 1).await?.first().is_some_and(|next| next.prev == last))
}
