//! A query, parsed by every route that takes one, and a `Last-Event-ID`.
#![no_main]

libfuzzer_sys::fuzz_target!(|made: &[u8]| btcfeed::fuzz::query(made));
