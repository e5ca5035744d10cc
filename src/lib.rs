//! btcfeed: a Bitcoin price feed whose clients miss no update when they reconnect.
//!
//! The features `client` (the SDK), `server`, `cli` (the program), `grpc` and `otlp` (traces) are all on by default.
//! For the SDK alone, use `default-features = false, features = ["client"]`.
//!
//! The modules in layer order. Each module may use only the modules before it (`tests/it/architecture.rs` checks that).
//!
//! | module | what it is |
//! |---|---|
//! | [`telemetry`] | logs, metrics, traces |
//! | [`shutdown`] | signals, tracked tasks |
//! | [`reload`] | files that are read again when they change |
//! | [`text`] | durations and lists in text |
//! | [`tick`] | currency, price, tick, id |
//! | [`feed`] | entries of a feed; the gap rule |
//! | [`candle`] | open, high, low, close of each interval |
//! | [`message`] | every message that clients read, defined once |
//! | [`client`] | the SDK: connect, resume, back off; a stream of updates |
//! | `wire` | wire formats: WebSocket frames, events, gRPC messages |
//! | [`source`] | one adapter for each exchange |
//! | [`aggregate`] | observations of all sources → one price for each currency |
//! | [`store`] | keeps the feed and the lease: memory, a file or Redis |
//! | [`leader`] | campaign → lead → stand down |
//! | [`encode`] | format × currencies × framing → bytes, once for each entry |
//! | [`hub`] | follows the store, keeps the window, wakes the sessions |
//! | [`monitor`] | the feed's health as this replica sees it |
//! | [`access`] | API keys, and what they permit |
//! | [`session`] | cursor, limits, close: shared by every transport |
//! | `schema` | descriptions of requests, responses and messages |
//! | `tls` | handshakes, and a certificate that can be replaced |
//! | `admission` | limits of each client's address |
//! | `net` | connections: listener, limits, HTTP, reactor |
//! | `api` | WebSocket, events, gRPC, REST, descriptions, health |
//! | `site` | the page and the reference |
//! | [`server`] | where `net`, `api` and `site` meet |
//! | [`config`] | flags and environment → options of each module |
//! | [`app`] | builds everything from the configuration |
//! | [`cli`] | one file for each subcommand |

#[cfg(feature = "server")]
pub mod access;
#[cfg(feature = "server")]
mod admission;
#[cfg(feature = "server")]
pub mod aggregate;
#[cfg(feature = "server")]
mod api;
#[cfg(feature = "server")]
pub mod app;
pub mod candle;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod encode;
pub mod feed;
#[cfg(all(any(test, fuzzing), feature = "server"))]
pub mod fuzz;
#[cfg(feature = "server")]
pub mod hub;
#[cfg(feature = "server")]
pub mod leader;
pub mod message;
#[cfg(feature = "server")]
pub mod monitor;
#[cfg(feature = "server")]
mod net;
#[cfg(feature = "server")]
pub mod reload;
#[cfg(feature = "server")]
mod schema;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod shutdown;
#[cfg(feature = "server")]
mod site;
#[cfg(feature = "server")]
pub mod source;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod telemetry;
pub mod text;
pub mod tick;
#[cfg(feature = "server")]
mod tls;
#[cfg(feature = "server")]
mod wire;

/// The README's example in Rust, as a test.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
