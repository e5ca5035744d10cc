//! WebSocket frames (RFC 6455 §5): a decoder for the frames of a client, and writers for those of the server.
//!
//! The decoder reads a byte stream in pieces of any size. The server does not use messages of clients, so the decoder
//! only checks and drops them. It returns only control frames. Tests and a fuzz target compare the decoder with
//! tungstenite (`oracle.rs`).

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;

use bytes::Bytes;

/// Maximum length of a message, and of a frame, of a client.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4096;
/// Maximum length of the payload of a control frame (§5.5).
const MAX_CONTROL_BYTES: usize = 125;
/// Number of bytes that are unmasked at a time.
const CHUNK_BYTES: usize = 256;
/// Maximum length of an incomplete UTF-8 character.
const MAX_PARTIAL_BYTES: usize = 3;

/// Control frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A ping with this payload, which the pong repeats.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A close, with its code if it has one.
    Close(Option<u16>),
}

/// Violation of the protocol by a client, with its close code (§7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub code: u16,
    pub reason: &'static str,
}

const fn protocol(reason: &'static str) -> Violation {
    Violation { code: 1002, reason }
}

/// Violation without a more exact reason.
pub(crate) const PROTOCOL_VIOLATION: Violation = protocol("violation of the WebSocket protocol");
pub(crate) const NOT_UTF8: Violation = Violation { code: 1007, reason: "text is not UTF-8" };
/// Input beyond the budget of a client (1008 is a violation of a policy).
pub(crate) const FLOOD: Violation =
    Violation { code: 1008, reason: "too much input: expected pongs and a few short messages" };
pub(crate) const TOO_BIG: Violation = Violation { code: 1009, reason: "message longer than 4096 bytes" };
const BAD_LENGTH: Violation = protocol("length with its highest bit set");
const LONG_CONTROL: Violation = protocol("control frame longer than 125 bytes");
const BAD_CLOSE_CODE: Violation = protocol("close code that must not be sent");

/// Decoder of a client's frames. Between two messages, which is nearly all of the time, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Decoder(Option<Box<Partial>>);

/// Input that is not complete yet.
#[derive(Debug, Default)]
struct Partial {
    /// The bytes of the header that have arrived: at most 2 + 8 + 4.
    header: [u8; 14],
    header_len: usize,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The message whose fragments are arriving.
    message: Option<Message>,
    /// The payload of the control frame that is arriving.
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Number of bytes of the payload that have arrived.
    at: usize,
    len: usize,
}

#[derive(Debug, Default)]
struct Message {
    len: usize,
    text: bool,
    /// The first bytes of a character whose end has not arrived.
    partial: [u8; MAX_PARTIAL_BYTES],
    partial_len: usize,
}

impl Decoder {
    /// Decodes `input`, and calls `emit` for each control frame.
    ///
    /// # Errors
    /// The first violation. The decoder cannot be used after that.
    pub(crate) fn read(&mut self, input: &[u8], emit: &mut dyn FnMut(Incoming)) -> Result<(), Violation> {
        let mut partial = self.0.take().map_or_else(Partial::default, |partial| *partial);
        partial.read(input, emit)?;
        if partial.header_len > 0 || partial.frame.is_some() || partial.message.is_some() {
            self.0 = Some(Box::new(partial));
        }
        Ok(())
    }
}

impl Partial {
    fn read(&mut self, mut input: &[u8], emit: &mut dyn FnMut(Incoming)) -> Result<(), Violation> {
        loop {
            if let Some(mut frame) = self.frame {
                let (payload, rest) = input.split_at(input.len().min(frame.len - frame.at));
                self.read_payload(&mut frame, payload)?;
                input = rest;
                if frame.at < frame.len {
                    self.frame = Some(frame);
                    return Ok(());
                }
                self.frame = None;
                self.end_frame(frame, emit)?;
            }
            let Some((first, rest)) = input.split_first() else { return Ok(()) };
            input = rest;
            self.header[self.header_len] = *first;
            self.header_len += 1;
            self.frame = self.parse_header()?;
        }
    }

    /// Returns the frame that the header announces, or `None` if the header is not complete.
    fn parse_header(&mut self) -> Result<Option<Frame>, Violation> {
        let [first, second, rest @ ..] = &self.header[..self.header_len] else { return Ok(None) };
        let (short, masked) = (second & 0x7f, second & 0x80 != 0);
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if rest.len() < length_bytes + if masked { 4 } else { 0 } {
            return Ok(None);
        }
        let (length, mask) = rest.split_at(length_bytes);
        // A length in more bytes than necessary is accepted, because the rule of §5.2 applies to senders.
        let length = match length {
            [] => u64::from(short),
            bytes => bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let len = self.check(*first, masked, length)?;
        let frame = Frame {
            fin: first & 0x80 != 0,
            opcode: first & 0x0f,
            mask: mask.try_into().unwrap_or_default(),
            at: 0,
            len,
        };
        self.header_len = 0;
        if frame.opcode < 8 {
            let message = self.message.get_or_insert_default();
            message.len += len;
            message.text |= frame.opcode == 1;
        }
        Ok(Some(frame))
    }

    /// Checks a header, and returns the length of the payload. If several rules are broken, the first one in
    /// tungstenite's order is reported.
    fn check(&self, first: u8, masked: bool, length: u64) -> Result<usize, Violation> {
        let (fin, opcode, control) = (first & 0x80 != 0, first & 0x0f, first & 0x08 != 0);
        let len = usize::try_from(length).unwrap_or(usize::MAX);
        match opcode {
            3..=7 | 11.. => Err(protocol("unknown opcode")),
            _ if length >> 63 == 1 => Err(BAD_LENGTH),
            _ if control && len > MAX_CONTROL_BYTES => Err(LONG_CONTROL),
            _ if len > MAX_MESSAGE_BYTES => Err(TOO_BIG),
            _ if !masked => Err(protocol("frame is not masked")),
            _ if first & 0x70 != 0 => Err(protocol("reserved bits set without an extension")),
            _ if control && !fin => Err(protocol("fragmented control frame")),
            _ if control => Ok(len),
            _ => match (opcode, &self.message) {
                (0, None) => Err(protocol("continuation frame without a message")),
                (1 | 2, Some(_)) => Err(protocol("new message before the end of the last one")),
                (_, Some(message)) if message.len + len > MAX_MESSAGE_BYTES => Err(TOO_BIG),
                _ => Ok(len),
            },
        }
    }

    fn read_payload(&mut self, frame: &mut Frame, payload: &[u8]) -> Result<(), Violation> {
        let mut unmasked = [0; CHUNK_BYTES];
        for chunk in payload.chunks(CHUNK_BYTES) {
            for (offset, (unmasked, masked)) in unmasked.iter_mut().zip(chunk).enumerate() {
                *unmasked = masked ^ frame.mask[(frame.at + offset) % 4];
            }
            frame.at += chunk.len();
            let unmasked = &unmasked[..chunk.len()];
            match &mut self.message {
                _ if frame.opcode >= 8 => self.control.extend_from_slice(unmasked),
                Some(message) if message.text => message.check_text(unmasked)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn end_frame(&mut self, frame: Frame, emit: &mut dyn FnMut(Incoming)) -> Result<(), Violation> {
        match frame.opcode {
            8 => emit(Incoming::Close(close_code(&std::mem::take(&mut self.control))?)),
            9 => emit(Incoming::Ping(std::mem::take(&mut self.control))),
            10 => {
                self.control = Vec::new();
                emit(Incoming::Pong);
            }
            _ if frame.fin && self.message.take().is_some_and(|message| message.partial_len > 0) => {
                return Err(NOT_UTF8);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Message {
    /// Checks that the next bytes of a text, at most [`CHUNK_BYTES`], are UTF-8.
    fn check_text(&mut self, chunk: &[u8]) -> Result<(), Violation> {
        let mut text = [0; MAX_PARTIAL_BYTES + CHUNK_BYTES];
        let (begin, len) = (self.partial_len, self.partial_len + chunk.len());
        text[..begin].copy_from_slice(&self.partial[..begin]);
        text[begin..len].copy_from_slice(chunk);
        let partial = match std::str::from_utf8(&text[..len]) {
            Ok(_) => &[],
            Err(error) if error.error_len().is_none() => &text[error.valid_up_to()..len],
            Err(_) => return Err(NOT_UTF8),
        };
        self.partial_len = partial.len();
        self.partial[..partial.len()].copy_from_slice(partial);
        Ok(())
    }
}

/// Returns the code of a close frame (§5.5.1). Rejects codes that must not be sent (§7.4). Accepts 1012 to 1014, which
/// IANA has registered.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(protocol("close code of one byte")) };
    };
    match u16::from_be_bytes(*code) {
        _ if std::str::from_utf8(reason).is_err() => Err(NOT_UTF8),
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some(code)),
        _ => Err(BAD_CLOSE_CODE),
    }
}

/// Writes an unmasked text frame (§5.2) with the payload that `write_payload` writes. The header is FIN and opcode 1,
/// then the length in one, three or nine bytes.
pub(crate) fn write_text(to: &mut Vec<u8>, write_payload: impl FnOnce(&mut Vec<u8>)) {
    let length_at = to.len() + 1;
    to.extend_from_slice(&[0x81, 0]);
    let payload_at = to.len();
    write_payload(to);
    let length = to.len() - payload_at;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => to[length_at] = short,
        (_, Ok(medium)) => {
            to[length_at] = 126;
            to.splice(payload_at..payload_at, medium.to_be_bytes());
        }
        _ => {
            to[length_at] = 127;
            to.splice(payload_at..payload_at, (length as u64).to_be_bytes());
        }
    }
}

/// Returns an unmasked, unfragmented control frame.
fn control_frame(opcode: u8, payload: &[&[u8]]) -> Bytes {
    let len: usize = payload.iter().map(|part| part.len()).sum();
    let len = u8::try_from(len.min(MAX_CONTROL_BYTES)).unwrap_or(0);
    let head = [0x80 | opcode, len];
    let bytes = head.iter().chain(payload.iter().copied().flatten());
    bytes.take(2 + usize::from(len)).copied().collect()
}

/// Returns a close frame with a code and a reason. A reason that is too long is truncated.
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    let ends = reason.char_indices().map(|(at, character)| at + character.len_utf8());
    let room = ends.take_while(|end| *end <= MAX_CONTROL_BYTES - 2).last().unwrap_or(0);
    control_frame(8, &[&code.to_be_bytes(), &reason.as_bytes()[..room]])
}

/// Returns the reply to a client's close frame, with the same code or without one.
pub(crate) fn close_reply(code: Option<u16>) -> Bytes {
    code.map_or_else(|| control_frame(8, &[]), |code| close(code, ""))
}

/// Returns a ping without a payload.
pub(crate) fn ping() -> Bytes {
    control_frame(9, &[])
}

/// Returns the answer to a ping with this payload.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    control_frame(10, &[payload])
}

/// Returns the end of the frame that the first `sent` bytes contain only in part, or `sent` if they are whole frames.
/// `frames` must be whole, unmasked frames.
pub(crate) fn message_end(frames: &[u8], sent: usize) -> usize {
    let mut end = 0;
    while end < sent {
        end += lengths(frames.get(end..).unwrap_or_default()).1;
    }
    end
}

/// Returns the payloads of whole, unmasked frames.
pub(crate) fn payloads(mut frames: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let (header, whole) = (!frames.is_empty()).then(|| lengths(&frames))?;
        Some(frames.split_to(whole).split_off(header))
    })
}

/// Returns the length of the header and the length of the whole frame, for the first frame in `frames`, which is not
/// masked.
fn lengths(frames: &[u8]) -> (usize, usize) {
    let number = |at: usize, bytes: usize| {
        let digits = frames.get(at..at + bytes).unwrap_or_default();
        digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit))
    };
    let (header, payload) = match number(1, 1) {
        126 => (4, number(2, 2)),
        127 => (10, number(2, 8)),
        short => (2, short),
    };
    (header, header + payload)
}
