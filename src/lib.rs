//! btcfeed: a Bitcoin price feed that never loses an update.
//!
//! The modules in reading order; each may use only those before it (`tests/it/house.rs` checks that).
//!
//! | module | what it is |
//! |---|---|
//! | [`telemetry`] | logs |
//! | [`shutdown`] | signals, tracked tasks |
//! | [`text`] | durations and lists, as people write them |
//! | [`tick`] | currency, price, tick, id |
//! | [`feed`] | what a feed is; the gap rule |
//! | [`source`] | one adapter an exchange |
//! | [`quorum`] | many observations → one price a currency |
//! | [`store`] | the one feed that can be written, and the lease: memory or Redis |
//! | [`leader`] | campaign → lead → stand down |
//! | [`view`] | format × currencies × framing → bytes, once a tick |
//! | [`hub`] | follows the store, keeps the window, wakes the sessions |
//! | [`candle`] | open, high, low, close of each minute, five minutes, hour |
//! | [`session`] | cursor, limits, goodbye: shared by every transport |
//! | [`server`] | WebSocket, events, gRPC, REST, health |
//! | [`client`] | the SDK: connect, resume, back off; a stream of updates |
//! | [`config`] | flags and environment → each module's options |
//! | [`app`] | where everything meets |
//! | [`cli`] | one file a subcommand |

pub mod app;
pub mod candle;
pub mod cli;
pub mod client;
pub mod config;
pub mod feed;
pub mod hub;
pub mod leader;
pub mod quorum;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod tick;
pub mod view;
