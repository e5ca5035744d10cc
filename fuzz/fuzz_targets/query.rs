//! The query of every route with parameters, and a `Last-Event-ID`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::query(input));
