//! Input of a connection.

use super::super::action::Phase;
use super::super::channel::ReadOutcome;
use super::super::context::Context;
use super::super::heartbeat::Heartbeat;
use super::super::stream_protocol::{ClientEvent, CloseCause, StreamProtocol};
use super::{Connection, MAX_IN_A_ROW};
use std::time::Instant;

/// Size of one read.
const READ_BYTES: usize = 2048;

impl Connection {
    /// Reads what has arrived, and handles it.
    pub(super) fn read_socket(&mut self, context: &Context, now: Instant) -> Result<(), CloseCause> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.handle_input(&early, context, now)?;
        }
        let mut buffer = [0; READ_BYTES];
        for _ in 0..MAX_IN_A_ROW {
            if !self.readable {
                break;
            }
            match self.channel.read(&mut buffer, now)? {
                ReadOutcome::Data(data) => self.handle_input(&data, context, now)?,
                ReadOutcome::End => return self.handle_end_of_input(),
                ReadOutcome::Nothing => self.readable = false,
            }
        }
        Ok(())
    }

    /// Handles a half-close by the client. The client may still read. Only a failed write shows that it does not.
    fn handle_end_of_input(&mut self) -> Result<(), CloseCause> {
        (self.readable, self.half_closed) = (false, true);
        match &mut self.phase {
            Phase::Closing(closing) => closing.peer_closed(),
            Phase::Following | Phase::Loading(_) if self.protocol.survives_half_close() => {
                // The bookmark does not move any more, because the client might not read what is sent from now on.
                self.mark_sent();
                drop(self.session.take_bookmark());
                Ok(())
            }
            Phase::Following | Phase::Loading(_) => Err(CloseCause::Gone),
        }
    }

    fn handle_input(&mut self, bytes: &[u8], context: &Context, now: Instant) -> Result<(), CloseCause> {
        if matches!(self.phase, Phase::Closing(_)) {
            return Ok(());
        }
        let (mut ping, mut answered) = (None, false);
        let read = self.protocol.read(bytes, now, &mut |event| match event {
            ClientEvent::Ping(payload) => ping = Some(payload),
            ClientEvent::Pong => answered = true,
        });
        if let Some(payload) = ping {
            self.pong = Some(Box::new(StreamProtocol::pong(&payload)));
        }
        if answered {
            self.heartbeat = Heartbeat::after(now, &self.protocol, context);
        }
        read
    }
}
