//! The feed as a stream: WebSocket and server-sent events.

pub(crate) mod driver;
pub(crate) mod sse;
pub(crate) mod websocket;
mod websocket_h2;
