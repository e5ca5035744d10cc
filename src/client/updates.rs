//! The stream: one connection after the other, and one cursor over all of them.
//!
//! This module has no task, and queues only the updates of one message. The stream reads its connection only while it
//! is polled. Otherwise, updates wait in the kernel and at the server. Dropping the stream closes the connection.

use super::backoff::Backoff;
use super::cursor::Cursor;
use super::disconnect::Disconnect;
use super::error::Error;
use super::received::{Received, ServerEvent, ServerEvents};
use super::target::Target;
use super::update::{Connected, Update};
use crate::tick::TickId;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep, sleep};

/// The updates of a feed. See [`Client::subscribe`](super::Client::subscribe).
///
/// After an error the stream has ended.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Updates {
    target: Arc<Target>,
    /// The number of the next attempt, which selects the address.
    turn: usize,
    cursor: Cursor,
    /// The newest id that was returned to the caller. While updates wait in `out`, the cursor is ahead of it.
    returned: Option<TickId>,
    backoff: Backoff,
    phase: Phase,
    /// The updates of one message: at most three.
    out: VecDeque<Update>,
}

enum Phase {
    Connect(BoxFuture<'static, Result<ServerEvents, Disconnect>>),
    Read {
        events: ServerEvents,
        since: Instant,
        /// True once `Connected` has been returned.
        announced: bool,
        /// A timer that ends when the connection counts as dead.
        silence: Option<Pin<Box<Sleep>>>,
    },
    Wait(Pin<Box<Sleep>>),
    Ended,
}

impl Updates {
    pub(super) fn new(target: Arc<Target>) -> Updates {
        let cursor = Cursor::new(target.options.start, target.options.is_chained());
        let backoff = Backoff::new(target.options.retry_from, target.options.retry_to);
        let turn = target.next_turn();
        // The future does nothing until it is polled inside a runtime.
        let connect = target.clone().connect(turn, cursor.start());
        let (returned, turn) = (cursor.last(), turn.wrapping_add(1));
        Updates { target, turn, cursor, returned, backoff, phase: Phase::Connect(connect), out: VecDeque::new() }
    }

    /// Returns the next update, or `None` after an error. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The reason why the subscription ended permanently.
    pub async fn next(&mut self) -> Option<Result<Update, Error>> {
        StreamExt::next(self).await
    }

    /// Returns the newest id that was returned, if there is one. To continue later or in another process, start after
    /// it.
    pub fn last_id(&self) -> Option<TickId> {
        self.returned
    }

    /// Returns the number of duplicates that were dropped. A server sends duplicates only to a
    /// [`client_id`](super::Builder::client_id) after a replica was killed.
    pub fn duplicates(&self) -> u64 {
        self.cursor.duplicates()
    }

    fn take_update(&mut self) -> Option<Update> {
        let update = self.out.pop_front()?;
        // The cursor is at the last update of a message. A gap may come before it.
        if matches!(update, Update::Tick(_) | Update::Status(_) | Update::Synced { .. }) {
            self.returned = self.cursor.last();
        }
        Some(update)
    }

    fn receive(&mut self, event: ServerEvent) -> Result<(), Disconnect> {
        let Phase::Read { announced, silence, .. } = &mut self.phase else { return Ok(()) };
        if let (Some(silence), Some(timeout)) = (silence, self.target.options.silence_timeout()) {
            // A timeout beyond the end of the clock never passes.
            if let Some(end) = Instant::now().checked_add(timeout) {
                silence.as_mut().reset(end);
            }
        }
        let message = match event {
            ServerEvent::Alive => return Ok(()),
            ServerEvent::Retry(pause) => {
                self.backoff.at_least(pause);
                return Ok(());
            }
            ServerEvent::Message(Received::Goodbye(reason)) => {
                return Err(Disconnect::retry(format!("the server ended the stream: {reason}")));
            }
            ServerEvent::Message(message) => message,
        };
        if !std::mem::replace(announced, true) {
            let connected = if let Received::Hello(hello) = &message { hello.clone() } else { Connected::default() };
            self.out.push_back(Update::Connected(connected));
        }
        if self.cursor.receive(message, &mut self.out) {
            self.backoff.reset();
        }
        Ok(())
    }

    /// Starts the pause before the next attempt, or ends the stream.
    fn disconnect(&mut self, disconnect: Disconnect) -> Result<(), Error> {
        // After a connection that was open for long enough, the pauses start again with the shortest one, even if the
        // feed had nothing to send.
        if let Phase::Read { since, .. } = &self.phase
            && since.elapsed() > self.target.options.retry_to
        {
            self.backoff.reset();
        }
        match disconnect {
            // There was a feed at this address before. So another program answers for a while, such as a proxy with an
            // error page.
            Disconnect::Final(Error::NoFeed { problem }) if self.cursor.has_moved() => {
                self.disconnect(Disconnect::retry(problem))
            }
            Disconnect::Retry { why, retry_after } => {
                let retry_in = self.backoff.next(retry_after);
                self.phase = Phase::Wait(Box::pin(sleep(retry_in)));
                self.out.push_back(Update::Disconnected { why, retry_in });
                Ok(())
            }
            Disconnect::Final(error) => {
                self.phase = Phase::Ended;
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
            if let Some(update) = this.take_update() {
                return Poll::Ready(Some(Ok(update)));
            }
            let step = match &mut this.phase {
                Phase::Ended => return Poll::Ready(None),
                Phase::Wait(pause) => {
                    ready!(pause.as_mut().poll(context));
                    this.phase = Phase::Connect(this.target.clone().connect(this.turn, this.cursor.start()));
                    this.turn = this.turn.wrapping_add(1);
                    Ok(())
                }
                Phase::Connect(connect) => ready!(connect.as_mut().poll(context)).map(|events| {
                    let silence = this.target.options.silence_timeout().map(|timeout| Box::pin(sleep(timeout)));
                    this.phase = Phase::Read { events, since: Instant::now(), announced: false, silence };
                }),
                Phase::Read { events, silence, .. } => match events.as_mut().poll_next(context) {
                    Poll::Ready(Some(event)) => event.and_then(|event| this.receive(event)),
                    Poll::Ready(None) => Err(Disconnect::retry("the server ended the stream")),
                    // The timeout is checked only if there is nothing to read, because the caller may not have polled
                    // for a long time.
                    Poll::Pending => {
                        let Some(silence) = silence else { return Poll::Pending };
                        ready!(silence.as_mut().poll(context));
                        let timeout = this.target.options.silence_timeout;
                        Err(Disconnect::retry(format!("received nothing for {timeout:?}")))
                    }
                },
            };
            if let Err(error) = step.or_else(|disconnect| this.disconnect(disconnect)) {
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
