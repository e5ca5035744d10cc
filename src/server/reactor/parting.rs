//! The end of a connection: what is still to happen before it is dropped, and until when.
//!
//! First it is written down where the client is, since after the goodbye it may be on another replica at once. Then the
//! goodbye goes out, and then it is for the client to close: to drop a socket with something unread would reset the connection,
//! and the client might never see the goodbye. One that takes too long for any of it is dropped all the same.

use super::{End, Shared};
use crate::server::FAREWELL;
use bytes::Bytes;
use mio::net::TcpStream;
use socket2::SockRef;
use std::net::Shutdown;
use std::time::{Duration, Instant};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

pub(super) struct Parting {
    stage: Stage,
    /// When the connection is dropped in any case.
    until: Instant,
    /// Whether the client will send nothing more. Then the connection is dropped as soon as the goodbye is sent.
    hung_up: bool,
}

enum Stage {
    /// The client is let go with these words once it is written down where it is.
    Settling { settled: Receiver<()>, farewell: Bytes },
    /// The goodbye is on its way.
    Leaving,
    /// Everything is said.
    Lingering,
}

impl Parting {
    /// One whose goodbye is on its way.
    pub(super) fn new(end: &End, shared: &Shared, now: Instant) -> Parting {
        // A client that reads slowly may find out why it is let go; a replica that stops does not wait that long for it.
        let patience = if shared.is_draining() { Duration::ZERO } else { shared.sessions.limits.write_stall };
        Parting { stage: Stage::Leaving, until: now + patience.max(FAREWELL), hung_up: matches!(end, End::Closed(_)) }
    }

    /// The same, but the goodbye comes only when it is `settled` where the client is.
    pub(super) fn after(self, settled: Receiver<()>, farewell: Bytes) -> Parting {
        Parting { stage: Stage::Settling { settled, farewell }, ..self }
    }

    /// When [`judge`](Self::judge) is to be called at the latest.
    pub(super) fn deadline(&self) -> Instant {
        self.until
    }

    /// The replica stops.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.until = self.until.min(now + FAREWELL);
    }

    /// The client sends nothing more. It gets what is still to be said all the same.
    pub(super) fn hang_up(&mut self) -> Result<(), End> {
        if matches!(self.stage, Stage::Lingering) {
            return Err(End::Gone);
        }
        self.hung_up = true;
        Ok(())
    }

    /// What is to be sent next, if there is anything now. To be asked when everything before has been sent.
    pub(super) fn next(&mut self, stream: &TcpStream) -> Result<Option<Bytes>, End> {
        match &mut self.stage {
            Stage::Settling { settled, farewell } => {
                if settled.try_recv() == Err(TryRecvError::Empty) {
                    return Ok(None);
                }
                let farewell = std::mem::take(farewell);
                self.stage = Stage::Leaving;
                Ok(Some(farewell))
            }
            Stage::Leaving if self.hung_up => Err(End::Gone),
            Stage::Leaving => {
                stream.shutdown(Shutdown::Write)?;
                self.stage = Stage::Lingering;
                Ok(None)
            }
            Stage::Lingering => Ok(None),
        }
    }

    /// Ends it if it has taken too long.
    pub(super) fn judge(&self, stream: &TcpStream, now: Instant) -> Result<(), End> {
        if now < self.until {
            return Ok(());
        }
        // What it did not take must not stay with the kernel, where nothing bounds how many there are.
        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        Err(End::Gone)
    }
}
