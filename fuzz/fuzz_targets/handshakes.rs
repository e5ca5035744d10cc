//! TLS handshakes with a client whose bytes are changed, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::handshakes(input));
