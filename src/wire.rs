//! Wire formats. This module encodes and decodes bytes. It has no sockets, and does not know the messages of the feed.
//!
//! | module | format |
//! |---|---|
//! | [`websocket`] | WebSocket frames (RFC 6455 §5) |
//! | [`sse`] | server-sent events (HTML Living Standard §9.2) |
//! | `grpc` | length-prefixed messages of gRPC |

#[cfg(feature = "grpc")]
pub(crate) mod grpc;
pub(crate) mod sse;
pub(crate) mod websocket;
