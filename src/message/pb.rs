//! The messages of gRPC, which the build makes from `proto/btcfeed/v1/price_feed.proto`.

#![allow(clippy::all, clippy::pedantic, dead_code, missing_docs, unreachable_pub, reason = "generated code")]
#![allow(rustdoc::all, reason = "the comments of the proto file are written for every language")]

include!(concat!(env!("OUT_DIR"), "/btcfeed.v1.rs"));
