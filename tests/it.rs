//! Most of these tests run replicas: real processes and sockets, a real redis-server and a real nginx. The exchanges
//! are simulated, with recorded answers. Some tests run a part of the library instead, or check the source code.

#![allow(unreachable_pub, reason = "nothing outside a test binary can reach its items")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]
#![allow(clippy::pedantic, reason = "plain code matters more in tests")]

#[macro_use]
mod support;

mod it {
    mod access;
    mod address_limits;
    mod architecture;
    mod at;
    mod audit;
    mod bookmarks;
    mod candles;
    mod check;
    mod cli;
    mod client;
    mod clocks;
    mod currencies;
    mod descriptions;
    mod disk;
    mod drain;
    mod example;
    mod faults;
    mod foreign_servers;
    mod grpc;
    mod health;
    mod history;
    mod hostile;
    mod http2;
    mod hub;
    mod interop;
    mod kinds;
    mod load;
    mod logs;
    mod metrics;
    mod monitoring;
    mod nginx;
    mod notices;
    mod options;
    mod protocol_abuse;
    mod proxy_protocol;
    mod recovery;
    mod redis;
    mod replicas;
    mod requests;
    mod samples;
    mod source_requests;
    mod sources;
    mod sse;
    mod status;
    mod store;
    mod store_command;
    mod stream;
    mod supervisor;
    mod tls;
    mod tls_streams;
    mod traces;
    mod transports;
    mod verify;
    mod watch;
    mod websocket_h2;
}
