//! TLS records that arrive in pieces of any length, and the messages in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::records(input));
