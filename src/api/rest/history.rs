//! `GET /v1/prices`: a page of the history, oldest first, in the same formats as on the streams.
//!
//! The end of the page is known before its first byte is sent. It is the earliest of these: the entry at which the
//! limit is reached, `until`, and the current head. So the headers can link to the next page, and tell whether this
//! page can still change. The entries are read only as fast as the client reads them, so a long response needs no more
//! memory than a short one.

use crate::api::caching::{self, CacheableResponse};
use crate::api::negotiate::Media;
use crate::api::problem::Problem;
use crate::api::query::HistoryQuery;
use crate::api::state::{ApiState, weight};
use crate::encode::{Format, Framing, View};
use crate::feed::{Continuity, Entry, Feed, Start};
use crate::hub::{AUDIT_ENTRIES, Hub, LOAD_ENTRIES};
use crate::message::{self, HistoryPage, text_around_list};
use crate::net::connection_limit::Permit;
use crate::schema::{answers, parameters, tables};
use crate::session::Session;
use crate::store;
use crate::tick::TickId;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::{Frame, SizeHint};
use std::io;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The history
///
/// A page of the history, oldest first. It has the entries that a stream would replay. The response is streamed, so a
/// long response needs no more memory than a short one. If a page can no longer change, `Cache-Control` says how long
/// caches may keep it. The content is JSON, JSON lines or CSV. `format` selects one of them. Without it, `Accept` does.
#[utoipa::path(
    get, path = "/v1/prices", tag = "prices",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/v1/prices?since=2026-11-20T09:00:00Z&limit=100'\n",
        "curl 'http://localhost:8080/v1/prices?format=full,ndjson&after=1795166431075'\n",
        "curl 'http://localhost:8080/v1/prices?format=csv&currency=USD,EUR&limit=100000'\n",
        "curl 'http://localhost:8080/v1/prices?format=audit,ndjson&limit=100'"
    )}]))),
    params(
        parameters::CurrencyParameters, parameters::StartParameters, parameters::UntilParameter, parameters::HistoryLimit, parameters::HistoryFormat,
        parameters::IfNoneMatch
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
                ("ETag" = String, description = "Entity tag of the content, for `If-None-Match`. Only if no entry is missing in the page, and if the page is short or this replica has all of it in memory."),
                ("Link" = String, description = "If there is a next page, its address: `<?…>; rel=\"next\"`."),
            )
        ),
        answers::NotModified, answers::BadRequest, answers::Unauthorized, answers::NotAcceptable, answers::TooManyRequests, answers::Unavailable
    )
)]
pub(crate) async fn history(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let query = HistoryQuery::read(&text, Format::Timedate, state.currencies)?;
    let (media, by_accept) = Media::chosen(query.media, &headers)?;
    let unreadable = |_| Problem::unavailable("the history cannot be read now, try again");
    if query.format == Format::Audit && media == Media::Csv {
        return Err(Problem::bad_request("invalid Accept: expected JSON or JSON lines with the format audit"));
    }
    let hub = state.primed_hub()?;
    let framing = if media == Media::Csv { Framing::Row } else { Framing::Line };
    let view = View { format: query.format, currencies: query.currencies, framing };
    let session = Session::new(view, query.start, &state.sessions.limits, hub);
    let head = hub.head();
    let (begin, last) = (session.cursor(), query.until.min(head));
    permit.begin_read()?;
    state.charge_volume(&permit, begin, last, query.limit, weight(view))?;
    let next = hub.nth(begin, last, query.limit).await.map_err(unreadable)?;
    let end = next.unwrap_or(last);
    // The first entries are read before the response begins, so that an error can still change its status.
    let page = page_entries(view).min(query.limit);
    let first = hub.page(begin, end, page, view.has_inputs()).await.map_err(unreadable)?;
    let complete_to = complete_to(&first, page, begin, end, hub);
    let tag = complete_to.map(|last| {
        let first = first.first().map(|entry| (entry.id, entry.prev));
        caching::tag(&(media, &query, begin, first, last, end))
    });
    let is_past = !query.is_moving && (next.is_some() || query.until <= head);
    let mut settled = first.first().filter(|entry| is_past && is_complete_before(entry, query.start, begin));
    if settled.is_some() && !is_complete_after(complete_to, end, head, hub).await.map_err(unreadable)? {
        settled = None;
    }
    let settled_until = settled.map(|entry| entry.id.plus(hub.retention()));
    let link = next.map(|id| caching::link_after(&text, id));
    let answer = CacheableResponse { media, by_accept, tag, settled_until, next: link };
    let (is_complete, remaining) = (complete_to.is_some(), query.limit);
    let state = state.clone();
    let pages =
        Pages { state, view, media, session, next, end, is_complete, remaining, needs_comma: false, is_done: false };
    Ok(answer.with(&headers, head, || pages.body(&first)))
}

/// Returns the maximum number of entries that are read at once.
fn page_entries(view: View) -> usize {
    if view.has_inputs() { AUDIT_ENTRIES } else { LOAD_ENTRIES }
}

/// Returns whether no entry is missing before the first entry of a response. A start that is a moment may be between
/// two entries. A start that is an id may not.
fn is_complete_before(first: &Entry, start: Start, begin: TickId) -> bool {
    match first.continues(begin) {
        Continuity::Next => true,
        Continuity::Lost => matches!(start, Start::Since(_)),
        Continuity::Missed | Continuity::Known => false,
    }
}

/// Returns the last entry of a response if no entry is missing in the response. If entries are missing on this replica,
/// another one may have them, so only a complete response gets an entity tag and a lifetime. `first` are the first
/// entries, at most `max_first`. The window must have the entries after them, because the store is not read twice.
fn complete_to(first: &[Arc<Entry>], max_first: usize, begin: TickId, end: TickId, hub: &Hub) -> Option<TickId> {
    let last = first.last().map_or(begin, |entry| entry.id);
    let chained = is_chain(first.first().map_or(begin, |entry| entry.prev), first);
    let has_all = first.len() < max_first || last >= end;
    if has_all { Some(last).filter(|_| chained) } else { hub.chained(last, end).filter(|_| chained) }
}

/// Returns true if no entry is missing between `last`, the last entry of a response, and `end`, the upper bound of its
/// ids. This can be seen from the `prev` of the entry after the end.
async fn is_complete_after(last: Option<TickId>, end: TickId, head: TickId, hub: &Hub) -> store::Result<bool> {
    let Some(last) = last else { return Ok(false) };
    Ok(last == end || hub.history(end, head, 1).await?.first().is_some_and(|next| next.prev == last))
}

/// Returns whether the `prev` of each entry is the id of the entry before it, and that of the first entry is `after`.
pub(super) fn is_chain(after: TickId, entries: &[Arc<Entry>]) -> bool {
    let before = iter::once(after).chain(entries.iter().map(|entry| entry.id));
    entries.iter().zip(before).all(|(entry, before)| entry.prev == before)
}

/// The part of a response that is still to be sent.
struct Pages {
    state: Arc<ApiState>,
    view: View,
    media: Media,
    session: Session,
    /// The last entry of the response, if the limit ends it.
    next: Option<TickId>,
    /// Upper bound of the ids in the response.
    end: TickId,
    /// True if the headers say that no entry is missing.
    is_complete: bool,
    /// Maximum number of entries that the response may still have.
    remaining: usize,
    /// True if a comma is needed before the next update in JSON.
    needs_comma: bool,
    /// True if everything has been written.
    is_done: bool,
}

impl Pages {
    /// Returns the body that begins with the entries `first`.
    fn body(mut self, first: &[Arc<Entry>]) -> Body {
        let mut text = match self.media {
            Media::Json => envelope(None).0.into_bytes(),
            Media::Ndjson | Media::Csv => self.view.header().as_bytes().to_vec(),
        };
        self.write(first, &mut text);
        if self.is_done {
            // The body is complete, so its length is known.
            return Body::from(text);
        }
        // A task of its own reads the rest. The body is polled only as fast as the client reads, and a read of the
        // store that is not polled would block other readers. The task starts when the first page has been taken, so
        // that a client that reads nothing costs only this page.
        let (sender, receiver) = mpsc::channel(1);
        let ready = text.len();
        let first = async {
            self.state.tasks.clone().spawn(self.send(sender));
            Ok(Bytes::from(text))
        };
        let rest = stream::unfold(Some(receiver), async |receiver| {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Ok((text, is_last))) => Some((Ok(text), Some(receiver).filter(|_| !is_last))),
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(io::Error::other("the response was not finished")), None)),
            }
        });
        // Fused, because an encoder polls the stream again after its end.
        let body = Body::from_stream(stream::once(first).chain(rest).fuse());
        Body::new(ReadyBody { body, ready })
    }

    /// Sends the rest. Each page is read when the receiver has taken the page before. Ends if the receiver is dropped.
    async fn send(mut self, to: mpsc::Sender<io::Result<(Bytes, bool)>>) {
        while let Ok(room) = to.reserve().await {
            let page = self.page().await.map(|text| (text, self.is_done));
            let is_last = page.as_ref().map_or(true, |(_, is_last)| *is_last);
            room.send(page);
            if is_last {
                return;
            }
        }
    }

    /// Returns the next page. An error aborts the response, so a truncated body never looks complete.
    async fn page(&mut self) -> io::Result<Bytes> {
        let (hub, cursor) = (self.state.hub(), self.session.cursor());
        let (limit, audits) = (self.remaining.min(page_entries(self.view)), self.view.has_inputs());
        let entries = hub.page(cursor, self.end, limit, audits).await.map_err(io::Error::other)?;
        let expired = cursor < hub.head().minus(hub.retention())
            && entries.first().is_none_or(|entry| entry.continues(cursor) == Continuity::Missed);
        let missing = self.is_complete && !is_chain(cursor, &entries) || entries.is_empty() && self.next.is_some();
        if expired || missing {
            return Err(io::Error::other("the history expired, or was lost, before it was sent"));
        }
        let mut text = Vec::new();
        self.write(&entries, &mut text);
        Ok(Bytes::from(text))
    }

    fn write(&mut self, entries: &[Arc<Entry>], text: &mut Vec<u8>) {
        let has_all = entries.len() < self.remaining.min(page_entries(self.view));
        self.remaining = self.remaining.saturating_sub(entries.len());
        for bytes in self.session.loaded(entries) {
            match self.media {
                Media::Ndjson | Media::Csv => text.extend_from_slice(&bytes),
                Media::Json => {
                    for update in bytes.split(|byte| *byte == b'\n').filter(|update| !update.is_empty()) {
                        text.extend_from_slice(if self.needs_comma { b"," } else { b"" });
                        text.extend_from_slice(update);
                        self.needs_comma = true;
                    }
                }
            }
        }
        self.is_done = has_all || self.remaining == 0 || self.session.cursor() >= self.end;
        if self.is_done && self.media == Media::Json {
            let next = self.next.or_else(|| (self.remaining == 0).then(|| self.session.cursor()));
            text.extend_from_slice(envelope(next).1.as_bytes());
            text.push(b'\n');
        }
    }
}

/// Body whose first bytes are in memory. They count as memory of the client, even if it does not read them.
struct ReadyBody {
    body: Body,
    /// The number of bytes in memory until the first frame is taken, then zero.
    ready: usize,
}

impl http_body::Body for ReadyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.ready = 0;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.ready as u64);
        hint
    }
}

/// Returns the text before and after the lines of a page in JSON.
fn envelope(next: Option<TickId>) -> (String, String) {
    text_around_list(&HistoryPage { prices: Vec::new(), next })
}
