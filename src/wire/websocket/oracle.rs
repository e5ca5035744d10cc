//! What tungstenite makes of the bytes that a client sends, held against what we make of them.
//!
//! Both must hear the same, answer the same, and refuse the same for the same reason. Where tungstenite does something else
//! than we do, [`agree`] says what and why, and lets nothing else pass.

use super::{BAD_CLOSE_CODE, BAD_LENGTH, Decoder, Incoming, LONG_CONTROL, MAX_MESSAGE_BYTES, Violation};
use std::io::{self, Read, Write};
use tokio_tungstenite::tungstenite::error::CapacityError::MessageTooLong;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocket, WebSocketConfig};

/// How what a client sends ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End<C, V> {
    /// There may be more.
    Open,
    /// With a close frame; what comes after one does not count (§5.5.1).
    Closed(C),
    /// With something that a client must not send.
    Refused(V),
}

/// What we hear before the end, and the end.
pub(super) type Ours = (Vec<Incoming>, End<Option<u16>, Violation>);

/// What tungstenite hears before the end, and the end; and the bytes that it answers.
struct Theirs {
    heard: Vec<Incoming>,
    end: End<Option<CloseFrame>, Error>,
    answers: Vec<u8>,
}

/// Reads `stream` in pieces of these lengths, over and over; in one piece if there are none.
pub(super) fn read(stream: &[u8], pieces: &[u8]) -> Ours {
    let (mut decoder, mut heard, mut rest) = (Decoder::default(), Vec::new(), stream);
    let mut lengths = pieces.iter().map(|length| usize::from(*length).max(1)).cycle();
    let mut read = Ok(());
    while read.is_ok() && !rest.is_empty() {
        let (piece, more) = rest.split_at(lengths.next().map_or(rest.len(), |length| length.min(rest.len())));
        read = decoder.read(piece, &mut |incoming| heard.push(incoming));
        rest = more;
    }
    let closed = heard.iter().position(|incoming| matches!(incoming, Incoming::Close(_)));
    let end = match (closed.and_then(|at| heard.drain(at..).next()), read) {
        (Some(Incoming::Close(code)), _) => End::Closed(code),
        (_, Err(violation)) => End::Refused(violation),
        (_, Ok(())) => End::Open,
    };
    (heard, end)
}

/// Bytes to read, and bytes that were written.
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
    let mut heard = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(Message::Ping(payload)) => heard.push(Incoming::Ping(payload.into())),
            Ok(Message::Pong(_)) => heard.push(Incoming::Pong),
            Ok(Message::Close(close)) => break End::Closed(close),
            Ok(_) => {}
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break End::Open,
            Err(error) => break End::Refused(error),
        }
    };
    Theirs { heard, end, answers: socket.into_inner().written }
}

/// What tungstenite's client hears of what a server sends.
#[cfg(test)]
pub(super) fn client(sent: &[u8]) -> Vec<Message> {
    let memory = Memory { input: sent, written: Vec::new() };
    let mut socket = WebSocket::from_raw_socket(memory, Role::Client, None);
    std::iter::from_fn(|| socket.read().ok()).collect()
}

/// Reads `stream` with both, ours in pieces of these lengths and in one.
///
/// # Panics
/// If they do not agree.
pub(super) fn compare(stream: &[u8], pieces: &[u8]) {
    let ours = read(stream, pieces);
    assert_eq!(ours, read(stream, &[]), "in pieces of {pieces:?} bytes and in one");
    // We refuse a frame as soon as it is wrong; tungstenite looks at it when all of it is here. So it gets the rest of it,
    // of bytes that would be pongs if the frame were taken.
    let rest: &[u8] = if matches!(ours.1, End::Refused(_)) { &[0x8a; MAX_MESSAGE_BYTES] } else { &[] };
    let theirs = tungstenite(&[stream, rest].concat());
    assert_eq!(ours.0, theirs.heard, "heard before {:?} and {:?}", ours.1, theirs.end);
    assert!(agree(&ours.1, &theirs.end), "ours: {:?}, theirs: {:?}", ours.1, theirs.end);
    let answers = ours.0.iter().filter_map(|incoming| match incoming {
        Incoming::Ping(payload) => Some(super::pong(payload)),
        _ => None,
    });
    assert_eq!(answers.collect::<Vec<_>>().concat(), theirs.answers);
}

/// Reads what a fuzzer made: four lengths of pieces, and a stream.
pub(crate) fn fuzz(made: &[u8]) {
    let (pieces, stream) = made.split_at(made.len().min(4));
    compare(stream, pieces);
}

/// Whether both mean the same.
fn agree(ours: &End<Option<u16>, Violation>, theirs: &End<Option<CloseFrame>, Error>) -> bool {
    match (ours, theirs) {
        (End::Open, End::Open) => true,
        // A close code that must not be sent is no error to tungstenite: it says that it heard this one, which it answers.
        // Either way the client is told 1002. But it takes 1014 for such a code too, which IANA's registry has (§11.7).
        (End::Refused(BAD_CLOSE_CODE) | End::Closed(Some(1014)), End::Closed(Some(close))) => {
            u16::from(close.code) == 1002 && close.reason.as_str() == "Protocol violation"
        }
        (End::Closed(code), End::Closed(close)) => *code == close.as_ref().map(|close| close.code.into()),
        // What is longer than a message may be is too big to tungstenite. But the highest bit of a length must be 0 (§5.2),
        (End::Refused(BAD_LENGTH), End::Refused(Error::Capacity(MessageTooLong { size, .. }))) => {
            isize::try_from(*size).is_err()
        }
        // and a control frame is not too big because it is longer than a message may be (§5.5).
        (End::Refused(LONG_CONTROL), End::Refused(Error::Capacity(MessageTooLong { size, .. }))) => {
            *size > MAX_MESSAGE_BYTES
        }
        (End::Refused(violation), End::Refused(Error::Protocol(_))) => violation.code == 1002,
        (End::Refused(violation), End::Refused(Error::Utf8(_))) => violation.code == 1007,
        (End::Refused(violation), End::Refused(Error::Capacity(_))) => violation.code == 1009,
        _ => false,
    }
}
