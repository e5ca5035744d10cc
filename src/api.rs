//! Handlers of the API: streams, REST, gRPC, descriptions and health.
//!
//! The file of a transport contains only its framing. Rules that all transports share are in
//! [`session`](crate::session). Every route has a description ([`schema`](crate::schema)), except those of gRPC and of
//! the operators' port.
//!
//! The files in layer order: each uses only those before it.
//!
//! | module | what it is |
//! |---|---|
//! | `headers` | names of our own headers |
//! | `problem` | errors as problem details |
//! | `request_id` | ids of requests |
//! | `request_errors` | list of the mistakes in a request, with a maximum length |
//! | `negotiate` | JSON, JSON lines or CSV |
//! | `page` | pages of the history, from either end |
//! | `query` | parameters |
//! | `base_url` | the address under which a client reaches this server |
//! | `caching` | entity tags, lifetimes, links to the next page |
//! | `compress` | gzip |
//! | `hardening` | rules for every request and response |
//! | `cors` | pages of other origins that may read the feed |
//! | `in_force` | the price in force at a moment |
//! | `candle_cache` | the candles of this replica |
//! | `newest_audits` | the newest ticks with what went into their prices |
//! | `state` | state that all handlers share |
//! | `feed_headers` | the feed's state in the headers of a response |
//! | `template` | texts with placeholders for the address of the server |
//! | `document` | files, and documents with the address of the server |
//! | `descriptions` | `/openapi.json` and `/asyncapi.json` |
//! | `stream` | WebSocket and server-sent events |
//! | `rest` | latest, history, price at a moment, candles, sources, status, and answers in formats of other services |
//! | `grpc` | `btcfeed.v1.PriceFeed`, health, reflection |
//! | `auth` | API keys |
//! | `overload` | responses to requests that a limit refuses |
//! | `ops` | health checks on the operators' port |

pub(crate) mod auth;
pub(crate) mod base_url;
pub(crate) mod caching;
pub(crate) mod candle_cache;
pub(crate) mod compress;
pub(crate) mod cors;
pub(crate) mod descriptions;
pub(crate) mod document;
pub(crate) mod feed_headers;
#[cfg(feature = "grpc")]
pub(crate) mod grpc;
pub(crate) mod hardening;
pub(crate) mod headers;
pub(crate) mod in_force;
pub(crate) mod negotiate;
pub(crate) mod newest_audits;
pub(crate) mod ops;
pub(crate) mod overload;
pub(crate) mod page;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod request_errors;
pub(crate) mod request_id;
pub(crate) mod rest;
pub(crate) mod state;
pub(crate) mod stream;
pub(crate) mod template;
