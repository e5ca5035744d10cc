//! The transport: WebSocket, events or gRPC.

/// The protocol over which updates are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A WebSocket.
    #[default]
    WebSocket,
    /// Server-sent events in an ordinary HTTP response, for proxies that do not support WebSocket.
    Sse,
    /// gRPC, which needs HTTP/2 from end to end. [`prices_at`](super::Client::prices_at) and
    /// [redundancy](super::Builder::redundancy) also send ordinary HTTP requests to the same address. These requests
    /// fail on a port that serves only gRPC.
    #[cfg(feature = "grpc")]
    Grpc,
}

impl Transport {
    /// Returns the path of the stream.
    pub(super) fn path(self) -> &'static str {
        match self {
            Transport::WebSocket => "/v1/ws",
            Transport::Sse => "/v1/prices/stream",
            #[cfg(feature = "grpc")]
            Transport::Grpc => "/btcfeed.v1.PriceFeed/Subscribe",
        }
    }

    /// Returns true if the connection itself detects that the server is dead, as HTTP/2 does with its pings.
    pub(super) fn has_pings(self) -> bool {
        match self {
            Transport::WebSocket | Transport::Sse => false,
            #[cfg(feature = "grpc")]
            Transport::Grpc => true,
        }
    }
}
