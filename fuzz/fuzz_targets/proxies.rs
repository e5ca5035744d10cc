//! Headers with which proxies name the address of a client: those of HTTP, and the PROXY protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| btcfeed::fuzz::proxies(input));
