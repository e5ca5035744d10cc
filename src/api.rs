//! What clients and operators can ask for: streams, REST, gRPC, descriptions, health.
//!
//! A file of a transport holds framing and nothing else. What two transports have in common is in
//! [`session`](crate::session). A route cannot be had without its description ([`schema`](crate::schema)).
//!
//! In layer order, each file uses only those before it:
//!
//! | module | what it is |
//! |---|---|
//! | `problem` | errors as problem details |
//! | `mistakes` | what is wrong with a request, bounded |
//! | `negotiate` | JSON, JSON lines or CSV |
//! | `query` | parameters |
//! | `caching` | entity tags, lifetimes, links to the next page |
//! | `compress` | gzip |
//! | `hardening` | rules for every request and response |
//! | `cors` | which pages may read the feed |
//! | `candle_cache` | the candles of this replica |
//! | `state` | what every handler can see |
//! | `document` | texts that do not change while the server runs |
//! | `descriptions` | `/openapi.json` and `/asyncapi.json` |
//! | `stream` | WebSocket and server-sent events |
//! | `rest` | latest, history, candles |
//! | `grpc` | `btcfeed.v1.PriceFeed`, health, reflection |
//! | `overload` | refusals when the limit is reached |
//! | `ops` | the port of the operators |

pub(crate) mod caching;
pub(crate) mod candle_cache;
pub(crate) mod compress;
pub(crate) mod cors;
pub(crate) mod descriptions;
pub(crate) mod document;
pub(crate) mod grpc;
pub(crate) mod hardening;
pub(crate) mod mistakes;
pub(crate) mod negotiate;
pub(crate) mod ops;
pub(crate) mod overload;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod rest;
pub(crate) mod state;
pub(crate) mod stream;
