//! What a client sends over a WebSocket (RFC 6455 §5), read as it comes in, however it is cut up.
//!
//! Clients have nothing to tell this server, so messages are checked and dropped: nothing is kept of them. Only control
//! frames have a meaning. `oracle.rs` holds all of it against tungstenite, in tests and in a fuzz target.
//!
//! It also makes the frames that a server sends, and finds their ends.

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;

use bytes::Bytes;

/// The longest frame, and the longest message, that is read.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4096;
/// The longest payload of a control frame (§5.5).
const MAX_CONTROL_BYTES: usize = 125;
/// Bytes that are unmasked at a time.
const PIECE: usize = 256;
/// The most bytes of a character that can be here without its end.
const PARTIAL: usize = 3;

/// Something that a client said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// It wants this payload back.
    Ping(Vec<u8>),
    /// It answers a ping.
    Pong,
    /// It closes, with this code if it gave one.
    Close(Option<u16>),
}

/// Something that a client must not do, and the close code that says so (§7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub code: u16,
    pub reason: &'static str,
}

const fn protocol(reason: &'static str) -> Violation {
    Violation { code: 1002, reason }
}
pub(crate) const NOT_UTF8: Violation = Violation { code: 1007, reason: "text that is not UTF-8" };
pub(crate) const TOO_BIG: Violation = Violation { code: 1009, reason: "a message is longer than 4096 bytes" };
const BAD_LENGTH: Violation = protocol("a length with its highest bit set");
const LONG_CONTROL: Violation = protocol("a control frame longer than 125 bytes");
const BAD_CLOSE_CODE: Violation = protocol("a close code that must not be sent");

/// Reads frames out of pieces of a byte stream. Between two messages, where nearly all connections are nearly always, it
/// owns nothing.
#[derive(Debug, Default)]
pub(crate) struct Decoder(Option<Box<Begun>>);

/// What has begun to come in.
#[derive(Debug, Default)]
struct Begun {
    /// The header as far as it has come: at most 2 + 8 + 4 bytes.
    header: [u8; 14],
    header_len: usize,
    /// The frame whose payload is coming in.
    frame: Option<Frame>,
    /// The message that fragments are coming in for.
    message: Option<Message>,
    /// The payload of the control frame that is coming in.
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    /// How much of the payload has come.
    at: usize,
    len: usize,
}

#[derive(Debug, Default)]
struct Message {
    len: usize,
    text: bool,
    /// The beginning of a character whose end has not come yet.
    partial: [u8; PARTIAL],
    partial_len: usize,
}

impl Decoder {
    /// Reads `input` and hands what it says to `say`.
    ///
    /// # Errors
    /// At the first violation; nothing more is to be read then.
    pub(crate) fn read(&mut self, input: &[u8], say: &mut dyn FnMut(Incoming)) -> Result<(), Violation> {
        let mut begun = self.0.take().map_or_else(Begun::default, |begun| *begun);
        begun.read(input, say)?;
        if begun.header_len > 0 || begun.frame.is_some() || begun.message.is_some() {
            self.0 = Some(Box::new(begun));
        }
        Ok(())
    }
}

impl Begun {
    fn read(&mut self, mut input: &[u8], say: &mut dyn FnMut(Incoming)) -> Result<(), Violation> {
        loop {
            if let Some(mut frame) = self.frame {
                let (payload, rest) = input.split_at(input.len().min(frame.len - frame.at));
                self.payload(&mut frame, payload)?;
                input = rest;
                if frame.at < frame.len {
                    self.frame = Some(frame);
                    return Ok(());
                }
                self.frame = None;
                self.end(frame, say)?;
            }
            let Some((first, rest)) = input.split_first() else { return Ok(()) };
            input = rest;
            self.header[self.header_len] = *first;
            self.header_len += 1;
            self.frame = self.frame_of_header()?;
        }
    }

    /// The frame that the header announces, once all of it is here.
    fn frame_of_header(&mut self) -> Result<Option<Frame>, Violation> {
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
        // A length in more bytes than it needs is read like any other: the rule of §5.2 is for who writes one.
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

    /// The length of a frame that may come. Where a header breaks several rules, the order is tungstenite's.
    fn check(&self, first: u8, masked: bool, length: u64) -> Result<usize, Violation> {
        let (fin, opcode, control) = (first & 0x80 != 0, first & 0x0f, first & 0x08 != 0);
        let len = usize::try_from(length).unwrap_or(usize::MAX);
        match opcode {
            3..=7 | 11.. => Err(protocol("an unknown opcode")),
            _ if length >> 63 == 1 => Err(BAD_LENGTH),
            _ if control && len > MAX_CONTROL_BYTES => Err(LONG_CONTROL),
            _ if len > MAX_MESSAGE_BYTES => Err(TOO_BIG),
            _ if !masked => Err(protocol("a frame that is not masked")),
            _ if first & 0x70 != 0 => Err(protocol("reserved bits without an extension")),
            _ if control && !fin => Err(protocol("a control frame in fragments")),
            _ if control => Ok(len),
            _ => match (opcode, &self.message) {
                (0, None) => Err(protocol("a continuation of nothing")),
                (1 | 2, Some(_)) => Err(protocol("a new message inside another")),
                (_, Some(message)) if message.len + len > MAX_MESSAGE_BYTES => Err(TOO_BIG),
                _ => Ok(len),
            },
        }
    }

    fn payload(&mut self, frame: &mut Frame, payload: &[u8]) -> Result<(), Violation> {
        let mut clear = [0; PIECE];
        for piece in payload.chunks(PIECE) {
            for (offset, (clear, masked)) in clear.iter_mut().zip(piece).enumerate() {
                *clear = masked ^ frame.mask[(frame.at + offset) % 4];
            }
            frame.at += piece.len();
            let clear = &clear[..piece.len()];
            match &mut self.message {
                _ if frame.opcode >= 8 => self.control.extend_from_slice(clear),
                Some(message) if message.text => message.check_text(clear)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, frame: Frame, say: &mut dyn FnMut(Incoming)) -> Result<(), Violation> {
        match frame.opcode {
            8 => say(Incoming::Close(close_code(&std::mem::take(&mut self.control))?)),
            9 => say(Incoming::Ping(std::mem::take(&mut self.control))),
            10 => {
                self.control = Vec::new();
                say(Incoming::Pong);
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
    /// Checks what comes next of a text: at most [`PIECE`] bytes.
    fn check_text(&mut self, piece: &[u8]) -> Result<(), Violation> {
        let mut text = [0; PARTIAL + PIECE];
        let (begun, len) = (self.partial_len, self.partial_len + piece.len());
        text[..begun].copy_from_slice(&self.partial[..begun]);
        text[begun..len].copy_from_slice(piece);
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

/// The code of a close frame (§5.5.1), if it is one that may be sent (§7.4, and IANA's registry for 1012 to 1014).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(protocol("a close code of one byte")) };
    };
    match u16::from_be_bytes(*code) {
        _ if std::str::from_utf8(reason).is_err() => Err(NOT_UTF8),
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some(code)),
        _ => Err(BAD_CLOSE_CODE),
    }
}

/// Writes the header of an unmasked text frame (§5.2): FIN and opcode 1, then the length in one, three or nine bytes.
pub(crate) fn write_text_header(length: usize, to: &mut Vec<u8>) {
    to.push(0x81);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => to.push(short),
        (_, Ok(medium)) => {
            to.push(126);
            to.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            to.push(127);
            to.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A frame that a server sends to control the connection: unmasked and whole.
fn control_frame(opcode: u8, payload: &[&[u8]]) -> Bytes {
    let len: usize = payload.iter().map(|part| part.len()).sum();
    let len = u8::try_from(len.min(MAX_CONTROL_BYTES)).unwrap_or(0);
    let head = [0x80 | opcode, len];
    let bytes = head.iter().chain(payload.iter().copied().flatten());
    bytes.take(2 + usize::from(len)).copied().collect()
}

/// A close frame with a code and a reason, or as many of its characters as there is room for.
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    let ends = reason.char_indices().map(|(at, character)| at + character.len_utf8());
    let room = ends.take_while(|end| *end <= MAX_CONTROL_BYTES - 2).last().unwrap_or(0);
    control_frame(8, &[&code.to_be_bytes(), &reason.as_bytes()[..room]])
}

/// The answer to a client's close frame: the same code, or none where it gave none.
pub(crate) fn close_reply(code: Option<u16>) -> Bytes {
    code.map_or_else(|| control_frame(8, &[]), |code| close(code, ""))
}

/// A ping without a payload.
pub(crate) fn ping() -> Bytes {
    control_frame(9, &[])
}

/// The answer to a ping.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    control_frame(10, &[payload])
}

/// Returns the end offset of the frame that contains byte `sent` of `frames`, which are whole, unmasked frames.
pub(crate) fn message_end(frames: &[u8], sent: usize) -> usize {
    let mut end = 0;
    while end < sent {
        end += lengths(frames.get(end..).unwrap_or_default()).1;
    }
    end
}

/// What was framed: the payloads of whole frames, as servers send them.
pub(crate) fn payloads(mut frames: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let (header, whole) = (!frames.is_empty()).then(|| lengths(&frames))?;
        Some(frames.split_to(whole).split_off(header))
    })
}

/// How long the header is of the frame that `frames` begin with, and how long all of it, as servers send it: not masked.
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
