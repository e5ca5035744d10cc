//! What a client sends over a WebSocket (RFC 6455 §5), read as it comes in, however it is cut up.
//!
//! Clients have nothing to tell this server, so messages are checked and dropped: nothing is kept of them. Only control
//! frames have a meaning.

use bytes::Bytes;

/// The longest frame, and the longest message, that is read.
pub(in crate::server) const MAX_MESSAGE_BYTES: usize = 4096;
/// The longest payload of a control frame (§5.5).
const MAX_CONTROL_BYTES: usize = 125;
/// Bytes that are unmasked at a time.
const PIECE: usize = 256;

/// Something that a client said.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) enum Incoming {
    /// It wants this payload back.
    Ping(Vec<u8>),
    /// It answers a ping.
    Pong,
    /// It closes, with this code if it gave one.
    Close(Option<u16>),
}

/// Something that a client must not do, and the close code that says so (§7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Violation {
    pub(in crate::server) code: u16,
    pub(in crate::server) reason: &'static str,
}

const fn protocol(reason: &'static str) -> Violation {
    Violation { code: 1002, reason }
}
const NOT_UTF8: Violation = Violation { code: 1007, reason: "text that is not UTF-8" };
const TOO_BIG: Violation = Violation { code: 1009, reason: "a message is longer than 4096 bytes" };

/// Reads frames out of pieces of a byte stream.
#[derive(Debug, Default)]
pub(in crate::server) struct Decoder {
    /// The header as far as it has come: at most 2 + 8 + 4 bytes.
    header: [u8; 14],
    header_len: u8,
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
    partial: Vec<u8>,
}

impl Decoder {
    /// Reads `input` and hands what it says to `say`.
    ///
    /// # Errors
    /// At the first violation; nothing more is to be read then.
    pub(in crate::server) fn read(&mut self, mut input: &[u8], say: &mut dyn FnMut(Incoming)) -> Result<(), Violation> {
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
            self.header[usize::from(self.header_len)] = *first;
            self.header_len += 1;
            self.frame = self.frame_of_header()?;
        }
    }

    /// The frame that the header announces, once all of it is here.
    fn frame_of_header(&mut self) -> Result<Option<Frame>, Violation> {
        let (have, header) = (usize::from(self.header_len), self.header);
        if have < 2 {
            return Ok(None);
        }
        let (fin, opcode, short) = (header[0] & 0x80 != 0, header[0] & 0x0f, header[1] & 0x7f);
        if have == 2 {
            self.check(fin, opcode, header)?;
        }
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if have < 2 + length_bytes + 4 {
            return Ok(None);
        }
        let mut length = [0; 8];
        length[8 - length_bytes..].copy_from_slice(&header[2..2 + length_bytes]);
        let length = if length_bytes == 0 { u64::from(short) } else { u64::from_be_bytes(length) };
        if length >> 63 == 1 {
            return Err(protocol("a length with its highest bit set"));
        }
        let so_far = self.message.as_ref().map_or(0, |message| message.len);
        let len = usize::try_from(length).ok().filter(|len| so_far + len <= MAX_MESSAGE_BYTES || opcode >= 8);
        let len = len.ok_or(TOO_BIG)?;
        let mut mask = [0; 4];
        mask.copy_from_slice(&header[2 + length_bytes..have]);
        self.header_len = 0;
        if opcode < 8 {
            let message = self.message.get_or_insert_default();
            message.len += len;
            message.text |= opcode == 1;
        }
        Ok(Some(Frame { fin, opcode, mask, at: 0, len }))
    }

    /// The rules that the first two bytes can break.
    fn check(&self, fin: bool, opcode: u8, header: [u8; 14]) -> Result<(), Violation> {
        let control = opcode >= 8;
        match opcode {
            _ if header[0] & 0x70 != 0 => Err(protocol("reserved bits without an extension")),
            3..=7 | 11.. => Err(protocol("an unknown opcode")),
            _ if header[1] & 0x80 == 0 => Err(protocol("a frame that is not masked")),
            _ if control && !fin => Err(protocol("a control frame in fragments")),
            _ if control && usize::from(header[1] & 0x7f) > MAX_CONTROL_BYTES => {
                Err(protocol("a control frame longer than 125 bytes"))
            }
            0 if self.message.is_none() => Err(protocol("a continuation of nothing")),
            1 | 2 if self.message.is_some() => Err(protocol("a new message inside another")),
            _ => Ok(()),
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
            _ if frame.fin && self.message.take().is_some_and(|message| !message.partial.is_empty()) => {
                return Err(NOT_UTF8);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Message {
    fn check_text(&mut self, piece: &[u8]) -> Result<(), Violation> {
        let mut text = std::mem::take(&mut self.partial);
        text.extend_from_slice(piece);
        match std::str::from_utf8(&text) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                self.partial = text.split_off(error.valid_up_to());
                Ok(())
            }
            Err(_) => Err(NOT_UTF8),
        }
    }
}

/// The code of a close frame (§5.5.1), if it is one that may be sent (§7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(protocol("a close code of one byte")) };
    };
    match u16::from_be_bytes(*code) {
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => {
            std::str::from_utf8(reason).map(|_| Some(code)).map_err(|_| NOT_UTF8)
        }
        _ => Err(protocol("a close code that must not be sent")),
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

/// A close frame with a code and a reason.
pub(in crate::server) fn close(code: u16, reason: &str) -> Bytes {
    control_frame(8, &[&code.to_be_bytes(), reason.as_bytes()])
}

/// The answer to a client's close frame: the same code, or none where it gave none.
pub(in crate::server) fn close_reply(code: Option<u16>) -> Bytes {
    code.map_or_else(|| control_frame(8, &[]), |code| close(code, ""))
}

/// A ping without a payload.
pub(in crate::server) fn ping() -> Bytes {
    control_frame(9, &[])
}

/// The answer to a ping.
pub(in crate::server) fn pong(payload: &[u8]) -> Bytes {
    control_frame(10, &[payload])
}

/// Where the frame ends of which `sent` bytes of `frames` are a part. They are whole frames, as servers send them: not masked.
pub(in crate::server) fn end_of(frames: &[u8], sent: usize) -> usize {
    let mut end = 0;
    while end < sent {
        let length = |at: usize, bytes: usize| {
            let digits = frames.get(end + at..end + at + bytes).unwrap_or_default();
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        };
        end += match length(1, 1) {
            126 => 4 + length(2, 2),
            127 => 10 + length(2, 8),
            short => 2 + short,
        };
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame as Reference, FrameHeader};

    /// A client's frame, made by another implementation.
    fn frame(fin: bool, opcode: OpCode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let header = FrameHeader { is_final: fin, opcode, mask: Some(mask), ..FrameHeader::default() };
        let frame = Reference::from_payload(header, payload.to_vec().into());
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Incoming>, Violation> {
        let mut said = Vec::new();
        Decoder::default().read(bytes, &mut |incoming| said.push(incoming)).map(|()| said)
    }

    const TEXT: OpCode = OpCode::Data(Data::Text);
    const MORE: OpCode = OpCode::Data(Data::Continue);
    const PING: OpCode = OpCode::Control(Control::Ping);
    const CLOSE: OpCode = OpCode::Control(Control::Close);
    const MASK: [u8; 4] = [1, 2, 3, 4];

    #[test]
    fn control_frames_are_heard_also_between_the_fragments_of_a_message() {
        let bytes = [
            frame(false, TEXT, b"hello ", MASK),
            frame(true, PING, b"are you there", MASK),
            frame(true, MORE, b"world", MASK),
            frame(true, OpCode::Control(Control::Pong), b"", MASK),
            frame(true, CLOSE, &[0x03, 0xe8, b'b', b'y', b'e'], MASK),
        ];
        let said = [Incoming::Ping(b"are you there".to_vec()), Incoming::Pong, Incoming::Close(Some(1000))];
        assert_eq!(read(&bytes.concat()).unwrap(), said);
    }

    #[test]
    fn every_violation_has_its_close_code() {
        let masked = |first: u8, second: u8| vec![first, second | 0x80, 0, 0, 0, 0];
        let cases: [(&str, Vec<u8>, u16); 16] = [
            ("reserved bits", masked(0xc1, 0), 1002),
            ("an unknown opcode", masked(0x83, 0), 1002),
            ("an unknown control opcode", masked(0x8b, 0), 1002),
            ("not masked", vec![0x81, 0], 1002),
            ("a fragmented ping", masked(0x09, 0), 1002),
            ("a long ping", masked(0x89, 126), 1002),
            ("a continuation of nothing", masked(0x80, 0), 1002),
            ("a message inside another", [masked(0x01, 0), masked(0x81, 0)].concat(), 1002),
            ("a length of 2^63", [vec![0x82, 0xff, 0x80], vec![0; 7], vec![0; 4]].concat(), 1002),
            ("a close code of one byte", frame(true, CLOSE, &[3], MASK), 1002),
            ("a close code that is only for the log", frame(true, CLOSE, &[0x03, 0xee], MASK), 1002),
            ("a close code of no range", frame(true, CLOSE, &[0x13, 0x88], MASK), 1002),
            ("a close reason that is not UTF-8", frame(true, CLOSE, &[0x03, 0xe8, 0xff], MASK), 1007),
            ("text that is not UTF-8", frame(true, TEXT, &[0xff], MASK), 1007),
            ("a giant frame", frame(true, TEXT, &[b'a'; 4097], MASK), 1009),
            (
                "a giant message",
                [frame(false, TEXT, &[b'a'; 4000], MASK), frame(true, MORE, &[b'a'; 97], MASK)].concat(),
                1009,
            ),
        ];
        for (what, bytes, code) in cases {
            assert_eq!(read(&bytes).map_err(|violation| violation.code), Err(code), "{what}");
        }
        assert_eq!(read(&frame(true, TEXT, &[b'a'; 4096], MASK)), Ok(vec![]));
    }

    #[test]
    fn a_giant_frame_is_refused_by_its_header_before_its_payload_comes() {
        let header = [0x82, 0xff, 0, 0, 0, 0x10, 0, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(read(&header), Err(TOO_BIG));
    }

    #[test]
    fn what_the_server_sends_reads_as_it_should() {
        assert_eq!(close(1001, "bye")[..], [0x88, 5, 0x03, 0xe9, b'b', b'y', b'e']);
        assert_eq!(close_reply(None)[..], [0x88, 0]);
        assert_eq!(pong(&[7; 125]).len(), 127);
        assert_eq!(close(1001, &"x".repeat(500)).len(), 127);
    }

    proptest! {
        /// However a stream of valid frames is cut up, the same is heard.
        #[test]
        fn a_stream_reads_the_same_however_it_is_cut(
            texts in prop::collection::vec(("\\PC{0,40}", any::<[u8; 4]>(), 0_usize..4), 1..6),
            cuts in prop::collection::vec(1_usize..9, 1..40),
        ) {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for (text, mask, split) in &texts {
                // In two fragments, cut inside a character where it falls so, with a ping between them.
                let (first, second) = text.as_bytes().split_at((*split).min(text.len()));
                bytes.extend(frame(false, TEXT, first, *mask));
                let payload = &text.as_bytes()[..text.len().min(125)];
                bytes.extend(frame(true, PING, payload, *mask));
                expected.push(Incoming::Ping(payload.to_vec()));
                bytes.extend(frame(true, MORE, second, *mask));
            }
            let (mut decoder, mut said, mut rest) = (Decoder::default(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                decoder.read(piece, &mut |incoming| said.push(incoming)).unwrap();
                rest = more;
                if rest.is_empty() { break }
            }
            prop_assert_eq!(said, expected);
        }

        /// Garbage is read without a panic, and the same in one piece as byte by byte.
        #[test]
        fn garbage_is_refused_the_same_way_however_it_is_cut(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut whole = Vec::new();
            let in_one = Decoder::default().read(&bytes, &mut |incoming| whole.push(incoming));
            let (mut decoder, mut pieces) = (Decoder::default(), Vec::new());
            let in_bytes = bytes.iter().try_for_each(|byte| decoder.read(&[*byte], &mut |incoming| pieces.push(incoming)));
            prop_assert_eq!(in_one, in_bytes);
            prop_assert_eq!(whole, pieces);
        }
    }
}
