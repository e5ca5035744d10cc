//! The bytes of a client over a WebSocket, decoded by btcfeed's decoder and by tungstenite.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::frames(input));
