//! `GET /v1/prices`: a part of the history, oldest first, in the same words as the streams.
//!
//! Where the part ends is known before its first byte is sent: at the entry that the limit ends at, else at `until`, else at the
//! head as it is now. So the headers can say where the next page is, and whether this one can still change. The entries
//! themselves are read as the client takes them, so that a long answer costs no more memory than a short one.

use crate::api::caching::{self, CacheableResponse};
use crate::api::negotiate::Media;
use crate::api::problem::Problem;
use crate::api::query::HistoryQuery;
use crate::api::state::ApiState;
use crate::encode::{Format, Framing, View};
use crate::feed::{Continuity, Entry, Feed};
use crate::hub::{Hub, LOAD_ENTRIES};
use crate::schema::{answers, bodies, parameters};
use crate::session::{Session, Start};
use crate::store;
use crate::tick::TickId;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::io;
use std::iter;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The history
///
/// A part of it, oldest first: what a stream would replay. It goes out as you read it, so that a long answer costs no more than a
/// short one. A part that can no longer change says how long it may be kept (`Cache-Control`). What it is written as, JSON, a JSON
/// text a line or a table, is said by `format`, else by `Accept`.
#[utoipa::path(
    get, path = "/v1/prices", tag = "prices",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/v1/prices?since=2026-11-20T09:00:00Z&limit=100'\n",
        "curl 'http://localhost:8080/v1/prices?format=full,ndjson&after=1795166431075'\n",
        "curl 'http://localhost:8080/v1/prices?format=csv&currency=USD,EUR&limit=100000'"
    )}]))),
    params(
        parameters::Currency, parameters::Start, parameters::End, parameters::HistoryLimit, parameters::HistoryFormat,
        parameters::IfNoneMatch
    ),
    responses(
        (
            status = 200, description = "A page of the history.",
            content(
                (bodies::History = "application/json"),
                (bodies::HistoryLine = "application/x-ndjson"),
                (bodies::HistoryTable = "text/csv")
            ),
            headers(
                ("ETag" = String, description = "If the content is known before it is sent: its name, for `If-None-Match`."),
                ("Link" = String, description = "If there is a next page, where it is: `<?…>; rel=\"next\"`."),
            )
        ),
        answers::NotModified, answers::BadRequest, answers::NotAcceptable, answers::Unavailable
    )
)]
pub(crate) async fn history(
    State(state): State<Arc<ApiState>>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let query = HistoryQuery::read(&text, Format::Timedate, state.currencies)?;
    let (media, by_accept) = Media::chosen(query.media, &headers)?;
    let unreadable = |_| Problem::unavailable("the history cannot be read now");
    let hub = state.primed_hub()?;
    let framing = if media == Media::Csv { Framing::Row } else { Framing::Line };
    let view = View { format: query.format, currencies: query.currencies, framing };
    let session = Session::new(view, query.start, &state.sessions.limits, hub);
    let head = hub.head();
    let (begin, last) = (session.cursor(), query.until.min(head));
    let next = hub.nth(begin, last, query.limit).await.map_err(unreadable)?;
    let end = next.unwrap_or(last);
    // The first entries before the status, which could not be taken back.
    let first = hub.history(begin, end, LOAD_ENTRIES.min(query.limit)).await.map_err(unreadable)?;
    let whole_to = whole_to(&first, LOAD_ENTRIES.min(query.limit), begin, end, hub);
    let tag = whole_to.map(|last| {
        let begins = first.first().map(|entry| (entry.id, entry.prev));
        caching::tag(&(media, &query, begin, begins, last, end))
    });
    let over = next.is_some() || query.until <= head;
    let mut settled = first.first().filter(|entry| over && begins_well(entry, query.start, begin));
    if settled.is_some() && !ends_well(whole_to, end, head, hub).await.map_err(unreadable)? {
        settled = None;
    }
    let settled_until = settled.map(|entry| entry.id.plus(hub.retention()));
    let link = next.map(|id| caching::link_after(&text, id));
    let answer = CacheableResponse { media, by_accept, tag, settled_until, next: link };
    let (whole, left) = (whole_to.is_some(), query.limit);
    let pages = Pages { state: state.clone(), view, media, session, next, end, whole, left, comma: false, over: false };
    Ok(answer.with(&headers, head, || pages.body(&first)))
}

/// Whether nothing is missing before the first entry of an answer. A moment may lie between two entries, an id may not.
fn begins_well(first: &Entry, start: Start, begin: TickId) -> bool {
    match first.continues(begin) {
        Continuity::Next => true,
        Continuity::Lost => matches!(start, Start::Since(_)),
        Continuity::Missed | Continuity::Known => false,
    }
}

/// The last entry of an answer, if nothing is missing between its first one and that one. Another replica may have what is missing
/// here, so only an answer of which this is known says what it is, and for how long. Behind the `first` entries, of which there
/// may be `most`, the window must tell: the store is not read twice for it.
fn whole_to(first: &[Arc<Entry>], most: usize, begin: TickId, end: TickId, hub: &Hub) -> Option<TickId> {
    let last = first.last().map_or(begin, |entry| entry.id);
    let chained = follow(first.first().map_or(begin, |entry| entry.prev), first);
    let all = first.len() < most || last >= end;
    if all { Some(last).filter(|_| chained) } else { hub.chained(last, end).filter(|_| chained) }
}

/// Whether nothing is missing between the last entry of an answer and its end, before the head. The entry after it knows.
async fn ends_well(last: Option<TickId>, end: TickId, head: TickId, hub: &Hub) -> store::Result<bool> {
    let Some(last) = last else { return Ok(false) };
    Ok(last == end || hub.history(end, head, 1).await?.first().is_some_and(|next| next.prev == last))
}

/// Whether each entry follows on the one before, and the first one on `after`.
fn follow(after: TickId, entries: &[Arc<Entry>]) -> bool {
    let before = iter::once(after).chain(entries.iter().map(|entry| entry.id));
    entries.iter().zip(before).all(|(entry, before)| entry.prev == before)
}

/// What is still to be sent of an answer.
struct Pages {
    state: Arc<ApiState>,
    view: View,
    media: Media,
    session: Session,
    /// The last entry, where the limit ends the answer.
    next: Option<TickId>,
    /// The last id that the answer may have.
    end: TickId,
    /// Whether it was said that nothing is missing in it.
    whole: bool,
    /// How many entries the answer may still have.
    left: usize,
    /// Whether an update has been written, and whether everything has.
    comma: bool,
    over: bool,
}

impl Pages {
    /// The answer that begins with the entries `first`.
    fn body(mut self, first: &[Arc<Entry>]) -> Body {
        let mut text = match self.media {
            Media::Json => br#"{"prices":["#.to_vec(),
            Media::Ndjson | Media::Csv => self.view.header().as_bytes().to_vec(),
        };
        self.write(first, &mut text);
        if self.over {
            // All of it is here, so its length can be told.
            return Body::from(text);
        }
        // Read by a task of its own, since a body is not always asked for more (its encoder, or the connection, may have enough),
        // and a read of the store that nobody drives on would keep others from reading.
        let (sender, receiver) = mpsc::channel(1);
        self.state.tasks.clone().spawn(self.send(sender));
        let rest = stream::unfold(Some(receiver), async |receiver| {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Ok((text, over))) => Some((Ok(text), Some(receiver).filter(|_| !over))),
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(io::Error::other("the answer was not finished")), None)),
            }
        });
        // Fused, since an encoder asks once more than it must.
        Body::from_stream(stream::iter([Ok(Bytes::from(text))]).chain(rest).fuse())
    }

    /// Sends what is left, a page when the one before has been taken, as long as there is somebody to take it.
    async fn send(mut self, to: mpsc::Sender<io::Result<(Bytes, bool)>>) {
        while let Ok(room) = to.reserve().await {
            let page = self.page().await.map(|text| (text, self.over));
            let last = page.as_ref().map_or(true, |(_, over)| *over);
            room.send(page);
            if last {
                return;
            }
        }
    }

    /// The next part of the answer. An error breaks the answer off, which its reader notices: better than one that looks
    /// whole.
    async fn page(&mut self) -> io::Result<Bytes> {
        let (hub, cursor) = (self.state.hub(), self.session.cursor());
        let entries = hub.history(cursor, self.end, self.left.min(LOAD_ENTRIES)).await.map_err(io::Error::other)?;
        let overtaken = cursor < hub.head().minus(hub.retention())
            && entries.first().is_none_or(|entry| entry.continues(cursor) == Continuity::Missed);
        let missing = self.whole && !follow(cursor, &entries) || entries.is_empty() && self.next.is_some();
        if overtaken || missing {
            return Err(io::Error::other("the history expired, or was lost, before it was sent"));
        }
        let mut text = Vec::new();
        self.write(&entries, &mut text);
        Ok(Bytes::from(text))
    }

    fn write(&mut self, entries: &[Arc<Entry>], text: &mut Vec<u8>) {
        let complete = entries.len() < self.left.min(LOAD_ENTRIES);
        self.left = self.left.saturating_sub(entries.len());
        for bytes in self.session.loaded(entries) {
            match self.media {
                Media::Ndjson | Media::Csv => text.extend_from_slice(&bytes),
                Media::Json => {
                    for update in bytes.split(|byte| *byte == b'\n').filter(|update| !update.is_empty()) {
                        text.extend_from_slice(if self.comma { b"," } else { b"" });
                        text.extend_from_slice(update);
                        self.comma = true;
                    }
                }
            }
        }
        self.over = complete || self.left == 0 || self.session.cursor() >= self.end;
        if self.over && self.media == Media::Json {
            let next = self.next.or_else(|| (self.left == 0).then(|| self.session.cursor()));
            let next = next.map_or("null".to_owned(), |id| id.to_string());
            text.extend_from_slice(format!("],\"next\":{next}}}\n").as_bytes());
        }
    }
}
