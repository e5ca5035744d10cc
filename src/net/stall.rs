//! Detector of responses that their clients do not read.
//!
//! hyper polls a body when the client has made room for more data. So if a body has data and is not polled, its client
//! does not read the response. This is so even if the client's library still answers pings. Bodies produce small
//! pieces, so hyper stops polling soon after the client stops reading, and buffers little data.

use super::client_memory::{Account, ClientMemory};
use crate::shutdown::Tasks;
use axum::body::Body;
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderName, HeaderValue, Response};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::debug;

/// Header in which every response has the id of its request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of a piece that a body produces at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Memory of a compressor with the content that it compresses.
const COMPRESSOR_BYTES: usize = 448 * 1024;
/// Memory of a response in addition to its data: its task, its head and the state of its HTTP/2 stream.
const RESPONSE_BYTES: usize = 8 * 1024;

tokio::task_local! {
    /// Detector of the HTTP/2 stream that the current task serves. hyper has no other way to connect the task of a
    /// stream with its response.
    static CURRENT: Arc<StallDetector>;
}

/// State of one HTTP/2 stream or of one HTTP/1 connection, shared by its bodies and its supervisor.
#[derive(Debug, Default)]
pub(crate) struct StallDetector {
    /// Time since which the client may be stalled, or `None` while it waits for data. A std lock, because it is never
    /// held across an await.
    idle_since: Mutex<Option<Instant>>,
    /// True if the response must end, even if its client reads.
    is_reset: AtomicBool,
    /// Id of the request, for log lines.
    request_id: OnceLock<HeaderValue>,
    /// Waker of the supervisor.
    supervisor: AtomicWaker,
}

impl StallDetector {
    /// Returns the detector of the HTTP/2 stream that this task serves, or a new one outside of such a task.
    pub(crate) fn current() -> Arc<StallDetector> {
        CURRENT.try_with(Arc::clone).unwrap_or_default()
    }

    /// Drives `serving` to its end. Returns `None` if the client has read nothing for `stall`, or if the response was
    /// reset.
    pub(crate) async fn supervise<F: Future>(&self, stall: Duration, serving: F) -> Option<F::Output> {
        let mut serving = pin!(serving);
        let mut timer = pin!(sleep(stall));
        std::future::poll_fn(|context| {
            self.supervisor.register(context.waker());
            if let Poll::Ready(output) = serving.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if self.is_reset.load(Ordering::Relaxed) {
                return Poll::Ready(None);
            }
            let Some(since) = *self.lock() else { return Poll::Pending };
            if timer.deadline() != since + stall {
                timer.as_mut().reset(since + stall);
            }
            timer.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    /// Marks the end of the data. From now on, the client has `stall` to read the last piece.
    pub(crate) fn finish(&self) {
        *self.lock() = Some(Instant::now());
        self.supervisor.wake();
    }

    /// Returns the id of the request, or of the first request of an HTTP/1 connection.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.get().and_then(|id| id.to_str().ok()).unwrap_or_default()
    }

    /// Ends the response.
    fn reset(&self) {
        self.is_reset.store(true, Ordering::Relaxed);
        self.supervisor.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Executor that runs each stream of an HTTP/2 connection as a supervised task. If the client does not read one stream,
/// that stream is reset and the others continue. A stream that becomes a WebSocket continues in a second task, which
/// shares the detector of the first.
#[derive(Clone)]
pub(crate) struct SupervisedStreams {
    tasks: Tasks,
    stall: Duration,
}

impl SupervisedStreams {
    /// Creates an executor that resets a stream if its client reads nothing for `stall`.
    pub(crate) fn new(tasks: Tasks, stall: Duration) -> SupervisedStreams {
        SupervisedStreams { tasks, stall }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for SupervisedStreams {
    fn execute(&self, stream: F) {
        let (stall, detector) = (self.stall, StallDetector::current());
        self.tasks.spawn(async move {
            if detector.supervise(stall, CURRENT.scope(detector.clone(), stream)).await.is_none() {
                debug!(request_id = detector.request_id(), "stream reset: the client reads nothing");
            }
        });
    }
}

/// Progress of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    NotPolled,
    Polled,
    Ended,
}

/// Body that reports to a [`StallDetector`] when it is polled and when it produces data.
pub(crate) struct MonitoredBody<G> {
    inner: Body,
    /// Data of the inner body that has not been returned yet.
    rest: Bytes,
    /// The length of the data that the inner body returned most recently. It may have prepared more data, of about the
    /// same length.
    last_len: usize,
    /// The memory that the response needs in addition to its data.
    fixed_bytes: usize,
    /// True if the end of the body is unknown and nothing is compressed, so that it may be a live stream.
    may_be_live: bool,
    /// True before the first poll, and if the last poll returned a piece. The client may then still be reading older
    /// data. If it is false, the client has read everything and waits for more. The first piece after that is counted
    /// without `fixed_bytes` if the response may be a live stream.
    is_behind: bool,
    account: Account,
    detector: Arc<StallDetector>,
    progress: Progress,
    /// Held until the response is dropped.
    _guard: G,
}

impl<G> MonitoredBody<G> {
    /// Wraps the body of `response`, and counts it in `memory`. `guard` is dropped together with the response.
    pub(crate) fn wrap(
        response: Response<Body>,
        memory: &Arc<ClientMemory>,
        detector: Arc<StallDetector>,
        guard: G,
    ) -> Response<MonitoredBody<G>> {
        // A response with a known length and a `Content-Encoding` was compressed in advance, so it has no compressor.
        let is_endless = response.body().size_hint().exact().is_none();
        let is_compressing = response.headers().contains_key(CONTENT_ENCODING) && is_endless;
        let may_be_live = is_endless && !is_compressing;
        let fixed_bytes = RESPONSE_BYTES + if is_compressing { COMPRESSOR_BYTES } else { 0 };
        if let Some(id) = response.headers().get(REQUEST_ID) {
            detector.request_id.set(id.clone()).ok();
        }
        let supervisor = detector.clone();
        let account = memory.open(move || supervisor.reset());
        response.map(|inner| {
            let (rest, progress) = (Bytes::new(), Progress::NotPolled);
            let body = MonitoredBody {
                inner,
                rest,
                last_len: 0,
                fixed_bytes,
                may_be_live,
                is_behind: true,
                account,
                detector,
                progress,
                _guard: guard,
            };
            if !body.inner.is_end_stream() {
                // hyper polls the body only after the client has opened a window.
                *body.detector.lock() = Some(Instant::now());
                body.account.set(body.waiting(0));
            }
            body
        })
    }

    /// Returns the number of bytes that wait for the client after a piece of this length has been produced.
    fn waiting(&self, piece: usize) -> usize {
        let known = usize::try_from(self.inner.size_hint().lower()).unwrap_or(usize::MAX);
        let prepared = if self.inner.is_end_stream() { 0 } else { known.max(self.last_len) };
        let fixed = if self.may_be_live && !self.is_behind { 0 } else { self.fixed_bytes };
        [piece, self.rest.len(), prepared, fixed].into_iter().fold(0, usize::saturating_add)
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => (self.last_len, self.rest) = (data.len(), data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl<G: Unpin> http_body::Body for MonitoredBody<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = self.next(context);
        let piece = if let Poll::Ready(Some(Ok(frame))) = &frame { frame.data_ref().map_or(0, Bytes::len) } else { 0 };
        self.progress = match &frame {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => Progress::Polled,
            Poll::Ready(_) => Progress::Ended,
            Poll::Pending => self.progress,
        };
        *self.detector.lock() = (piece > 0).then(Instant::now);
        self.account.set(if piece > 0 { self.waiting(piece) } else { 0 });
        self.is_behind = piece > 0;
        frame
    }

    /// Returns false after the last piece, so that hyper polls once more when the client has made room for another
    /// piece. Until then the last piece counts as unread.
    fn is_end_stream(&self) -> bool {
        match self.progress {
            Progress::NotPolled => self.rest.is_empty() && self.inner.is_end_stream(),
            Progress::Polled => false,
            Progress::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

impl<G> Drop for MonitoredBody<G> {
    fn drop(&mut self) {
        *self.detector.lock() = None;
    }
}

#[cfg(test)]
mod tests;
