//! The reasons why a subscription ends permanently, or why a request fails.

/// The reason why a subscription ended permanently, or why a request failed. After any other failure a stream connects
/// again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is invalid.
    #[error("invalid address {address:?}: expected http://host:port (or https, ws, wss): {problem}")]
    Address {
        /// The address that was given.
        address: String,
        /// The reason why it is invalid.
        problem: String,
    },
    /// An option is invalid, or two options contradict each other.
    #[error("invalid {0}")]
    Options(String),
    /// No HTTP client can be created, for example because this machine has no certificates, or because the given
    /// authorities are invalid.
    #[error("cannot create an HTTP client: {0}")]
    Setup(String),
    /// The server refused the request, and would refuse it again.
    #[error("the server refused the request with HTTP {status}: {detail}")]
    Refused {
        /// The HTTP status: 400 if a parameter is invalid, 404 if something does not exist.
        status: u16,
        /// The explanation of the server.
        detail: String,
    },
    /// The server at the address is not a feed.
    #[error("there is no feed at this address: {problem}")]
    NoFeed {
        /// A description of the answer.
        problem: String,
    },
    /// No address of the feed answered a request, or all answered with a temporary error.
    #[error("{0}")]
    Unavailable(String),
    /// The server closed the connection and asked the client not to reconnect.
    #[error("the server closed the connection with {code}: {reason}")]
    Closed {
        /// The WebSocket close code, from 4500 to 4999.
        code: u16,
        /// The explanation of the server.
        reason: String,
    },
}
