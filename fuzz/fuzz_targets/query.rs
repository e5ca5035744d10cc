//! A query of a stream, of the latest tick, of the history or of candles, and a `Last-Event-ID`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::query(input));
