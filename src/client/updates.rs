//! The stream: one connection after the other, and one cursor through all of them.
//!
//! There is no task to look after and no queue. The stream polls its own connection, and reads on when it is asked for more; what waits
//! meanwhile waits in the kernel and at the server. Dropping it is disconnecting.

use super::backoff::Backoff;
use super::cursor::Cursor;
use super::message::Message;
use super::update::{Connected, Update};
use super::{Connection, Error, Event, Failure, Target};
use crate::tick::TickId;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep, sleep};

/// The updates of a feed, from wherever they come. See [`Client::subscribe`](super::Client::subscribe).
///
/// After an error the stream is over.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Updates {
    target: Arc<Target>,
    /// Which of the addresses is next.
    turn: usize,
    cursor: Cursor,
    /// The id to go on after for those who have had everything up to here: the cursor is ahead of it while something waits
    /// in `out`.
    handed_out: Option<TickId>,
    backoff: Backoff,
    phase: Phase,
    /// What one message brought: two updates at most.
    out: VecDeque<Update>,
}

enum Phase {
    Connect(BoxFuture<'static, Result<Connection, Failure>>),
    Read {
        connection: Connection,
        since: Instant,
        /// Whether the caller knows of this connection.
        announced: bool,
        /// When it counts as dead.
        silence: Option<Pin<Box<Sleep>>>,
    },
    Wait(Pin<Box<Sleep>>),
    Over,
}

impl Updates {
    pub(super) fn new(target: Arc<Target>) -> Updates {
        let cursor = Cursor::new(target.options.start, target.is_chained());
        let backoff = Backoff::new(target.options.retry_from, target.options.retry_to);
        let turn = target.turn();
        // Made when it is first polled, for only then is there a runtime.
        let connect = target.clone().connect(turn, cursor.start());
        let (handed_out, turn) = (cursor.last(), turn.wrapping_add(1));
        Updates { target, turn, cursor, handed_out, backoff, phase: Phase::Connect(connect), out: VecDeque::new() }
    }

    /// The next update. `None` after an error. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// With what ends the subscription for good.
    pub async fn next(&mut self) -> Option<Result<Update, Error>> {
        StreamExt::next(self).await
    }

    /// The id to go on after, in another process or at another time: the newest that was handed out. `None` as long as there
    /// is none.
    pub fn last_id(&self) -> Option<TickId> {
        self.handed_out
    }

    /// How many updates have come again, and were dropped. A server has no reason to send any, but to a
    /// [`client_id`](super::Builder::client_id) after a replica was killed.
    pub fn duplicates(&self) -> u64 {
        self.cursor.duplicates()
    }

    fn hand_out(&mut self) -> Option<Update> {
        let update = self.out.pop_front()?;
        // What a message brings ends with the entry that the cursor stands at; a gap comes before it.
        if matches!(update, Update::Tick(_) | Update::Status(_) | Update::Synced { .. }) {
            self.handed_out = self.cursor.last();
        }
        Some(update)
    }

    fn receive(&mut self, event: Event) -> Result<(), Failure> {
        let Phase::Read { announced, silence, .. } = &mut self.phase else { return Ok(()) };
        if let (Some(silence), Some(longest)) = (silence, self.target.silence()) {
            silence.as_mut().reset(Instant::now() + longest);
        }
        let message = match event {
            Event::Alive => return Ok(()),
            Event::Retry(pause) => {
                self.backoff.at_least(pause);
                return Ok(());
            }
            Event::Message(Message::CloseReason { message, .. }) => {
                return Err(Failure::passing(format!("the server said goodbye: {message}")));
            }
            Event::Message(message) => message,
        };
        if !std::mem::replace(announced, true) {
            let connected = if let Message::Hello(hello) = &message { hello.clone() } else { Connected::default() };
            self.out.push_back(Update::Connected(connected));
        }
        if self.cursor.take(message, &mut self.out) {
            self.backoff.reset();
        }
        Ok(())
    }

    /// Goes over to the next try, or ends.
    fn fail(&mut self, failure: Failure) -> Result<(), Error> {
        // A quiet feed may have had nothing to say; a connection that lasted was none the worse for it.
        if let Phase::Read { since, .. } = &self.phase
            && since.elapsed() > self.target.options.retry_to
        {
            self.backoff.reset();
        }
        match failure {
            // It was a feed before: whatever stands in for it now, a page that says so perhaps, is no more than that.
            Failure::Final(Error::NoFeed { problem }) if self.cursor.has_moved() => {
                self.fail(Failure::passing(problem))
            }
            Failure::Passing { why, retry_after } => {
                let retry_in = self.backoff.next(retry_after);
                self.phase = Phase::Wait(Box::pin(sleep(retry_in)));
                self.out.push_back(Update::Disconnected { why, retry_in });
                Ok(())
            }
            Failure::Final(error) => {
                self.phase = Phase::Over;
                Err(error)
            }
        }
    }
}

impl Stream for Updates {
    type Item = Result<Update, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(update) = this.hand_out() {
                return Poll::Ready(Some(Ok(update)));
            }
            let step = match &mut this.phase {
                Phase::Over => return Poll::Ready(None),
                Phase::Wait(pause) => {
                    ready!(pause.as_mut().poll(context));
                    this.phase = Phase::Connect(this.target.clone().connect(this.turn, this.cursor.start()));
                    this.turn = this.turn.wrapping_add(1);
                    Ok(())
                }
                Phase::Connect(connect) => ready!(connect.as_mut().poll(context)).map(|connection| {
                    let silence = this.target.silence().map(|longest| Box::pin(sleep(longest)));
                    this.phase = Phase::Read { connection, since: Instant::now(), announced: false, silence };
                }),
                Phase::Read { connection, silence, .. } => match connection.as_mut().poll_next(context) {
                    Poll::Ready(Some(event)) => event.and_then(|event| this.receive(event)),
                    Poll::Ready(None) => Err(Failure::passing("the server ended the stream")),
                    // Only now: what came while nobody polled is no silence.
                    Poll::Pending => {
                        let Some(silence) = silence else { return Poll::Pending };
                        ready!(silence.as_mut().poll(context));
                        Err(Failure::passing(format!("nothing was heard for {:?}", this.target.options.silence)))
                    }
                },
            };
            if let Err(error) = step.or_else(|failure| this.fail(failure)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
