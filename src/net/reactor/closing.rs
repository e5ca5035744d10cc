//! The end of a connection: what still has to happen before it is dropped, and until when.
//!
//! First the client's bookmark is saved: after the close the client may be on another replica at once. Then the close is
//! sent, and then the client is to close its side: dropping a socket with unread data would reset the connection, and the
//! client might never see the close. A client that takes too long for any of this is dropped all the same.

use super::context::Context;
use super::stream_protocol::CloseCause;
use crate::session::CLOSE_DEADLINE;
use bytes::Bytes;
use mio::net::TcpStream;
use socket2::SockRef;
use std::net::Shutdown;
use std::time::{Duration, Instant};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

/// A connection on its way to the end.
pub(super) struct Closing {
    stage: Stage,
    /// Time at which the connection is dropped in any case.
    until: Instant,
    /// Whether the client sends nothing more. If so, the connection is dropped as soon as the close is sent.
    peer_closed: bool,
}

enum Stage {
    /// The bookmark is being saved. `message` is sent afterwards.
    SavingBookmark { saved: Receiver<()>, message: Bytes },
    /// The close is being sent.
    Sending,
    /// The close is sent, and the client is to close its side.
    Lingering,
}

impl Closing {
    /// Begins with a close that is being sent.
    pub(super) fn new(cause: &CloseCause, context: &Context, now: Instant) -> Closing {
        // A client that reads slowly should learn why it is evicted. A replica that stops does not wait that long.
        let patience = if context.is_draining() { Duration::ZERO } else { context.sessions.limits.write_stall };
        let peer_closed = matches!(cause, CloseCause::Closed(_));
        Closing { stage: Stage::Sending, until: now + patience.max(CLOSE_DEADLINE), peer_closed }
    }

    /// Sends `message` only when the bookmark is `saved`.
    pub(super) fn after(self, saved: Receiver<()>, message: Bytes) -> Closing {
        Closing { stage: Stage::SavingBookmark { saved, message }, ..self }
    }

    /// Returns the time by which [`check_deadline`](Self::check_deadline) has to be called.
    pub(super) fn deadline(&self) -> Instant {
        self.until
    }

    /// Shortens the deadline because the replica stops.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.until = self.until.min(now + CLOSE_DEADLINE);
    }

    /// Notes that the client sends nothing more. It is still sent the close.
    pub(super) fn peer_closed(&mut self) -> Result<(), CloseCause> {
        if matches!(self.stage, Stage::Lingering) {
            return Err(CloseCause::Gone);
        }
        self.peer_closed = true;
        Ok(())
    }

    /// Returns what to send next, if there is anything now. Call it when everything before has been sent.
    pub(super) fn next(&mut self, socket: &TcpStream) -> Result<Option<Bytes>, CloseCause> {
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
                socket.shutdown(Shutdown::Write)?;
                self.stage = Stage::Lingering;
                Ok(None)
            }
            Stage::Lingering => Ok(None),
        }
    }

    /// Ends the connection if it has taken too long.
    pub(super) fn check_deadline(&self, socket: &TcpStream, now: Instant) -> Result<(), CloseCause> {
        if now < self.until {
            return Ok(());
        }
        // What the client did not read must not stay in the kernel, where nothing bounds it.
        SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
        Err(CloseCause::Gone)
    }
}
