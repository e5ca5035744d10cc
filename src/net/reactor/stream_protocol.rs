//! Protocols of raw sockets: what a client may send, and what it is sent besides the feed.

use crate::encode::View;
use crate::session::CloseReason;
use crate::wire::sse;
use crate::wire::websocket::{self, Decoder, Incoming, Violation};
use bytes::Bytes;
use std::ops::Range;

/// Reconnection time that clients of an event stream are told, in milliseconds. It differs from client to client, so that
/// the clients of a replica that is gone do not all return at the same moment.
pub(crate) const RETRY_MS: Range<u32> = 500..2000;

/// Protocol of a stream.
pub(crate) enum StreamProtocol {
    /// WebSocket frames (RFC 6455).
    WebSocket(Decoder),
    /// Server-sent events, until the connection ends.
    Events,
}

/// What a client sent that matters.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    /// It wants this payload back.
    Ping(Vec<u8>),
    /// It answers a ping.
    Pong,
}

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum CloseCause {
    /// The client is gone.
    Gone,
    /// The client closed.
    Closed(Option<u16>),
    /// The client broke the protocol.
    Violated(Violation),
    /// This side closes.
    Local(CloseReason),
}

impl From<std::io::Error> for CloseCause {
    fn from(_: std::io::Error) -> CloseCause {
        CloseCause::Gone
    }
}

impl StreamProtocol {
    /// Creates a WebSocket after its handshake.
    pub(crate) fn websocket() -> StreamProtocol {
        StreamProtocol::WebSocket(Decoder::default())
    }

    /// Reads what the client sent, in pieces of any size.
    ///
    /// # Errors
    /// If the client closes or breaks the protocol.
    pub(super) fn read(&mut self, bytes: &[u8], emit: &mut dyn FnMut(ClientEvent)) -> Result<(), CloseCause> {
        // A reader of events has nothing more to send.
        let StreamProtocol::WebSocket(decoder) = self else { return Ok(()) };
        let mut closed = None;
        let read = decoder.read(bytes, &mut |incoming| match incoming {
            Incoming::Ping(payload) => emit(ClientEvent::Ping(payload)),
            Incoming::Pong => emit(ClientEvent::Pong),
            Incoming::Close(code) => closed = closed.take().or(Some(code)),
        });
        match (closed, read) {
            // What follows a close frame does not count (RFC 6455 §5.5.1).
            (Some(code), _) => Err(CloseCause::Closed(code)),
            (None, Err(violation)) => Err(CloseCause::Violated(violation)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Returns whether the stream goes on when the client has shut down its sending side. A reader of events has nothing
    /// more to send anyway. A WebSocket cannot go on: it needs the client's pongs and its close.
    pub(super) fn survives_half_close(&self) -> bool {
        matches!(self, StreamProtocol::Events)
    }

    /// Returns the answer to a ping.
    pub(super) fn pong(payload: &[u8]) -> Bytes {
        websocket::pong(payload)
    }

    /// Returns what shows that this side is still there.
    pub(super) fn heartbeat(&self) -> Bytes {
        match self {
            StreamProtocol::WebSocket(_) => websocket::ping(),
            StreamProtocol::Events => sse::heartbeat(),
        }
    }

    /// Returns whether the client must answer heartbeats.
    pub(super) fn answers_heartbeats(&self) -> bool {
        matches!(self, StreamProtocol::WebSocket(_))
    }

    /// Returns the last message of the connection.
    pub(super) fn close_message(&self, cause: &CloseCause) -> Bytes {
        match (self, cause) {
            (StreamProtocol::WebSocket(_), CloseCause::Closed(code)) => websocket::close_reply(*code),
            (StreamProtocol::WebSocket(_), CloseCause::Violated(Violation { code, reason })) => {
                websocket::close(*code, reason)
            }
            (StreamProtocol::WebSocket(_), CloseCause::Local(reason)) => {
                websocket::close(reason.websocket_code(), reason.message())
            }
            (StreamProtocol::Events, CloseCause::Local(reason)) => goodbye_event(*reason),
            (_, CloseCause::Gone) | (StreamProtocol::Events, CloseCause::Closed(_) | CloseCause::Violated(_)) => {
                Bytes::new()
            }
        }
    }

    /// Returns the end of the message of which `sent` bytes of `piece` are a part: nothing may be sent in the middle of a
    /// message. A piece is whole messages.
    pub(super) fn message_end(&self, piece: &[u8], sent: usize) -> usize {
        match self {
            StreamProtocol::WebSocket(_) => websocket::message_end(piece, sent),
            StreamProtocol::Events => sse::message_end(piece, sent),
        }
    }
}

/// Returns the end of an event stream: when to reconnect, and a `goodbye` event.
pub(crate) fn goodbye_event(reason: CloseReason) -> Bytes {
    [sse::retry(fastrand::u32(RETRY_MS)), View::goodbye(reason.name(), reason.message())].concat().into()
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
                assert_eq!(protocol.message_end(&piece, begin), begin, "nothing of the next one is sent");
                for sent in begin + 1..=end {
                    assert_eq!(protocol.message_end(&piece, sent), end, "{sent} of {piece:?}");
                }
            }
        }
    }
}
