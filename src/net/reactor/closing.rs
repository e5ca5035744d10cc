//! Close of a connection: its stages and its deadline.
//!
//! 1. The client's bookmark is saved, because the client may reconnect to another replica right after the close.
//! 2. The close message is sent.
//! 3. The client closes its side. The server waits for this, because dropping a socket with unread data resets the
//!    connection, and the client might not get the close message.
//!
//! At the deadline, the connection is dropped in any stage.

use super::channel::Channel;
use super::context::Context;
use super::stream_protocol::CloseCause;
use crate::session::CLOSE_DEADLINE;
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

/// State of a connection that is being closed.
pub(super) struct Closing {
    stage: Stage,
    /// The deadline.
    until: Instant,
    /// True if the client sends nothing more. If so, the connection is dropped as soon as the close message is sent.
    peer_closed: bool,
}

enum Stage {
    /// The bookmark is being saved. `message` is sent afterwards.
    SavingBookmark { saved: Receiver<()>, message: Bytes },
    /// The close message is being sent.
    Sending,
    /// The close message is sent, and the server waits for the client to close its side.
    Lingering,
}

impl Closing {
    /// Creates the state in the stage in which the close message is sent.
    pub(super) fn new(cause: &CloseCause, context: &Context, now: Instant) -> Closing {
        // A slow client gets time to read its close reason. A replica that stops does not wait that long.
        let extra = if context.is_draining() { Duration::ZERO } else { context.sessions.limits.write_stall };
        let peer_closed = matches!(cause, CloseCause::Closed(_));
        Closing { stage: Stage::Sending, until: now + extra.max(CLOSE_DEADLINE), peer_closed }
    }

    /// Changes the stage to the first one. When the bookmark is `saved`, `message` is sent.
    pub(super) fn after(self, saved: Receiver<()>, message: Bytes) -> Closing {
        Closing { stage: Stage::SavingBookmark { saved, message }, ..self }
    }

    /// Returns the time by which [`check_deadline`](Self::check_deadline) must be called.
    pub(super) fn deadline(&self) -> Instant {
        self.until
    }

    /// Shortens the deadline because the replica stops.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.until = self.until.min(now + CLOSE_DEADLINE);
    }

    /// Notes that the client sends nothing more. The close message is still sent.
    ///
    /// # Errors
    /// If this is the last stage, so that the connection can be dropped.
    pub(super) fn peer_closed(&mut self) -> Result<(), CloseCause> {
        if matches!(self.stage, Stage::Lingering) {
            return Err(CloseCause::Gone);
        }
        self.peer_closed = true;
        Ok(())
    }

    /// Returns the close message if it is due now, or ends the output if the message has been sent. Call it when all
    /// earlier bytes have been sent.
    ///
    /// # Errors
    /// If the connection can be dropped.
    pub(super) fn next(&mut self, channel: &mut Channel) -> Result<Option<Bytes>, CloseCause> {
        match &mut self.stage {
            Stage::SavingBookmark { saved, message } => {
                if saved.try_recv() == Err(TryRecvError::Empty) {
                    return Ok(None);
                }
                let message = std::mem::take(message);
                self.stage = Stage::Sending;
                Ok(Some(message))
            }
            Stage::Sending if self.peer_closed => Err(CloseCause::Gone),
            Stage::Sending => {
                if channel.shut_down()? {
                    self.stage = Stage::Lingering;
                }
                Ok(None)
            }
            Stage::Lingering => Ok(None),
        }
    }

    /// Checks the deadline.
    ///
    /// # Errors
    /// If the deadline has passed, so that the connection is dropped.
    pub(super) fn check_deadline(&self, channel: &Channel, now: Instant) -> Result<(), CloseCause> {
        if now < self.until {
            return Ok(());
        }
        // The data that the client did not read is discarded. Otherwise the kernel would keep it for minutes.
        channel.discard_unsent()?;
        Err(CloseCause::Gone)
    }
}
