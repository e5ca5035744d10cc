//! What btcfeed promises, shown on the running thing: real processes, real sockets, a real redis-server and nginx. Only
//! the exchanges are played, with answers that the real ones gave.

#![allow(unreachable_pub, reason = "this crate is a program, whose modules are all its own")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and waits for nobody")]
#![allow(clippy::pedantic, reason = "what a test says should be plain before it is polished")]

mod architecture;
mod candles;
mod cli;
mod client;
mod descriptions;
mod doors;
mod example;
mod faults;
mod grpc;
mod health;
mod history;
mod hostile;
mod http2;
mod hub;
mod load;
mod nginx;
mod odd_servers;
mod options;
mod query;
mod replicas;
mod requests;
mod sources;
mod sse;
mod store;
mod stranger;
mod stream;
mod support;
mod watch;
mod ws_over_http2;
