//! An exchange's answer, read by the adapter of every exchange.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::answers(input));
