//! A query, and a `Last-Event-ID`, read as every door reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|made: &[u8]| btcfeed::fuzz::query(made));
