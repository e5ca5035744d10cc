//! Protocols of raw sockets. They interpret the input of clients, and make the messages that are not part of the feed.

use super::input_budget::InputBudget;
use crate::session::CloseReason;
use crate::telemetry::metrics::CLOSES;
use crate::wire::sse;
use crate::wire::websocket::{self, Decoder, Incoming, Violation};
use bytes::Bytes;
use std::time::Instant;

/// Protocol of a stream.
pub(crate) enum StreamProtocol {
    /// WebSocket frames (RFC 6455).
    WebSocket(Decoder, InputBudget),
    /// Server-sent events. The stream has no length, so it ends with its connection (RFC 9112 §6.3).
    Events,
}

/// Input of a client that needs a reaction.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    /// A ping with this payload, which the pong repeats.
    Ping(Vec<u8>),
    /// An answer to a ping.
    Pong,
}

/// Cause for the end of a connection.
#[derive(Debug)]
pub(crate) enum CloseCause {
    /// The connection is dropped at once, for example because it failed or the client has left.
    Gone,
    /// The client closed the connection, with this code if it sent one.
    Closed(Option<u16>),
    /// The client broke the protocol.
    Violated(Violation),
    /// The server closes the connection.
    Local(CloseReason),
}

impl CloseCause {
    /// Counts the stream if the server closes it.
    pub(crate) fn count(&self) {
        let name = match self {
            CloseCause::Gone | CloseCause::Closed(_) => return,
            CloseCause::Violated(_) => "violation",
            CloseCause::Local(reason) => reason.name(),
        };
        CLOSES.counter(name).increment(1);
    }
}

impl From<std::io::Error> for CloseCause {
    fn from(_: std::io::Error) -> CloseCause {
        CloseCause::Gone
    }
}

impl StreamProtocol {
    /// Returns the protocol of a WebSocket after its handshake.
    pub(crate) fn websocket() -> StreamProtocol {
        StreamProtocol::WebSocket(Decoder::default(), InputBudget::default())
    }

    /// Decodes input of the client, which may come in pieces of any size, and calls `emit` for each event.
    ///
    /// # Errors
    /// If the client closes, breaks the protocol or sends too much.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        now: Instant,
        emit: &mut dyn FnMut(ClientEvent),
    ) -> Result<(), CloseCause> {
        // Input after the request of an event stream is ignored.
        let StreamProtocol::WebSocket(decoder, budget) = self else { return Ok(()) };
        let mut closed = None;
        let spent = budget.spend(bytes.len(), now);
        let read = decoder.read(bytes, &mut |incoming| match incoming {
            Incoming::Ping(payload) => emit(ClientEvent::Ping(payload)),
            Incoming::Pong => emit(ClientEvent::Pong),
            Incoming::Close(code) => closed = closed.take().or(Some(code)),
        });
        match (closed, read.and(spent)) {
            // Input after a close frame is ignored (RFC 6455 §5.5.1).
            (Some(code), _) => Err(CloseCause::Closed(code)),
            (None, Err(violation)) => Err(CloseCause::Violated(violation)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Returns whether the stream continues after the client has shut down its sending side. An event stream does,
    /// because its client has nothing more to send. A WebSocket does not: its client can send neither the pongs nor the
    /// close frame that it must send (RFC 6455 §5.5).
    pub(super) fn survives_half_close(&self) -> bool {
        matches!(self, StreamProtocol::Events)
    }

    /// Returns the answer to a ping.
    pub(super) fn pong(payload: &[u8]) -> Bytes {
        websocket::pong(payload)
    }

    /// Returns the heartbeat message.
    pub(super) fn heartbeat(&self) -> Bytes {
        match self {
            StreamProtocol::WebSocket(..) => websocket::ping(),
            StreamProtocol::Events => sse::heartbeat(),
        }
    }

    /// Returns whether the client must answer heartbeats.
    pub(super) fn answers_heartbeats(&self) -> bool {
        matches!(self, StreamProtocol::WebSocket(..))
    }

    /// Returns the last message of the connection.
    pub(super) fn close_message(&self, cause: &CloseCause) -> Bytes {
        match (self, cause) {
            (StreamProtocol::WebSocket(..), CloseCause::Closed(code)) => websocket::close_reply(*code),
            (StreamProtocol::WebSocket(..), CloseCause::Violated(Violation { code, reason })) => {
                websocket::close(*code, reason)
            }
            (StreamProtocol::WebSocket(..), CloseCause::Local(reason)) => {
                websocket::close(reason.websocket_code(), reason.message())
            }
            (StreamProtocol::Events, CloseCause::Local(reason)) => reason.last_event(),
            (_, CloseCause::Gone) | (StreamProtocol::Events, CloseCause::Closed(_) | CloseCause::Violated(_)) => {
                Bytes::new()
            }
        }
    }

    /// Returns the offset up to which `piece` must be sent before another message may be sent. `piece` consists of
    /// whole messages, and its first `sent` bytes have been sent. If they end inside a message, the offset is the end
    /// of that message. Otherwise it is `sent`.
    pub(super) fn message_end(&self, piece: &[u8], sent: usize) -> usize {
        match self {
            StreamProtocol::WebSocket(..) => websocket::message_end(piece, sent),
            StreamProtocol::Events => sse::message_end(piece, sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_end_is_the_start_of_the_next() {
        let long = "x".repeat(300);
        let frames: Vec<Bytes> = vec![
            websocket::ping(),
            websocket::close(1001, "bye"),
            [&[0x81, 126, 1, 44], long.as_bytes()].concat().into(),
        ];
        let events: Vec<Bytes> =
            ["id: 1\ndata: {}\n\n", ": here\n\n", "event: gap\ndata: {}\n\n"].map(Bytes::from).into();
        for (protocol, messages) in [(StreamProtocol::websocket(), frames), (StreamProtocol::Events, events)] {
            let piece = messages.concat();
            let mut end = 0;
            for message in &messages {
                let begin = end;
                end += message.len();
                assert_eq!(protocol.message_end(&piece, begin), begin, "nothing of the next message is sent");
                for sent in begin + 1..=end {
                    assert_eq!(protocol.message_end(&piece, sent), end, "{sent} of {piece:?}");
                }
            }
        }
    }
}
