//! The words of the protocols that are spoken on raw sockets: what a client may say, and what is said to it beside the feed.

use crate::server::sse;
use crate::server::ws::frame::{self, Decoder, Incoming, Violation};
use crate::session::Goodbye;
use bytes::Bytes;

/// How a client is spoken to.
pub(in crate::server) enum Wire {
    /// Frames (RFC 6455).
    WebSocket(Decoder),
    /// Server-sent events, until the connection ends.
    Events,
}

/// What a client said that matters.
#[derive(Debug)]
pub(in crate::server) enum Heard {
    /// It wants this back.
    Ping(Vec<u8>),
    /// It is there.
    Pong,
}

/// Why a connection's life ends.
#[derive(Debug)]
pub(in crate::server) enum End {
    /// The client is gone.
    Gone,
    /// The client said goodbye.
    Closed(Option<u16>),
    /// The client broke the protocol.
    Violated(Violation),
    /// This side says goodbye.
    Leave(Goodbye),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> End {
        End::Gone
    }
}

impl Wire {
    /// Takes in what the client sent, however it is cut up.
    ///
    /// # Errors
    /// If it closes, or says what it must not.
    pub(super) fn hear(&mut self, bytes: &[u8], say: &mut dyn FnMut(Heard)) -> Result<(), End> {
        // Who reads events has nothing more to say.
        let Wire::WebSocket(decoder) = self else { return Ok(()) };
        let mut closed = None;
        let read = decoder.read(bytes, &mut |incoming| match incoming {
            Incoming::Ping(payload) => say(Heard::Ping(payload)),
            Incoming::Pong => say(Heard::Pong),
            Incoming::Close(code) => closed = closed.take().or(Some(code)),
        });
        match (closed, read) {
            // What comes after a close frame does not count (RFC 6455 §5.5.1).
            (Some(code), _) => Err(End::Closed(code)),
            (None, Err(violation)) => Err(End::Violated(violation)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// The answer to a ping.
    pub(super) fn pong(payload: &[u8]) -> Bytes {
        frame::pong(payload)
    }

    /// What shows that this side is still there.
    pub(super) fn heartbeat(&self) -> Bytes {
        match self {
            Wire::WebSocket(_) => frame::ping(),
            Wire::Events => sse::heartbeat(),
        }
    }

    /// Whether the client must answer that.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self, Wire::WebSocket(_))
    }

    /// The last that is said.
    pub(super) fn farewell(&self, end: &End) -> Bytes {
        match (self, end) {
            (Wire::WebSocket(_), End::Closed(code)) => frame::close_reply(*code),
            (Wire::WebSocket(_), End::Violated(Violation { code, reason })) => frame::close(*code, reason),
            (Wire::WebSocket(_), End::Leave(goodbye)) => frame::close(goodbye.websocket_code(), goodbye.reason()),
            (Wire::Events, End::Leave(goodbye)) => sse::farewell(*goodbye),
            (_, End::Gone) | (Wire::Events, End::Closed(_) | End::Violated(_)) => Bytes::new(),
        }
    }

    /// Where the message ends of which `sent` bytes of `piece` are a part: nothing may come in the middle of one. A piece
    /// is whole messages.
    pub(super) fn message_end(&self, piece: &[u8], sent: usize) -> usize {
        match self {
            Wire::WebSocket(_) => frame::end_of(piece, sent),
            Wire::Events => sse::end_of(piece, sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_begun_ends_where_the_next_one_begins() {
        let long = "x".repeat(300);
        let frames: Vec<Bytes> =
            vec![frame::ping(), frame::close(1001, "bye"), [&[0x81, 126, 1, 44], long.as_bytes()].concat().into()];
        let events: Vec<Bytes> =
            ["id: 1\ndata: {}\n\n", ": here\n\n", "event: gap\ndata: {}\n\n"].map(Bytes::from).into();
        for (wire, messages) in [(Wire::WebSocket(Decoder::default()), frames), (Wire::Events, events)] {
            let piece = messages.concat();
            let mut end = 0;
            for message in &messages {
                let begin = end;
                end += message.len();
                assert_eq!(wire.message_end(&piece, begin), begin, "nothing of the next one is sent");
                for sent in begin + 1..=end {
                    assert_eq!(wire.message_end(&piece, sent), end, "{sent} of {piece:?}");
                }
            }
        }
    }
}
