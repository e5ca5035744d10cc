//! First bytes of a connection, which show its protocol and contain the first request.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::head(input));
