//! TLS handshakes with a client whose bytes are changed, and arrive in pieces of any length.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::handshakes(input));
