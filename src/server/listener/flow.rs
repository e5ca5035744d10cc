//! Notices an answer that its client does not take.
//!
//! An HTTP server asks a body for more when it has passed on what it got. A client that reads nothing is therefore one
//! whose body gave something and is not asked again, however well the client's library answers pings meanwhile. Bodies go
//! out in small pieces, so that this is soon, and that little is kept for such a client until then.

use super::Peer;
use axum::body::Body;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The most bytes that a body gives at once.
const PIECE_BYTES: usize = 16 * 1024;

/// What is known of one answer, shared between its body and whoever watches it.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Since when the body has not been asked for more. A std lock: held for an instant, never across an await.
    unasked_since: Mutex<Option<Instant>>,
    /// Whoever watches.
    watcher: AtomicWaker,
}

impl Flow {
    /// Drives what serves the answer; gives up on it, and returns `None`, when the client has taken nothing for `stall`.
    pub(super) async fn watch<F: Future>(&self, stall: Duration, serving: F) -> Option<F::Output> {
        let mut serving = pin!(serving);
        let mut timer = pin!(sleep(stall));
        std::future::poll_fn(|context| {
            self.watcher.register(context.waker());
            if let Poll::Ready(output) = serving.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            let Some(since) = *self.lock() else { return Poll::Pending };
            if timer.deadline() != since + stall {
                timer.as_mut().reset(since + stall);
            }
            timer.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    /// Nothing more is given: what was given last has to be taken from now on in time.
    pub(super) fn finish(&self) {
        *self.lock() = Some(Instant::now());
        self.watcher.wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.unasked_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that tells its flow when it is asked and when it gives.
pub(super) struct Watched {
    inner: Body,
    /// What the inner body gave and is not passed on yet.
    rest: Bytes,
    flow: Arc<Flow>,
    /// The request is under way until its answer is gone.
    _request: Option<Peer>,
}

impl Watched {
    pub(super) fn new(inner: Body, flow: Arc<Flow>, request: Option<Peer>) -> Watched {
        Watched { inner, rest: Bytes::new(), flow, _request: request }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = self.next(context);
        // After its last frame a body is not asked again.
        let gave = matches!(frame, Poll::Ready(Some(Ok(_)))) && !self.is_end_stream();
        *self.flow.lock() = gave.then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
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

impl Drop for Watched {
    fn drop(&mut self) {
        *self.flow.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    const STALL: Duration = Duration::from_secs(10);

    fn watched(text: &str) -> (Watched, Arc<Flow>) {
        let flow = Arc::<Flow>::default();
        (Watched::new(Body::from(text.to_owned()), flow.clone(), None), flow)
    }

    #[tokio::test]
    async fn a_body_goes_out_in_pieces_and_is_all_there() {
        let text = "0123456789".repeat(5000);
        let (mut body, _) = watched(&text);
        let mut pieces = Vec::new();
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
            let left = text.len() - pieces.concat().len();
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left as u64), left == 0));
        }
        assert_eq!(pieces.concat(), text.as_bytes());
        assert!(pieces.len() == 4 && pieces[..3].iter().all(|piece| piece.len() == PIECE_BYTES));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_gave_and_is_not_asked_again_is_given_up() {
        let (mut body, flow) = watched(&"x".repeat(2 * PIECE_BYTES));
        let begun = Instant::now();
        let serving = async {
            body.frame().await;
            sleep(STALL / 2).await;
            body.frame().await; // the last
            sleep(STALL * 5).await;
        };
        assert_eq!(flow.watch(STALL, serving).await, Some(()), "it was asked in time, and has given everything");
        assert_eq!(begun.elapsed(), STALL / 2 * 11);

        let (mut body, flow) = watched(&"x".repeat(3 * PIECE_BYTES));
        let begun = Instant::now();
        let serving = async {
            body.frame().await;
            sleep(STALL / 2).await;
            body.frame().await;
            std::future::pending::<()>().await;
        };
        let watching = tokio::time::timeout(STALL * 10, flow.watch(STALL, serving));
        assert_eq!(watching.await, Ok(None));
        assert_eq!(begun.elapsed(), STALL / 2 * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_last_by_another_task_has_to_be_taken_in_time_too() {
        let (flow, begun) = (Flow::default(), Instant::now());
        let giving = async {
            sleep(STALL * 3).await;
            flow.finish();
        };
        let (watched, ()) = tokio::join!(flow.watch(STALL, std::future::pending::<()>()), giving);
        assert_eq!((watched, begun.elapsed()), (None, STALL * 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_has_nothing_to_give_may_be_silent() {
        let flow = Arc::<Flow>::default();
        let stream = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut body = Watched::new(Body::from_stream(stream), flow.clone(), None);
        let serving = tokio::time::timeout(STALL * 100, body.frame());
        assert!(flow.watch(STALL, serving).await.is_some_and(|outcome| outcome.is_err()));
    }
}
