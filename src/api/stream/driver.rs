//! A client's session, played out for transports that ask for what to send when they have room for it: whatever has no raw
//! socket. (Where there is one the reactor watches it, and plays the session itself.)

use crate::api::state::ApiState;
use crate::feed::Entry;
use crate::session::{CloseReason, Session, Step};
use crate::tick::TickId;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::debug;

/// What is being read, once it is here; never, if nothing is.
async fn loaded(loading: &mut Option<oneshot::Receiver<Vec<Arc<Entry>>>>) -> Vec<Arc<Entry>> {
    if let Some(loading) = loading
        && let Ok(entries) = loading.await
    {
        return entries;
    }
    std::future::pending().await
}

/// What a transport does next.
pub(crate) enum Output {
    /// Send these bytes.
    Send(Vec<Bytes>),
    /// Say that the stream is still there.
    Heartbeat,
    /// Tell the client why, and end the stream.
    Close(CloseReason),
}

/// A session that is played out.
pub(crate) struct SessionDriver {
    state: Arc<ApiState>,
    session: Session,
    head: watch::Receiver<TickId>,
    loading: Option<oneshot::Receiver<Vec<Arc<Entry>>>>,
    /// Kept, because to wait for the replica's end anew each time would cost more than all the rest.
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    /// One timer for the heartbeat and for what is held back.
    timer: Pin<Box<Sleep>>,
    heartbeat_at: Instant,
}

impl SessionDriver {
    pub(crate) fn new(state: Arc<ApiState>, session: Session) -> SessionDriver {
        let head = state.hub().watch_head();
        let stopped = Box::pin(state.drain.clone().cancelled_owned());
        let heartbeat_at = Instant::now() + state.heartbeat;
        let timer = Box::pin(sleep_until(heartbeat_at));
        SessionDriver { state, session, head, loading: None, stopped, timer, heartbeat_at }
    }

    /// What to do next, once there is something. To be asked when everything before has been taken.
    pub(crate) async fn next(&mut self) -> Output {
        loop {
            // Also in the middle of a replay, whose client would else be cut off without a word.
            if self.state.drain.is_cancelled() {
                return self.leave(CloseReason::Draining).await;
            }
            // Seen before the session looks, so that a move in between wakes us again.
            self.head.mark_unchanged();
            let mut wake_at = self.heartbeat_at;
            if self.loading.is_none() {
                match self.session.step(self.state.hub(), Instant::now().into_std()) {
                    Step::Send(bytes) if bytes.is_empty() => continue,
                    Step::Send(bytes) => return Output::Send(bytes),
                    Step::Again => {
                        yield_now().await;
                        continue;
                    }
                    Step::Load { after, until } => {
                        let (to, loading) = oneshot::channel();
                        self.state.sessions.hub.load(&self.state.tasks, after, until, to, || {});
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
            // Every arm is cancel-safe: the end, a deadline, what is being read and a moved head stay as they are.
            tokio::select! {
                biased;
                () = &mut self.stopped => return self.leave(CloseReason::Draining).await,
                () = &mut self.timer => {
                    let now = Instant::now();
                    if now >= self.heartbeat_at {
                        self.heartbeat_at = now + self.state.heartbeat;
                        return Output::Heartbeat;
                    }
                }
                entries = loaded(&mut self.loading) => {
                    self.loading = None;
                    let bytes = self.session.loaded(&entries);
                    if !bytes.is_empty() {
                        return Output::Send(bytes);
                    }
                }
                _ = self.head.changed() => {}
            }
        }
    }

    /// Writes down how far the client is, which is where everything had been taken for the last time.
    pub(crate) async fn close(&mut self) {
        self.state.sessions.close(&mut self.session).await;
    }

    async fn leave(&mut self, reason: CloseReason) -> Output {
        self.close().await;
        debug!(?reason, cursor = %self.session.cursor(), "closing a stream");
        Output::Close(reason)
    }
}
