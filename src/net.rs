//! Connections: accepts them, bounds their cost, and serves them.
//!
//! Every connection takes the same path. The [`Listener`](listener::Listener) accepts it. A proxy may name the client
//! in a header before the client's own bytes ([`proxy_protocol`]). After this header, if there is one, the connection
//! takes a permit. If the port uses [TLS](crate::tls), the handshake follows, and if the client has chosen HTTP/2
//! there, hyper serves the connection. Otherwise the client's first bytes are read, once, into the connection's own
//! buffer. They show which protocol the client uses ([`request_head`]). A request for a stream goes through the router.
//! If its handler fills the [`Handoff`](takeover::Handoff), the socket moves to the [`reactor`], together with the keys
//! of TLS. hyper serves all other requests. It reads the connection through [`buffered_stream`], which returns the
//! bytes of the buffer first. No request is routed twice.
//!
//! The files in layer order: each uses only those before it.
//!
//! | module | what it is |
//! |---|---|
//! | `socket` | options of a client's socket |
//! | `client_stream` | a connection, plain or over TLS |
//! | `client_memory` | bytes that wait for clients |
//! | `stall` | detection of responses that their clients do not read |
//! | `connection_limit` | permits for clients |
//! | `proxy_protocol` | the client's address, as a proxy names it before the client's first bytes |
//! | `buffered_stream` | a connection whose first bytes have been read |
//! | `request_head` | the first bytes of a connection |
//! | `reactor` | streams on raw sockets |
//! | `takeover` | handoff of streams from HTTP to the reactor |
//! | `http` | hyper's servers and their bounds |
//! | `listener` | a connection from accept to its end |

pub(crate) mod buffered_stream;
pub(crate) mod client_memory;
pub(crate) mod client_stream;
pub(crate) mod connection_limit;
pub(crate) mod http;
pub(crate) mod listener;
pub(crate) mod proxy_protocol;
pub(crate) mod reactor;
pub(crate) mod request_head;
pub(crate) mod socket;
pub(crate) mod stall;
pub(crate) mod takeover;
