//! `GET /v1/prices/latest` and `GET /v1/prices`: the feed to look at, in the same words as the streams.

use super::State;
use super::problem::Problem;
use super::query::{HistoryQuery, Subscription};
use crate::session::{LOAD_ENTRIES, Session, Start};
use crate::store::StoreError;
use crate::tick::TickId;
use crate::view::{Format, Framing};
use axum::body::Body;
use axum::extract::{RawQuery, State as Shared};
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use std::sync::Arc;

/// The newest tick: one update as an object, or, with several currencies, an array of updates.
pub(super) async fn latest(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Subscription::read_latest(&query.unwrap_or_default(), Format::Timedate, state.offer)?;
    let tick = state
        .primed_hub()?
        .latest_tick(asked.currencies)
        .ok_or_else(|| Problem::unavailable("there is no price yet"))?;
    let bytes = asked.view(Framing::Line).entry(&tick);
    let updates = lines(&bytes);
    Ok(match updates[..] {
        // A full tick that ends an outage is told after the gap; the tick itself is the last line.
        [.., tick] if asked.format == Format::Full => json(tick.to_owned()),
        [update] if asked.currencies.len() == 1 => json(update.to_owned()),
        _ => json(format!("[{}]", updates.join(","))),
    })
}

/// A part of the history, oldest first: what a stream would replay. It goes out page by page, as the client takes it, so
/// that a long answer costs no more than a short one.
pub(super) async fn history(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = HistoryQuery::read(&query.unwrap_or_default(), Format::Timedate, state.offer)?;
    let start = match query.subscription.start {
        Start::Latest => Start::Since(TickId::ZERO),
        start => start,
    };
    let view = query.subscription.view(Framing::Line);
    let session = Session::new(view, start, &state.limits, state.primed_hub()?);
    let mut pages =
        Pages { state, session, until: query.until, left: query.limit, begun: false, comma: false, over: false };
    // The first page before the status, which could not be taken back.
    let first = pages.next().await.map_err(|_| Problem::unavailable("the history cannot be read now"))?;
    let rest =
        stream::try_unfold(pages, async |mut pages| Ok::<_, StoreError>(pages.next().await?.map(|page| (page, pages))));
    let body = Body::from_stream(stream::iter(first.map(Ok)).chain(rest));
    Ok((JSON, body).into_response())
}

/// The answer with a part of the history, in parts of its own.
struct Pages {
    state: Arc<State>,
    session: Session,
    until: TickId,
    /// How many entries the answer may still have.
    left: usize,
    /// Whether anything has been written, whether an update has, and whether everything has.
    begun: bool,
    comma: bool,
    over: bool,
}

impl Pages {
    /// The next part of the answer; `None` after the last.
    async fn next(&mut self) -> Result<Option<String>, StoreError> {
        if self.over {
            return Ok(None);
        }
        let asked = self.left.min(LOAD_ENTRIES);
        let entries = self.state.hub.history(self.session.cursor(), self.until, asked).await?;
        self.left -= entries.len();
        let mut page = String::from(if self.begun { "" } else { r#"{"prices":["# });
        self.begun = true;
        for update in self.session.loaded(&entries).iter().flat_map(|bytes| lines(bytes)) {
            page.push_str(if self.comma { "," } else { "" });
            page.push_str(update);
            self.comma = true;
        }
        self.over = entries.len() < asked || self.left == 0;
        if self.over {
            let next = if self.left == 0 { self.session.cursor().to_string() } else { "null".to_owned() };
            page = format!("{page}],\"next\":{next}}}\n");
        }
        Ok(Some(page))
    }
}

fn lines(bytes: &[u8]) -> Vec<&str> {
    std::str::from_utf8(bytes).unwrap_or_default().lines().collect()
}

/// The headers of an answer that is JSON, and old as soon as it is sent.
const JSON: [(HeaderName, &str); 2] = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];

fn json(body: String) -> Response {
    (JSON, body + "\n").into_response()
}
