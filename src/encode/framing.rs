//! The bytes around a message.

use crate::tick::TickId;
use crate::wire::{sse, websocket};
use serde::Serialize;

/// The bytes around a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Framing {
    /// A line for each message (NDJSON).
    Line,
    /// One or more rows of a table for each message (CSV, not JSON).
    Row,
    /// A WebSocket text message in one unmasked frame, as servers send them (RFC 6455 §5.2).
    WebSocket,
    /// A server-sent event (HTML Living Standard §9.2). The messages for a tick have no name. For every other message,
    /// such as a status or a gap, the name is its type.
    Event,
    /// A length-prefixed protobuf message of gRPC. It has the content of [`Format::Full`](super::Format::Full), or of
    /// [`Format::Audit`](super::Format::Audit).
    #[cfg(feature = "grpc")]
    Grpc,
}

/// The encoding of the messages in a framing.
#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Json(JsonFraming),
    Csv,
    #[cfg(feature = "grpc")]
    Protobuf,
}

/// The bytes around a message in JSON.
#[derive(Clone, Copy)]
pub(super) enum JsonFraming {
    Line,
    WebSocket,
    Event,
}

impl Framing {
    pub(super) fn encoding(self) -> Encoding {
        match self {
            Framing::Line => Encoding::Json(JsonFraming::Line),
            Framing::WebSocket => Encoding::Json(JsonFraming::WebSocket),
            Framing::Event => Encoding::Json(JsonFraming::Event),
            Framing::Row => Encoding::Csv,
            #[cfg(feature = "grpc")]
            Framing::Grpc => Encoding::Protobuf,
        }
    }
}

/// Writes messages as framed JSON.
pub(super) struct JsonWriter<'a> {
    framing: JsonFraming,
    to: &'a mut Vec<u8>,
}

impl<'a> JsonWriter<'a> {
    pub(super) fn new(framing: JsonFraming, to: &'a mut Vec<u8>) -> JsonWriter<'a> {
        JsonWriter { framing, to }
    }

    /// Writes a message that is not for a tick. A server-sent event gets the name, and the id if there is one. A client
    /// that reconnects resumes after the last id that it has received.
    pub(super) fn named(&mut self, name: &'static str, id: Option<TickId>, message: &impl Serialize) {
        self.write(Some(name), id, message);
    }

    /// Writes a message for a tick. If there are several, only the last one has an id.
    pub(super) fn update(&mut self, id: Option<TickId>, message: &impl Serialize) {
        self.write(None, id, message);
    }

    fn write(&mut self, name: Option<&'static str>, id: Option<TickId>, message: &impl Serialize) {
        let write = |to: &mut Vec<u8>| serde_json::to_writer(to, message).expect("messages have string keys");
        match self.framing {
            JsonFraming::Line => {
                write(self.to);
                self.to.push(b'\n');
            }
            JsonFraming::WebSocket => websocket::write_text(self.to, write),
            JsonFraming::Event => sse::write_event(name, id, self.to, write),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

    #[test]
    fn frame_has_the_shortest_header_for_its_length() {
        for (length, header) in [
            (0, vec![0x81, 2]),
            (123, vec![0x81, 125]),
            (124, vec![0x81, 126, 0, 126]),
            (0xfffd, vec![0x81, 126, 0xff, 0xff]),
            (0xfffe, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let (mut frame, text) = (Vec::new(), "x".repeat(length));
            JsonWriter::new(JsonFraming::WebSocket, &mut frame).update(None, &text);
            assert_eq!(frame[..header.len()], header);
            assert_eq!(frame.len(), header.len() + length + 2, "the text has quotes");
            let mut client = WebSocket::from_raw_socket(Cursor::new(frame), Role::Client, None);
            assert_eq!(client.read().unwrap().into_text().unwrap(), format!("\"{text}\""));
        }
    }

    #[test]
    fn event_has_a_name_and_an_id_only_if_given() {
        let mut bytes = Vec::new();
        let mut events = JsonWriter::new(JsonFraming::Event, &mut bytes);
        events.update(Some(TickId::from_ms(7)), &1);
        events.named("gap", None, &2);
        assert_eq!(String::from_utf8(bytes).unwrap(), "id: 7\ndata: 1\n\nevent: gap\ndata: 2\n\n");
    }
}
