//! Tests of the HTTP interface in process: the router answers requests without a socket, from a feed in memory.

#![allow(unreachable_pub, reason = "nothing outside a test binary can reach its items")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]
#![allow(clippy::pedantic, reason = "plain code matters more in tests")]

#[macro_use]
mod support;

mod api {
    mod addresses;
    mod audit;
    mod caching;
    mod candles;
    mod cors;
    mod descriptions;
    mod docs_page;
    mod events;
    mod grpc;
    mod history;
    mod isolation;
    mod latest;
    mod mempool;
    mod negotiation;
    mod other_forms;
    mod price_at;
    mod problems;
    mod server;
    mod sources;
    mod status;
    mod udf;
}
