//! Differential test of the decoder: decodes the bytes of a client with both our decoder and tungstenite, and compares
//! the results.
//!
//! Both decoders must find the same control frames, answer the same pings, and reject the same input for an equivalent
//! reason. Of a close frame, only the code is compared. [`agree`] lists all accepted differences with their reasons.
//! The numbers of sections are those of RFC 6455.

use super::{BAD_CLOSE_CODE, BAD_LENGTH, Decoder, Incoming, LONG_CONTROL, MAX_MESSAGE_BYTES, Violation};
use std::io::{self, Read, Write};
use tokio_tungstenite::tungstenite::error::CapacityError::MessageTooLong;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocket, WebSocketConfig};

/// End of a client's byte stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StreamEnd<C, V> {
    /// No end: more input may follow.
    Open,
    /// A close frame. Input after it is ignored (§5.5.1).
    Closed(C),
    /// A violation of the protocol.
    Rejected(V),
}

/// Result of our decoder: the control frames before the end, and the end.
pub(super) type Ours = (Vec<Incoming>, StreamEnd<Option<u16>, Violation>);

/// Result of tungstenite: the control frames before the end, the end, and the bytes of its answers.
struct Theirs {
    incoming: Vec<Incoming>,
    end: StreamEnd<Option<CloseFrame>, Error>,
    answers: Vec<u8>,
}

/// Decodes `stream` with our decoder, in pieces. `pieces` has their lengths, and begins again after its last one. If
/// `pieces` is empty, the stream is one piece.
pub(super) fn read(stream: &[u8], pieces: &[u8]) -> Ours {
    let (mut decoder, mut incoming, mut rest) = (Decoder::default(), Vec::new(), stream);
    let mut lengths = pieces.iter().map(|length| usize::from(*length).max(1)).cycle();
    let mut result = Ok(());
    while result.is_ok() && !rest.is_empty() {
        let (piece, after) = rest.split_at(lengths.next().map_or(rest.len(), |length| length.min(rest.len())));
        result = decoder.read(piece, &mut |frame| incoming.push(frame));
        rest = after;
    }
    let closed = incoming.iter().position(|incoming| matches!(incoming, Incoming::Close(_)));
    let end = match (closed.and_then(|at| incoming.drain(at..).next()), result) {
        (Some(Incoming::Close(code)), _) => StreamEnd::Closed(code),
        (_, Err(violation)) => StreamEnd::Rejected(violation),
        (_, Ok(())) => StreamEnd::Open,
    };
    (incoming, end)
}

/// A socket whose input and output are in memory.
struct Memory<'a> {
    input: &'a [u8],
    written: Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.input.read(to)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite(stream: &[u8]) -> Theirs {
    let limit = Some(MAX_MESSAGE_BYTES);
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .max_message_size(limit)
        .max_frame_size(limit)
        .write_buffer_size(0);
    let memory = Memory { input: stream, written: Vec::new() };
    let mut socket = WebSocket::from_raw_socket(memory, Role::Server, Some(config));
    let mut incoming = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(Message::Ping(payload)) => incoming.push(Incoming::Ping(payload.into())),
            Ok(Message::Pong(_)) => incoming.push(Incoming::Pong),
            Ok(Message::Close(close)) => break StreamEnd::Closed(close),
            Ok(_) => {}
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break StreamEnd::Open,
            Err(error) => break StreamEnd::Rejected(error),
        }
    };
    Theirs { incoming, end, answers: socket.into_inner().written }
}

/// Returns the messages that tungstenite's client reads from the bytes that a server sent.
#[cfg(test)]
pub(super) fn client(sent: &[u8]) -> Vec<Message> {
    let memory = Memory { input: sent, written: Vec::new() };
    let mut socket = WebSocket::from_raw_socket(memory, Role::Client, None);
    std::iter::from_fn(|| socket.read().ok()).collect()
}

/// Compares both decoders on `stream`. Ours decodes it twice: in pieces, as in [`read`], and in one piece.
///
/// # Panics
/// If the results differ.
pub(super) fn compare(stream: &[u8], pieces: &[u8]) {
    let ours = read(stream, pieces);
    assert_eq!(ours, read(stream, &[]), "in pieces of {pieces:?} bytes and in one");
    // We reject a frame as early as possible, tungstenite when the frame is complete. So tungstenite gets more bytes,
    // which complete the frame. If tungstenite accepted the frame, it would read the rest of these bytes as pongs, and
    // the comparison would fail.
    let rest: &[u8] = if matches!(ours.1, StreamEnd::Rejected(_)) { &[0x8a; MAX_MESSAGE_BYTES] } else { &[] };
    let theirs = tungstenite(&[stream, rest].concat());
    assert_eq!(ours.0, theirs.incoming, "frames before {:?} and {:?}", ours.1, theirs.end);
    assert!(agree(&ours.1, &theirs.end), "ours: {:?}, theirs: {:?}", ours.1, theirs.end);
    let answers = ours.0.iter().filter_map(|incoming| match incoming {
        Incoming::Ping(payload) => Some(super::pong(payload)),
        _ => None,
    });
    assert_eq!(answers.collect::<Vec<_>>().concat(), theirs.answers);
}

/// Runs the comparison on the input of a fuzzer: four lengths of pieces, then the stream.
pub(crate) fn fuzz(input: &[u8]) {
    let (pieces, stream) = input.split_at(input.len().min(4));
    compare(stream, pieces);
}

/// Returns true if the two ends are equivalent.
fn agree(ours: &StreamEnd<Option<u16>, Violation>, theirs: &StreamEnd<Option<CloseFrame>, Error>) -> bool {
    match (ours, theirs) {
        (StreamEnd::Open, StreamEnd::Open) => true,
        // If a close code must not be sent, tungstenite returns no error. It answers with a close frame with 1002, and
        // returns that frame instead of the client's. So the client gets 1002 from both. tungstenite also does this for
        // 1014, which IANA's registry allows (§11.7).
        (StreamEnd::Rejected(BAD_CLOSE_CODE) | StreamEnd::Closed(Some(1014)), StreamEnd::Closed(Some(close))) => {
            u16::from(close.code) == 1002 && close.reason.as_str() == "Protocol violation"
        }
        (StreamEnd::Closed(code), StreamEnd::Closed(close)) => *code == close.as_ref().map(|close| close.code.into()),
        // tungstenite reports any length above the limit as too big. We report a length whose highest bit is set (§5.2)
        // and a control frame that is too long (§5.5) as violations of the protocol.
        (StreamEnd::Rejected(BAD_LENGTH), StreamEnd::Rejected(Error::Capacity(MessageTooLong { size, .. }))) => {
            isize::try_from(*size).is_err()
        }
        (StreamEnd::Rejected(LONG_CONTROL), StreamEnd::Rejected(Error::Capacity(MessageTooLong { size, .. }))) => {
            *size > MAX_MESSAGE_BYTES
        }
        (StreamEnd::Rejected(violation), StreamEnd::Rejected(Error::Protocol(_))) => violation.code == 1002,
        (StreamEnd::Rejected(violation), StreamEnd::Rejected(Error::Utf8(_))) => violation.code == 1007,
        (StreamEnd::Rejected(violation), StreamEnd::Rejected(Error::Capacity(_))) => violation.code == 1009,
        _ => false,
    }
}
