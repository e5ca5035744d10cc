//! Placeholders in descriptions and in samples. Before a document is sent, the address under which the client reaches
//! the server replaces them (`api::template`).

/// Base of the address over HTTP.
pub(crate) const HTTP_BASE: &str = "http://localhost:8080";
/// Base of the address over WebSocket.
pub(crate) const WS_BASE: &str = "ws://localhost:8080";
/// Address for gRPC, with the option with which `grpcurl` connects without TLS.
pub(crate) const GRPCURL: &str = "-plaintext localhost:8080";
/// Host and port.
pub(crate) const AUTHORITY: &str = "localhost:8080";
/// Path under which the server is reached.
pub(crate) const PREFIX: &str = "{prefix}";
/// Scheme of HTTP.
pub(crate) const HTTP: &str = "{http}";
/// Scheme of a WebSocket.
pub(crate) const WS: &str = "{ws}";

/// All placeholders. One that contains another comes before it.
pub(crate) const PLACEHOLDERS: [&str; 7] = [HTTP_BASE, WS_BASE, GRPCURL, AUTHORITY, PREFIX, HTTP, WS];
