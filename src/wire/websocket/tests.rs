//! The framing, rule by rule, and against tungstenite: on every header and every close code, and on streams made by chance.

use super::oracle::{End, compare, read};
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use tokio_tungstenite::tungstenite::Message as Heard;

const MORE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame that a client sends, allowed or not.
#[derive(Clone, Debug)]
struct Sent {
    fin: bool,
    reserved: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// The length that its header tells, and the fewest bytes that it is written in: 1, 3 or 9.
    len: u64,
    length_bytes: usize,
    payload: Vec<u8>,
}

impl Sent {
    fn new(fin: bool, opcode: u8, payload: &[u8]) -> Sent {
        let mask = Some([1, 2, 3, 4]);
        let len = payload.len() as u64;
        Sent { fin, reserved: 0, opcode, mask, len, length_bytes: 1, payload: payload.to_vec() }
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
    Sent::new(fin, opcode, payload).bytes()
}

#[test]
fn control_frames_are_heard_also_between_the_fragments_of_a_message() {
    let bytes = [
        frame(false, TEXT, b"hello "),
        frame(true, PING, b"are you there"),
        frame(true, MORE, b"world"),
        frame(true, PONG, b""),
        frame(true, CLOSE, &[0x03, 0xe8, b'b', b'y', b'e']),
    ];
    let heard = vec![Incoming::Ping(b"are you there".to_vec()), Incoming::Pong];
    assert_eq!(read(&bytes.concat(), &[]), (heard, End::Closed(Some(1000))));
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
        ("a continuation of nothing", masked(0x80, 0), 1002),
        ("a message inside another", [masked(0x01, 0), masked(0x81, 0)].concat(), 1002),
        ("a length of 2^63", [vec![0x82, 0xff, 0x80], vec![0; 7], vec![0; 4]].concat(), 1002),
        ("a close code of one byte", frame(true, CLOSE, &[3]), 1002),
        ("a close code that is only for the log", frame(true, CLOSE, &[0x03, 0xee]), 1002),
        ("a close code of no range", frame(true, CLOSE, &[0x13, 0x88]), 1002),
        ("a close reason that is not UTF-8", frame(true, CLOSE, &[0x03, 0xe8, 0xff]), 1007),
        ("text that is not UTF-8", frame(true, TEXT, &[0xff]), 1007),
        ("a giant frame", frame(true, TEXT, &[b'a'; 4097]), 1009),
        ("a giant message", [frame(false, TEXT, &[b'a'; 4000]), frame(true, MORE, &[b'a'; 97])].concat(), 1009),
    ];
    for (what, bytes, code) in cases {
        let (_, end) = read(&bytes, &[]);
        assert!(matches!(end, End::Refused(violation) if violation.code == code), "{what}: {end:?}");
        compare(&bytes, &[1]);
    }
    assert_eq!(read(&frame(true, TEXT, &[b'a'; 4096]), &[]), (vec![], End::Open));
}

#[test]
fn a_giant_frame_is_refused_by_its_header_before_its_payload_comes() {
    let header = [0x82, 0xff, 0, 0, 0, 0x10, 0, 0, 0, 0, 1, 2, 3, 4];
    assert_eq!(read(&header, &[]), (vec![], End::Refused(TOO_BIG)));
}

#[test]
fn a_decoder_is_one_pointer_and_owns_nothing_between_two_messages() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    let mut decoder = Decoder::default();
    let messages = [
        frame(true, TEXT, b"hello"),
        frame(true, PONG, b"payload"),
        frame(false, BINARY, b"the "),
        frame(true, MORE, b"end"),
    ];
    for (message, owns_nothing_after) in messages.iter().zip([true, true, false, true]) {
        let (first, rest) = message.split_at(message.len() / 2);
        decoder.read(first, &mut |_| ()).unwrap();
        assert!(decoder.0.is_some());
        decoder.read(rest, &mut |_| ()).unwrap();
        assert_eq!(decoder.0.is_none(), owns_nothing_after, "{message:?}");
    }
}

#[test]
fn what_the_server_sends_is_heard_as_it_was_meant() {
    let long = "é".repeat(100);
    let sent = [ping(), pong(b""), pong(&[7; 125]), close(1001, "bye")].concat();
    let [ping, empty, full, bye] = &oracle::client(&sent)[..] else { panic!("four frames") };
    assert_eq!(*ping, Heard::Ping(Bytes::new()));
    assert_eq!((empty, full), (&Heard::Pong(Bytes::new()), &Heard::Pong(vec![7; 125].into())));
    let code_and_reason = |heard: &Heard| match heard {
        Heard::Close(close) => close.as_ref().map(|close| (u16::from(close.code), close.reason.to_string())),
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
fn the_payloads_of_a_server_s_frames_are_what_was_framed() {
    let texts = [String::new(), "{}".to_owned(), "x".repeat(125), "é".repeat(300), "x".repeat(70_000)];
    let unmasked = |text: &String| Sent { mask: None, ..Sent::new(true, TEXT, text.as_bytes()) }.bytes();
    let frames: Vec<u8> = texts.iter().flat_map(unmasked).collect();
    assert_eq!(oracle::client(&frames), texts.clone().map(Heard::from));
    assert_eq!(payloads(frames.into()).collect::<Vec<_>>(), texts.map(Bytes::from));
    assert_eq!(payloads(Bytes::new()).next(), None);
}

#[test]
fn tungstenite_agrees_on_every_beginning_of_a_frame() {
    let rest = [0, 0, 0, 0, 0, 0, 0, 9, b'm', b'a', b's', b'k', 0, 0xff];
    for begun in [vec![], frame(false, TEXT, "é".as_bytes()), frame(false, BINARY, &[0; 4090])] {
        for first in 0..=u8::MAX {
            // All that a length can be written as, with a mask and without.
            for second in [0, 1, 2, 125, 126, 127].into_iter().flat_map(|short| [short, 0x80 | short]) {
                compare(&[&begun[..], &[first, second], &rest].concat(), &[]);
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

/// Lengths about where something changes.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0_usize..12,
        3 => 120_usize..132,
        1 => 250_usize..1500,
        2 => 4088_usize..4100,
        1 => 65_530_usize..65_540,
    ]
}

/// So many bytes of a text, which may end inside a character.
fn text(len: usize) -> impl Strategy<Value = Vec<u8>> {
    "\\PC{1,8}".prop_map(move |text| text.bytes().cycle().take(len).collect())
}

/// The same frame, masked and with its length written as it may be.
fn written(frame: Sent) -> impl Strategy<Value = Sent> {
    let length_bytes = prop_oneof![6 => Just(1_usize), 1 => Just(3), 1 => Just(9)];
    (any::<[u8; 4]>(), length_bytes).prop_map(move |(mask, length_bytes)| Sent {
        mask: Some(mask),
        length_bytes,
        ..frame.clone()
    })
}

fn ping_or_pong() -> impl Strategy<Value = Sent> {
    (select(vec![PING, PONG]), vec(any::<u8>(), 0..=125))
        .prop_flat_map(|(opcode, payload)| written(Sent::new(true, opcode, &payload)))
}

fn closing() -> impl Strategy<Value = Sent> {
    let code = prop_oneof![select(vec![1000, 1001, 1005, 1014, 1015, 2999, 3000, 4999, 5000]), any::<u16>()];
    let reason = prop_oneof![3 => (0_usize..=123).prop_flat_map(text), 1 => vec(any::<u8>(), 0..9)];
    let keep = prop_oneof![4 => Just(125_usize), 1 => 0_usize..3];
    let payload = (code, reason, keep)
        .prop_map(|(code, reason, keep)| [&code.to_be_bytes()[..], &reason].concat().into_iter().take(keep).collect());
    payload.prop_flat_map(|payload: Vec<u8>| written(Sent::new(true, CLOSE, &payload)))
}

/// A message in fragments, with pings and pongs between them.
fn message() -> impl Strategy<Value = Vec<Sent>> {
    let body = (select(vec![TEXT, BINARY]), length().prop_flat_map(text));
    (body, vec((any::<Index>(), ping_or_pong()), 0..4)).prop_flat_map(|((opcode, body), mut cuts)| {
        cuts.sort_by_key(|(cut, _)| cut.index(body.len() + 1));
        let (mut frames, mut from, mut kind) = (Vec::new(), 0, opcode);
        for (cut, between) in cuts {
            let to = cut.index(body.len() + 1);
            frames.extend([written(Sent::new(false, kind, &body[from..to])).boxed(), Just(between).boxed()]);
            (from, kind) = (to, MORE);
        }
        frames.push(written(Sent::new(true, kind, &body[from..])).boxed());
        frames
    })
}

/// A frame that is wrong in some way, most likely.
fn flawed() -> impl Strategy<Value = Sent> {
    let reserved = prop_oneof![8 => Just(0), 1 => 1_u8..8];
    let opcode = prop_oneof![4 => select(vec![MORE, TEXT, BINARY, CLOSE, PING, PONG]), 1 => 0_u8..16];
    let mask = proptest::option::weighted(0.9, any::<[u8; 4]>());
    let payload = length().prop_flat_map(|len| prop_oneof![text(len), vec(any::<u8>(), len)]);
    let other_len = prop_oneof![8 => Just(None), 1 => any::<u64>().prop_map(Some), 1 => Just(Some(1 << 63))];
    (any::<bool>(), reserved, opcode, mask, other_len, select(vec![1, 3, 9]), payload).prop_map(
        |(fin, reserved, opcode, mask, other_len, length_bytes, payload)| {
            let len = other_len.unwrap_or(payload.len() as u64);
            Sent { fin, reserved, opcode, mask, len, length_bytes, payload }
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

/// A stream as a client sends it that errs now and then, damaged on its way now and then.
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
        let mut stream: Vec<u8> = frames.iter().flatten().flat_map(Sent::bytes).collect();
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

    /// Whatever comes, and however it is cut, is heard, answered and refused as by tungstenite.
    #[test]
    fn tungstenite_agrees_on_every_stream(stream in stream(), pieces in vec(any::<u8>(), 0..8)) {
        compare(&stream, &pieces);
    }

    #[test]
    fn tungstenite_agrees_on_garbage(garbage in vec(any::<u8>(), 0..300), pieces in vec(any::<u8>(), 0..8)) {
        compare(&garbage, &pieces);
    }

    /// A client that does nothing wrong is heard to the end.
    #[test]
    fn what_is_right_is_never_refused(
        messages in vec(message(), 0..5), last in ping_or_pong(), pieces in vec(any::<u8>(), 0..8),
    ) {
        let right = |message: &&Vec<Sent>| {
            let fragments = message.iter().filter(|frame| frame.opcode < 8);
            let data: Vec<u8> = fragments.flat_map(|frame| frame.payload.clone()).collect();
            data.len() <= MAX_MESSAGE_BYTES && (message[0].opcode == BINARY || std::str::from_utf8(&data).is_ok())
        };
        let sent: Vec<&Sent> = messages.iter().filter(right).flatten().chain([&last]).collect();
        let heard = sent.iter().filter_map(|frame| match frame.opcode {
            PING => Some(Incoming::Ping(frame.payload.clone())),
            PONG => Some(Incoming::Pong),
            _ => None,
        });
        let stream: Vec<u8> = sent.iter().flat_map(|frame| frame.bytes()).collect();
        prop_assert_eq!(read(&stream, &pieces), (heard.collect(), End::Open));
    }
}

#[test]
fn the_streams_made_by_chance_end_in_every_way() {
    let (mut runner, mut ends) = (TestRunner::deterministic(), BTreeSet::new());
    for _ in 0..5000 {
        let stream = stream().new_tree(&mut runner).unwrap().current();
        ends.insert(match read(&stream, &[]).1 {
            End::Open => "open",
            End::Closed(_) => "closed",
            End::Refused(violation) => violation.reason,
        });
        if ends.len() == 14 {
            return;
        }
    }
    panic!("only {ends:#?}");
}
