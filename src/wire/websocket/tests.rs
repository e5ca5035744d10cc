//! Tests of the framing: each rule by itself, and comparisons with tungstenite on all headers, all close codes and
//! random streams.

use super::oracle::{StreamEnd, compare, read};
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use tokio_tungstenite::tungstenite::Message;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Frame of a client, valid or not.
#[derive(Clone, Debug)]
struct TestFrame {
    fin: bool,
    reserved: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// The length in the header.
    len: u64,
    /// The minimum number of bytes for the length: 1, 3 or 9.
    length_bytes: usize,
    payload: Vec<u8>,
}

impl TestFrame {
    fn new(fin: bool, opcode: u8, payload: &[u8]) -> TestFrame {
        let mask = Some([1, 2, 3, 4]);
        let len = payload.len() as u64;
        TestFrame { fin, reserved: 0, opcode, mask, len, length_bytes: 1, payload: payload.to_vec() }
    }

    fn bytes(&self) -> Vec<u8> {
        let (len, masked) = (self.len, u8::from(self.mask.is_some()) << 7);
        let mut bytes = vec![u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode];
        match (u16::try_from(len), self.length_bytes) {
            (Ok(len @ ..126), 1) => bytes.push(masked | len.to_be_bytes()[1]),
            (Ok(len), 1 | 3) => bytes.extend([[masked + 126].as_slice(), &len.to_be_bytes()].concat()),
            _ => bytes.extend([[masked + 127].as_slice(), &len.to_be_bytes()].concat()),
        }
        bytes.extend(self.mask.iter().flatten());
        let mask = self.mask.unwrap_or_default();
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }
}

fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    TestFrame::new(fin, opcode, payload).bytes()
}

#[test]
fn control_frames_between_fragments_are_decoded() {
    let bytes = [
        frame(false, TEXT, b"hello "),
        frame(true, PING, b"are you there"),
        frame(true, CONTINUATION, b"world"),
        frame(true, PONG, b""),
        frame(true, CLOSE, &[0x03, 0xe8, b'b', b'y', b'e']),
    ];
    let incoming = vec![Incoming::Ping(b"are you there".to_vec()), Incoming::Pong];
    assert_eq!(read(&bytes.concat(), &[]), (incoming, StreamEnd::Closed(Some(1000))));
}

#[test]
fn every_violation_has_its_close_code() {
    let masked = |first: u8, second: u8| vec![first, second | 0x80, 0, 0, 0, 0];
    let cases: [(&str, Vec<u8>, u16); 17] = [
        ("reserved bits", masked(0xc1, 0), 1002),
        ("an unknown opcode", masked(0x83, 0), 1002),
        ("an unknown control opcode", masked(0x8b, 0), 1002),
        ("not masked", vec![0x81, 0], 1002),
        ("a fragmented ping", masked(0x09, 0), 1002),
        ("a long ping", frame(true, PING, &[0; 126]), 1002),
        ("a giant ping", frame(true, PING, &[0; 4097]), 1002),
        ("a continuation without a message", masked(0x80, 0), 1002),
        ("a message before the end of the last one", [masked(0x01, 0), masked(0x81, 0)].concat(), 1002),
        ("a length of 2^63", [vec![0x82, 0xff, 0x80], vec![0; 7], vec![0; 4]].concat(), 1002),
        ("a close code of one byte", frame(true, CLOSE, &[3]), 1002),
        ("a reserved close code", frame(true, CLOSE, &[0x03, 0xee]), 1002),
        ("a close code outside all ranges", frame(true, CLOSE, &[0x13, 0x88]), 1002),
        ("a close reason that is not UTF-8", frame(true, CLOSE, &[0x03, 0xe8, 0xff]), 1007),
        ("text that is not UTF-8", frame(true, TEXT, &[0xff]), 1007),
        ("a giant frame", frame(true, TEXT, &[b'a'; 4097]), 1009),
        ("a giant message", [frame(false, TEXT, &[b'a'; 4000]), frame(true, CONTINUATION, &[b'a'; 97])].concat(), 1009),
    ];
    for (what, bytes, code) in cases {
        let (_, end) = read(&bytes, &[]);
        assert!(matches!(end, StreamEnd::Rejected(violation) if violation.code == code), "{what}: {end:?}");
        compare(&bytes, &[1]);
    }
    assert_eq!(read(&frame(true, TEXT, &[b'a'; 4096]), &[]), (vec![], StreamEnd::Open));
}

#[test]
fn giant_frame_is_rejected_by_its_header() {
    let header = [0x82, 0xff, 0, 0, 0, 0x10, 0, 0, 0, 0, 1, 2, 3, 4];
    assert_eq!(read(&header, &[]), (vec![], StreamEnd::Rejected(TOO_BIG)));
}

#[test]
fn decoder_owns_no_memory_between_messages() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    let mut decoder = Decoder::default();
    let messages = [
        frame(true, TEXT, b"hello"),
        frame(true, PONG, b"payload"),
        frame(false, BINARY, b"the "),
        frame(true, CONTINUATION, b"end"),
    ];
    for (message, is_empty_after) in messages.iter().zip([true, true, false, true]) {
        let (first, rest) = message.split_at(message.len() / 2);
        decoder.read(first, &mut |_| ()).unwrap();
        assert!(decoder.0.is_some());
        decoder.read(rest, &mut |_| ()).unwrap();
        assert_eq!(decoder.0.is_none(), is_empty_after, "{message:?}");
    }
}

#[test]
fn tungstenite_reads_our_control_frames() {
    let long = "é".repeat(100);
    let sent = [ping(), pong(b""), pong(&[7; 125]), close(1001, "bye")].concat();
    let [ping, empty, full, bye] = &oracle::client(&sent)[..] else { panic!("four frames") };
    assert_eq!(*ping, Message::Ping(Bytes::new()));
    assert_eq!((empty, full), (&Message::Pong(Bytes::new()), &Message::Pong(vec![7; 125].into())));
    let code_and_reason = |message: &Message| match message {
        Message::Close(close) => close.as_ref().map(|close| (u16::from(close.code), close.reason.to_string())),
        other => panic!("not a close frame: {other:?}"),
    };
    assert_eq!(code_and_reason(bye), Some((1001, "bye".to_owned())));
    for (sent, expected) in [
        (close_reply(None), None),
        (close_reply(Some(4001)), Some((4001, String::new()))),
        (close(1013, &long), Some((1013, long[..122].to_owned()))),
    ] {
        assert_eq!(code_and_reason(&oracle::client(&sent)[0]), expected);
    }
}

#[test]
fn payloads_are_read_from_server_frames() {
    let texts = [String::new(), "{}".to_owned(), "x".repeat(125), "é".repeat(300), "x".repeat(70_000)];
    let unmasked = |text: &String| TestFrame { mask: None, ..TestFrame::new(true, TEXT, text.as_bytes()) }.bytes();
    let frames: Vec<u8> = texts.iter().flat_map(unmasked).collect();
    assert_eq!(oracle::client(&frames), texts.clone().map(Message::from));
    assert_eq!(payloads(frames.into()).collect::<Vec<_>>(), texts.map(Bytes::from));
    assert_eq!(payloads(Bytes::new()).next(), None);
}

#[test]
fn tungstenite_agrees_on_every_frame_header() {
    let rest = [0, 0, 0, 0, 0, 0, 0, 9, b'm', b'a', b's', b'k', 0, 0xff];
    for before in [vec![], frame(false, TEXT, "é".as_bytes()), frame(false, BINARY, &[0; 4090])] {
        for first in 0..=u8::MAX {
            // All forms of a length, with a mask and without.
            for second in [0, 1, 2, 125, 126, 127].into_iter().flat_map(|short| [short, 0x80 | short]) {
                compare(&[&before[..], &[first, second], &rest].concat(), &[]);
            }
        }
    }
}

#[test]
fn tungstenite_agrees_on_every_close_code() {
    for code in 0..=u16::MAX {
        compare(&frame(true, CLOSE, &code.to_be_bytes()), &[]);
    }
}

/// Lengths around the values at which the encoding changes or a limit is reached.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0_usize..12,
        3 => 120_usize..132,
        1 => 250_usize..1500,
        2 => 4088_usize..4100,
        1 => 65_530_usize..65_540,
    ]
}

/// `len` bytes of text, which may end inside a character.
fn text(len: usize) -> impl Strategy<Value = Vec<u8>> {
    "\\PC{1,8}".prop_map(move |text| text.bytes().cycle().take(len).collect())
}

/// The frame with any mask. Its length sometimes takes more bytes than necessary, and the decoder accepts that.
fn encoded(frame: TestFrame) -> impl Strategy<Value = TestFrame> {
    let length_bytes = prop_oneof![6 => Just(1_usize), 1 => Just(3), 1 => Just(9)];
    (any::<[u8; 4]>(), length_bytes).prop_map(move |(mask, length_bytes)| TestFrame {
        mask: Some(mask),
        length_bytes,
        ..frame.clone()
    })
}

fn ping_or_pong() -> impl Strategy<Value = TestFrame> {
    (select(vec![PING, PONG]), vec(any::<u8>(), 0..=125))
        .prop_flat_map(|(opcode, payload)| encoded(TestFrame::new(true, opcode, &payload)))
}

fn closing() -> impl Strategy<Value = TestFrame> {
    let code = prop_oneof![select(vec![1000, 1001, 1005, 1014, 1015, 2999, 3000, 4999, 5000]), any::<u16>()];
    let reason = prop_oneof![3 => (0_usize..=123).prop_flat_map(text), 1 => vec(any::<u8>(), 0..9)];
    let keep = prop_oneof![4 => Just(125_usize), 1 => 0_usize..3];
    let payload = (code, reason, keep)
        .prop_map(|(code, reason, keep)| [&code.to_be_bytes()[..], &reason].concat().into_iter().take(keep).collect());
    payload.prop_flat_map(|payload: Vec<u8>| encoded(TestFrame::new(true, CLOSE, &payload)))
}

/// Message in fragments, with pings and pongs between them.
fn message() -> impl Strategy<Value = Vec<TestFrame>> {
    let body = (select(vec![TEXT, BINARY]), length().prop_flat_map(text));
    (body, vec((any::<Index>(), ping_or_pong()), 0..4)).prop_flat_map(|((opcode, body), mut cuts)| {
        cuts.sort_by_key(|(cut, _)| cut.index(body.len() + 1));
        let (mut frames, mut from, mut kind) = (Vec::new(), 0, opcode);
        for (cut, between) in cuts {
            let to = cut.index(body.len() + 1);
            frames.extend([encoded(TestFrame::new(false, kind, &body[from..to])).boxed(), Just(between).boxed()]);
            (from, kind) = (to, CONTINUATION);
        }
        frames.push(encoded(TestFrame::new(true, kind, &body[from..])).boxed());
        frames
    })
}

/// Frame that is most likely invalid.
fn flawed() -> impl Strategy<Value = TestFrame> {
    let reserved = prop_oneof![8 => Just(0), 1 => 1_u8..8];
    let opcode = prop_oneof![4 => select(vec![CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG]), 1 => 0_u8..16];
    let mask = proptest::option::weighted(0.9, any::<[u8; 4]>());
    let payload = length().prop_flat_map(|len| prop_oneof![text(len), vec(any::<u8>(), len)]);
    let other_len = prop_oneof![8 => Just(None), 1 => any::<u64>().prop_map(Some), 1 => Just(Some(1 << 63))];
    (any::<bool>(), reserved, opcode, mask, other_len, select(vec![1, 3, 9]), payload).prop_map(
        |(fin, reserved, opcode, mask, other_len, length_bytes, payload)| {
            let len = other_len.unwrap_or(payload.len() as u64);
            TestFrame { fin, reserved, opcode, mask, len, length_bytes, payload }
        },
    )
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(u8),
    Insert(u8),
    Remove,
    Truncate,
}

/// Stream of a client that sometimes sends invalid frames. Some streams are damaged in transit.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let frames = prop_oneof![
        6 => message(),
        2 => ping_or_pong().prop_map(|frame| vec![frame]),
        1 => closing().prop_map(|frame| vec![frame]),
        2 => flawed().prop_map(|frame| vec![frame]),
    ];
    let damage = prop_oneof![
        4 => (0_u8..8).prop_map(Damage::Flip),
        1 => any::<u8>().prop_map(Damage::Insert),
        1 => Just(Damage::Remove),
        1 => Just(Damage::Truncate),
    ];
    let damages = prop_oneof![2 => Just(vec![]), 1 => vec((any::<Index>(), damage), 1..4)];
    (vec(frames, 0..5), damages).prop_map(|(frames, damages)| {
        let mut stream: Vec<u8> = frames.iter().flatten().flat_map(TestFrame::bytes).collect();
        for (at, damage) in damages {
            match (at.index(stream.len().max(1)), damage) {
                (at, Damage::Insert(byte)) => stream.insert(at, byte),
                (at, _) if at >= stream.len() => {}
                (at, Damage::Flip(bit)) => stream[at] ^= 1 << bit,
                (at, Damage::Remove) => _ = stream.remove(at),
                (at, Damage::Truncate) => stream.truncate(at),
            }
        }
        stream
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Any stream, cut in any way, is decoded, answered and rejected as by tungstenite.
    #[test]
    fn tungstenite_agrees_on_every_stream(stream in stream(), pieces in vec(any::<u8>(), 0..8)) {
        compare(&stream, &pieces);
    }

    #[test]
    fn tungstenite_agrees_on_garbage(garbage in vec(any::<u8>(), 0..300), pieces in vec(any::<u8>(), 0..8)) {
        compare(&garbage, &pieces);
    }

    #[test]
    fn valid_stream_is_never_rejected(
        messages in vec(message(), 0..5), last in ping_or_pong(), pieces in vec(any::<u8>(), 0..8),
    ) {
        let is_valid = |message: &&Vec<TestFrame>| {
            let fragments = message.iter().filter(|frame| frame.opcode < 8);
            let data: Vec<u8> = fragments.flat_map(|frame| frame.payload.clone()).collect();
            data.len() <= MAX_MESSAGE_BYTES && (message[0].opcode == BINARY || std::str::from_utf8(&data).is_ok())
        };
        let sent: Vec<&TestFrame> = messages.iter().filter(is_valid).flatten().chain([&last]).collect();
        let incoming = sent.iter().filter_map(|frame| match frame.opcode {
            PING => Some(Incoming::Ping(frame.payload.clone())),
            PONG => Some(Incoming::Pong),
            _ => None,
        });
        let stream: Vec<u8> = sent.iter().flat_map(|frame| frame.bytes()).collect();
        prop_assert_eq!(read(&stream, &pieces), (incoming.collect(), StreamEnd::Open));
    }
}

#[test]
fn random_streams_end_in_every_way() {
    let (mut runner, mut ends) = (TestRunner::deterministic(), BTreeSet::new());
    for _ in 0..5000 {
        let stream = stream().new_tree(&mut runner).unwrap().current();
        ends.insert(match read(&stream, &[]).1 {
            StreamEnd::Open => "open",
            StreamEnd::Closed(_) => "closed",
            StreamEnd::Rejected(violation) => violation.reason,
        });
        if ends.len() == 14 {
            return;
        }
    }
    panic!("only {ends:#?}");
}
