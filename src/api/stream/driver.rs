//! Driver of a session that the [reactor](crate::net::reactor) does not serve: a stream over HTTP/2, or an event stream
//! whose request hyper has read, for example because it is not the first one of its connection. The transport asks for
//! more output when it has room for it.

use crate::api::state::ApiState;
use crate::feed::Entry;
use crate::session::{ClientGuard, CloseReason, Session, Step};
use crate::telemetry::metrics::CLOSES;
use crate::tick::TickId;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::{Span, debug};

/// Waits for the entries that are being loaded. Never returns if nothing is being loaded, or if the load was cancelled.
async fn wait_for_load(loading: &mut Option<oneshot::Receiver<Vec<Arc<Entry>>>>) -> Vec<Arc<Entry>> {
    if let Some(receiver) = loading {
        let entries = receiver.await;
        // A receiver must not be polled again after it has completed.
        *loading = None;
        if let Ok(entries) = entries {
            return entries;
        }
    }
    std::future::pending().await
}

/// Waits for a future. Never returns if there is none.
async fn completed<F: Future<Output = ()>>(future: &mut Option<Pin<Box<F>>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Next action of a transport.
pub(crate) enum Output {
    /// Send these bytes.
    Send(Vec<Bytes>),
    /// Send a comment on an event stream. Other transports have pings and ignore this.
    Heartbeat,
    /// Send this reason to the client, and end the stream.
    Close(CloseReason),
}

/// Session with the events that it waits for.
pub(crate) struct SessionDriver {
    state: Arc<ApiState>,
    session: Session,
    head: watch::Receiver<TickId>,
    loading: Option<oneshot::Receiver<Vec<Arc<Entry>>>>,
    /// Is cancelled to end this stream when the replica stops.
    group: CancellationToken,
    /// A future that waits for `group`. There is one for the whole stream, because a new one for each wait would cost
    /// more than all other work in `next`.
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Waits for the end of the API key's permission. `None` if clients need no key.
    permission_ended: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// One timer for the heartbeat and for a tick that the throttle holds.
    timer: Pin<Box<Sleep>>,
    heartbeat_at: Instant,
    _counted: ClientGuard,
    /// Span of the request, for log lines.
    span: Span,
}

impl SessionDriver {
    pub(crate) fn new(state: Arc<ApiState>, session: Session) -> SessionDriver {
        let head = state.hub().watch_head();
        let group = state.drain.next_group();
        let drained = Box::pin(group.clone().cancelled_owned());
        let permission_ended = session.permission_ended().map(Box::pin);
        let heartbeat_at = Instant::now() + state.heartbeat;
        let timer = Box::pin(sleep_until(heartbeat_at));
        let counted = ClientGuard::new(session.transport());
        SessionDriver {
            state,
            session,
            head,
            loading: None,
            group,
            drained,
            permission_ended,
            timer,
            heartbeat_at,
            _counted: counted,
            span: Span::current(),
        }
    }

    /// Waits for the next action. Call it when the transport has sent the previous output.
    pub(crate) async fn next(&mut self) -> Output {
        loop {
            // During a replay this function returns before it reaches the `select!`, so the token is checked here, too.
            // Otherwise a stream in a replay would be cut at the end of the drain, without a close reason.
            if self.group.is_cancelled() {
                return self.leave(CloseReason::Draining).await;
            }
            // The head is marked as seen before the session reads the hub. If it moves after that, the wait below
            // returns at once.
            self.head.mark_unchanged();
            let mut wake_at = self.heartbeat_at;
            if self.loading.is_none() {
                match self.session.step(self.state.hub(), Instant::now().into_std()) {
                    Step::Send(bytes) if bytes.is_empty() => continue,
                    Step::Send(bytes) => return self.send(bytes),
                    Step::Again => {
                        yield_now().await;
                        continue;
                    }
                    Step::Load { after, until, audits } => {
                        let (to, loading) = oneshot::channel();
                        self.state.sessions.hub.load(&self.state.tasks, after, until, audits, to, || {});
                        self.loading = Some(loading);
                    }
                    Step::Close(reason) => return self.leave(reason).await,
                    Step::Wait(None) => {}
                    Step::Wait(Some(wait)) => wake_at = wake_at.min(Instant::now() + wait),
                }
            }
            if self.timer.deadline() != wake_at {
                self.timer.as_mut().reset(wake_at);
            }
            // Every arm is cancel-safe: what it waits for lives in `self`, so the next round continues to wait for it.
            tokio::select! {
                biased;
                () = &mut self.drained => return self.leave(CloseReason::Draining).await,
                () = &mut self.timer => {
                    let now = Instant::now();
                    if now >= self.heartbeat_at {
                        self.heartbeat_at = now + self.state.heartbeat;
                        return Output::Heartbeat;
                    }
                }
                entries = wait_for_load(&mut self.loading) => {
                    let bytes = self.session.loaded(&entries);
                    if !bytes.is_empty() {
                        return self.send(bytes);
                    }
                }
                // The session returns the reason in its next step.
                () = completed(&mut self.permission_ended) => self.permission_ended = None,
                _ = self.head.changed() => {}
            }
        }
    }

    /// Moves the client's bookmark to the last output. Call it only when all output has been sent. [`next`](Self::next)
    /// begins with this, so it is needed only if the transport may end before it calls `next` again.
    pub(crate) fn mark_sent(&self) {
        self.session.mark_sent();
    }

    /// Saves the client's bookmark, which is at the last output that was sent completely.
    pub(crate) async fn close(&mut self) {
        self.state.sessions.close(&mut self.session).await;
    }

    fn send(&mut self, bytes: Vec<Bytes>) -> Output {
        let counts = self.session.take_counts();
        let len = bytes.iter().map(|bytes| bytes.len() as u64).sum();
        self.session.transport().report(counts.updates.into(), counts.replayed.into(), len);
        Output::Send(bytes)
    }

    /// Ends the stream. Only [`next`](Self::next) calls it, when all earlier output has been sent.
    async fn leave(&mut self, reason: CloseReason) -> Output {
        CLOSES.counter(reason.name()).increment(1);
        self.mark_sent();
        self.close().await;
        debug!(parent: &self.span, ?reason, cursor = %self.session.cursor(), "closing a stream");
        Output::Close(reason)
    }
}
