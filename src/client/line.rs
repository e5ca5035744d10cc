//! A line to a feed: one connection after the other, with a pause between two attempts.
//!
//! There is no task and no queue. A line reads its connection only while it is polled. Otherwise, messages wait in the
//! kernel and at the server. Dropping the line closes the connection.

use super::backoff::Backoff;
use super::disconnect::Disconnect;
use super::received::{Received, ServerEvent, ServerEvents};
use super::target::Target;
use crate::feed::Start;
use futures_util::future::BoxFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// A line to one of the addresses of a feed.
pub(super) struct Line {
    target: Arc<Target>,
    /// The number of the address.
    address: usize,
    backoff: Backoff,
    phase: Phase,
    /// True after a connection was open.
    was_open: bool,
}

/// What has happened on a line.
#[derive(Debug)]
pub(super) enum LineEvent {
    /// The server has answered.
    Opened {
        again: bool,
    },
    Message(Received),
    /// The connection has ended or could not be opened. The line does nothing until [`Line::wait`] or
    /// [`Line::rest`].
    Ended(Disconnect),
}

enum Phase {
    Idle,
    Connect(BoxFuture<'static, Result<ServerEvents, Disconnect>>),
    Read {
        events: ServerEvents,
        since: Instant,
        /// A timer that ends when the connection counts as dead.
        silence: Option<Pin<Box<Sleep>>>,
    },
    Wait(Pin<Box<Sleep>>),
    Ended,
}

impl Line {
    /// Creates a line to the address with this number. It connects when it is first polled.
    pub(super) fn new(target: Arc<Target>, address: usize) -> Line {
        let backoff = Backoff::new(target.options.retry_from, target.options.retry_to);
        Line { target, address, backoff, phase: Phase::Idle, was_open: false }
    }

    /// Returns the number of the address that the line uses. During a pause, it is that of the next attempt.
    pub(super) fn address(&self) -> usize {
        self.address
    }

    /// Resets the backoff to the shortest pause. Must be called only after the line has delivered an entry.
    pub(super) fn works(&mut self) {
        self.backoff.reset();
    }

    /// Closes the connection, and starts the pause before the next attempt, at the address with this number. Returns
    /// the pause.
    pub(super) fn wait(&mut self, address: usize, asked: Option<Duration>) -> Duration {
        let pause = self.backoff.next(asked);
        self.wait_for(address, pause);
        pause
    }

    /// Closes the connection after a refusal, and starts a random pause between half of `retry_to` and `retry_to`. It
    /// is long, because the server would refuse the next attempt too. It is random, so that clients do not all come
    /// back at the same moment. Returns the pause.
    pub(super) fn rest(&mut self, address: usize) -> Duration {
        let pause = self.target.options.retry_to.mul_f64(0.5 + 0.5 * fastrand::f64());
        self.wait_for(address, pause);
        pause
    }

    fn wait_for(&mut self, address: usize, pause: Duration) {
        self.address = address;
        self.phase = Phase::Wait(Box::pin(sleep(pause)));
    }

    /// Returns the next event. If this call connects, the server begins to send at `start`.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, start: Start) -> Poll<LineEvent> {
        loop {
            match &mut self.phase {
                Phase::Ended => return Poll::Pending,
                Phase::Idle => self.connect(start),
                Phase::Wait(pause) => {
                    ready!(pause.as_mut().poll(context));
                    self.connect(start);
                }
                Phase::Connect(connect) => match ready!(connect.as_mut().poll(context)) {
                    Ok(events) => {
                        let silence = self.target.options.silence_timeout().map(|timeout| Box::pin(sleep(timeout)));
                        self.phase = Phase::Read { events, since: Instant::now(), silence };
                        return Poll::Ready(LineEvent::Opened { again: std::mem::replace(&mut self.was_open, true) });
                    }
                    Err(disconnect) => return Poll::Ready(self.ended(disconnect)),
                },
                Phase::Read { events, silence, .. } => {
                    let event = match events.as_mut().poll_next(context) {
                        Poll::Ready(Some(event)) => event,
                        Poll::Ready(None) => Err(Disconnect::retry("the server ended the stream")),
                        // If the caller has not polled for a long time, the timer has ended although data has
                        // arrived. So the timer is checked only if there is nothing to read.
                        Poll::Pending => {
                            let Some(silence) = silence else { return Poll::Pending };
                            ready!(silence.as_mut().poll(context));
                            let timeout = self.target.options.silence_timeout;
                            Err(Disconnect::retry(format!("received nothing for {timeout:?}")))
                        }
                    };
                    if let Some(event) = self.received(event) {
                        return Poll::Ready(event);
                    }
                }
            }
        }
    }

    fn connect(&mut self, start: Start) {
        self.phase = Phase::Connect(self.target.clone().connect(self.address, start));
    }

    fn received(&mut self, event: Result<ServerEvent, Disconnect>) -> Option<LineEvent> {
        let event = match event {
            Ok(event) => event,
            Err(disconnect) => return Some(self.ended(disconnect)),
        };
        if let Phase::Read { silence: Some(silence), .. } = &mut self.phase
            && let Some(timeout) = self.target.options.silence_timeout()
        {
            // A timeout beyond the end of the clock never passes.
            if let Some(end) = Instant::now().checked_add(timeout) {
                silence.as_mut().reset(end);
            }
        }
        match event {
            ServerEvent::Alive => None,
            ServerEvent::Retry(pause) => {
                self.backoff.at_least(pause);
                None
            }
            ServerEvent::Message(Received::Goodbye(reason)) => {
                Some(self.ended(Disconnect::retry(format!("the server ended the stream: {reason}"))))
            }
            ServerEvent::Message(message) => Some(LineEvent::Message(message)),
        }
    }

    fn ended(&mut self, disconnect: Disconnect) -> LineEvent {
        // After a connection that was open for long enough, the pauses start again with the shortest one, even if the
        // feed had nothing to send.
        if let Phase::Read { since, .. } = &self.phase
            && since.elapsed() > self.target.options.retry_to
        {
            self.backoff.reset();
        }
        self.phase = Phase::Ended;
        LineEvent::Ended(disconnect)
    }
}
