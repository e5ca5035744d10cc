//! TLS records, in any pieces, and the messages in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::records(input));
