//! What a client sends over a WebSocket, decoded by our decoder and by tungstenite.
#![no_main]

libfuzzer_sys::fuzz_target!(|made: &[u8]| btcfeed::fuzz::frames(made));
