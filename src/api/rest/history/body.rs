//! The body of a response with a page of the history. The entries are read block by block, no faster than the client
//! reads the response.

use crate::api::negotiate::Media;
use crate::api::page::{self, Block, Order, block_entries, is_chain};
use crate::api::state::ApiState;
use crate::encode::View;
use crate::feed::{Continuity, Feed};
use crate::message::{HistoryPage, PageGap, text_around_list};
use crate::session::StartPoint;
use crate::store;
use crate::tick::TickId;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::{Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The part of a response that is still to be sent.
pub(super) struct HistoryBody {
    state: Arc<ApiState>,
    view: View,
    media: Media,
    order: Order,
    /// The place before the oldest entry that is not sent yet.
    begin: StartPoint,
    /// Upper bound of the ids that are not sent yet.
    end: TickId,
    /// The cursor of the next page, if the limit ends this one.
    next: Option<TickId>,
    /// True if the headers say that no entry is missing.
    pub(super) is_complete: bool,
    /// Maximum number of entries that the response may still have.
    remaining: usize,
    /// The gaps so far, if they are not among the updates but in a list after them.
    gaps: Option<Vec<PageGap>>,
    /// True if a comma is needed before the next update in JSON.
    needs_comma: bool,
    /// True if everything has been written.
    is_done: bool,
}

impl HistoryBody {
    /// Creates the body of the entries with `begin < id <= end`, at most `limit`. Nothing is sent yet.
    pub(super) fn new(
        state: Arc<ApiState>,
        view: View,
        media: Media,
        order: Order,
        (begin, end): (StartPoint, TickId),
        limit: usize,
        next: Option<TickId>,
    ) -> HistoryBody {
        let gaps = (media == Media::Json && !view.shows_health()).then(Vec::new);
        let (remaining, is_complete, needs_comma, is_done) = (limit, false, false, false);
        HistoryBody { state, view, media, order, begin, end, next, is_complete, remaining, gaps, needs_comma, is_done }
    }

    /// Reads the next entries.
    pub(super) async fn read(&self) -> store::Result<Block> {
        page::read_block(self.state.hub(), self.view, self.order, (self.begin, self.end), self.most()).await
    }

    /// Returns the maximum number of entries of the next block.
    fn most(&self) -> usize {
        self.remaining.min(block_entries(self.view))
    }

    /// Returns the body that begins with the block `first`.
    pub(super) fn body(mut self, first: &Block) -> Body {
        let mut text = match self.media {
            Media::Json => envelope(None, None).0.into_bytes(),
            Media::Ndjson | Media::Csv => self.view.header().as_bytes().to_vec(),
        };
        self.write(first, &mut text);
        if self.is_done {
            // The body is complete, so its length is known.
            return Body::from(text);
        }
        // A task of its own reads the rest. The body is polled only as fast as the client reads, and a read of the
        // store that is not polled would block other readers. The task starts when the first block has been taken, so
        // that a client that reads nothing costs only this block.
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

    /// Sends the rest. Each block is read when the receiver has taken the block before. Ends if the receiver is
    /// dropped.
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

    /// Returns the text of the next block. An error aborts the response, so a truncated body never looks complete.
    async fn page(&mut self) -> io::Result<Bytes> {
        let block = self.read().await.map_err(io::Error::other)?;
        let (Block { after, entries }, hub) = (&block, self.state.hub());
        let expired = after.is_entry
            && after.id < hub.head().minus(hub.retention())
            && entries.first().is_none_or(|entry| entry.continues(after.id) == Continuity::Missed);
        let missing = self.is_complete && !is_chain(after.id, entries) || entries.is_empty() && self.next.is_some();
        if expired || missing {
            return Err(io::Error::other("the history expired, or was lost, before it was sent"));
        }
        let mut text = Vec::new();
        self.write(&block, &mut text);
        Ok(Bytes::from(text))
    }

    fn write(&mut self, block: &Block, text: &mut Vec<u8>) {
        let Block { after, entries } = block;
        let has_all = self.order == Order::Ascending && entries.len() < self.most();
        self.remaining = self.remaining.saturating_sub(entries.len());
        for bytes in page::messages(self.view, self.order, block) {
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
        if let Some(gaps) = &mut self.gaps {
            gaps.extend(page::gaps(self.view.currencies, self.order, block).iter().map(PageGap::from));
        }
        match (self.order, entries.last()) {
            (Order::Ascending, Some(last)) => self.begin = StartPoint { id: last.id, is_entry: true },
            (Order::Ascending, None) => {}
            (Order::Descending, _) => self.end = after.id,
        }
        self.is_done = has_all || self.remaining == 0 || self.begin.id >= self.end;
        if self.is_done && self.media == Media::Json {
            let next = match self.order {
                Order::Ascending => self.next.or_else(|| (self.remaining == 0).then_some(self.begin.id)),
                // If lost entries were put back in the meantime, the range has more entries than the limit. The next
                // page has the rest.
                Order::Descending if self.begin.id < self.end => Some(self.end),
                Order::Descending => self.next,
            };
            text.extend_from_slice(envelope(self.gaps.take(), next).1.as_bytes());
            text.push(b'\n');
        }
    }
}

/// Body whose first bytes are in memory. The size hint gives their number, so that they count as memory of the client
/// before the client reads them.
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

/// Returns the text before and after the list of updates of a page in JSON.
fn envelope(gaps: Option<Vec<PageGap>>, next: Option<TickId>) -> (String, String) {
    text_around_list(&HistoryPage { prices: Vec::new(), gaps, next })
}
