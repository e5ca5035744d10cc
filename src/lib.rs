//! btcfeed: a Bitcoin price feed that never loses an update.
//!
//! The modules in layer order: each may use only those before it (`tests/it/architecture.rs` checks that).
//!
//! | module | what it is |
//! |---|---|
//! | [`telemetry`] | logs |
//! | [`shutdown`] | signals, tracked tasks |
//! | [`text`] | durations and lists in text |
//! | [`tick`] | currency, price, tick, id |
//! | [`feed`] | entries of a feed; the gap rule |
//! | [`candle`] | open, high, low, close of each interval |
//! | [`message`] | every message that clients read, defined once |
//! | [`client`] | the SDK: connect, resume, back off; a stream of updates |
//! | `wire` | wire formats: WebSocket frames, events, gRPC messages |
//! | [`source`] | one adapter for each exchange |
//! | [`aggregate`] | many observations → one price for each currency |
//! | [`store`] | the feed that can be written, and the lease: memory or Redis |
//! | [`leader`] | campaign → lead → stand down |
//! | [`encode`] | format × currencies × framing → bytes, once for each tick |
//! | [`hub`] | follows the store, keeps the window, wakes the sessions |
//! | [`session`] | cursor, limits, close: shared by every transport |
//! | `schema` | descriptions of requests, responses and messages |
//! | `net` | connections: listener, limits, HTTP, reactor |
//! | `api` | WebSocket, events, gRPC, REST, descriptions, health |
//! | `site` | the page and the reference |
//! | [`server`] | where `net`, `api` and `site` meet |
//! | [`config`] | flags and environment → options of each module |
//! | [`app`] | where everything meets |
//! | [`cli`] | one file for each subcommand |

pub mod aggregate;
mod api;
pub mod app;
pub mod candle;
pub mod cli;
pub mod client;
pub mod config;
pub mod encode;
pub mod feed;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod hub;
pub mod leader;
pub mod message;
mod net;
mod schema;
pub mod server;
pub mod session;
pub mod shutdown;
mod site;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod tick;
mod wire;
