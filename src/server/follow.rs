//! A client's session, played out for transports that ask for what to send when they have room for it: whatever has no raw
//! socket. (Where there is one the reactor watches it, and plays the session itself.)

use super::State;
use crate::feed::Entry;
use crate::hub::Hub;
use crate::session::{Goodbye, LOAD_ENTRIES, Session, Step};
use crate::shutdown::Tasks;
use crate::tick::TickId;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// The pause before the store is asked again for history that it could not give.
const LOAD_RETRY: Duration = Duration::from_secs(1);

/// Reads a part of the history for a client, however long the store is away, and then says that it is `done`. By a task of its
/// own: whoever has a place among those who ask the store must go on, whatever its client does. It ends when the client does.
pub(super) fn load(
    tasks: &Tasks,
    hub: &Arc<Hub>,
    after: TickId,
    until: TickId,
    mut to: oneshot::Sender<Vec<Arc<Entry>>>,
    done: impl FnOnce() + Send + 'static,
) {
    let hub = hub.clone();
    let read = async move {
        loop {
            match hub.history(after, until, LOAD_ENTRIES).await {
                Ok(entries) => return entries,
                Err(_) => sleep(LOAD_RETRY).await,
            }
        }
    };
    tasks.spawn(async move {
        // Cancel-safe: a client that is gone wants nothing any more.
        tokio::select! {
            () = to.closed() => {}
            entries = read => {
                to.send(entries).ok();
                done();
            }
        }
    });
}

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
pub(super) enum Turn {
    /// Send these bytes.
    Send(Vec<Bytes>),
    /// Say that the stream is still there.
    Heartbeat,
    /// Tell the client why, and end the stream.
    Leave(Goodbye),
}

/// A session that is played out.
pub(super) struct Follower {
    state: Arc<State>,
    session: Session,
    head: watch::Receiver<TickId>,
    loading: Option<oneshot::Receiver<Vec<Arc<Entry>>>>,
    /// Kept, because to wait for the replica's end anew each time would cost more than all the rest.
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    /// One timer for the heartbeat and for what is held back.
    timer: Pin<Box<Sleep>>,
    heartbeat_at: Instant,
}

impl Follower {
    pub(super) fn new(state: Arc<State>, session: Session) -> Follower {
        let head = state.hub().watch_head();
        let stopped = Box::pin(state.drain.clone().cancelled_owned());
        let heartbeat_at = Instant::now() + state.heartbeat;
        let timer = Box::pin(sleep_until(heartbeat_at));
        Follower { state, session, head, loading: None, stopped, timer, heartbeat_at }
    }

    /// What to do next, once there is something. To be asked when everything before has been taken.
    pub(super) async fn next(&mut self) -> Turn {
        loop {
            // Also in the middle of a replay, whose client would else be cut off without a word.
            if self.state.drain.is_cancelled() {
                return self.leave(Goodbye::Draining).await;
            }
            // Seen before the session looks, so that a move in between wakes us again.
            self.head.mark_unchanged();
            let mut wake_at = self.heartbeat_at;
            if self.loading.is_none() {
                match self.session.step(self.state.hub(), Instant::now().into_std()) {
                    Step::Send(bytes) if bytes.is_empty() => continue,
                    Step::Send(bytes) => return Turn::Send(bytes),
                    Step::Again => {
                        yield_now().await;
                        continue;
                    }
                    Step::Load { after, until } => {
                        let (to, loading) = oneshot::channel();
                        load(&self.state.tasks, &self.state.sessions.hub, after, until, to, || {});
                        self.loading = Some(loading);
                    }
                    Step::Leave(goodbye) => return self.leave(goodbye).await,
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
                () = &mut self.stopped => return self.leave(Goodbye::Draining).await,
                () = &mut self.timer => {
                    let now = Instant::now();
                    if now >= self.heartbeat_at {
                        self.heartbeat_at = now + self.state.heartbeat;
                        return Turn::Heartbeat;
                    }
                }
                entries = loaded(&mut self.loading) => {
                    self.loading = None;
                    let bytes = self.session.loaded(&entries);
                    if !bytes.is_empty() {
                        return Turn::Send(bytes);
                    }
                }
                _ = self.head.changed() => {}
            }
        }
    }

    /// Writes down how far the client is, which is where everything had been taken for the last time.
    pub(super) async fn close(&mut self) {
        self.state.sessions.close(&mut self.session).await;
    }

    async fn leave(&mut self, goodbye: Goodbye) -> Turn {
        self.close().await;
        tracing::debug!(?goodbye, cursor = %self.session.cursor(), "a client is let go");
        Turn::Leave(goodbye)
    }
}
