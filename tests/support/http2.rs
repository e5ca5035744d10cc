//! An HTTP/2 connection with WebSockets on it (RFC 8441).

use super::client::Client;
use super::{soon, until};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A WebSocket on an HTTP/2 stream.
pub type Socket = Client<TokioIo<Upgraded>>;

/// An HTTP/2 connection.
pub struct Http2 {
    address: String,
    sender: SendRequest<Empty<Bytes>>,
}

impl Http2 {
    /// Connects with the default window (RFC 9113 §6.9.2).
    pub async fn connect(address: &str) -> Http2 {
        Http2::with_window(address, 65_535).await
    }

    /// Connects with a flow control window of `bytes` for each stream.
    pub async fn with_window(address: &str, bytes: u32) -> Http2 {
        let stream = soon(address, TcpStream::connect(address)).await.unwrap();
        let mut client = Builder::new(TokioExecutor::new());
        let handshake = client.initial_stream_window_size(bytes).handshake(TokioIo::new(stream));
        let (sender, connection) = soon("a connection", handshake).await.unwrap();
        // The server enables extended CONNECT in its SETTINGS frame.
        until("extended CONNECT", async || connection.is_extended_connect_protocol_enabled()).await;
        tokio::spawn(connection);
        Http2 { address: address.to_owned(), sender }
    }

    /// Sends an extended CONNECT for a path, with these headers.
    pub async fn ask(&mut self, protocol: &'static str, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let mut request = Request::connect(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(Protocol::from_static(protocol)).body(Empty::new()).unwrap();
        soon(path, self.sender.send_request(request)).await.unwrap()
    }

    /// Opens a WebSocket. The error is the status and the body of a rejection.
    pub async fn try_websocket(&mut self, path: &str) -> Result<Socket, (u16, String)> {
        let answer = self.ask("websocket", path, &[("sec-websocket-version", "13")]).await;
        if answer.status() != 200 {
            return Err(text(answer).await);
        }
        assert!(!answer.headers().contains_key("sec-websocket-accept"), "HTTP/2 has no Sec-WebSocket-Key");
        let stream = soon("a stream", hyper::upgrade::on(answer)).await.unwrap();
        Ok(Client::over(WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Client, None).await))
    }

    /// Opens a WebSocket.
    pub async fn websocket(&mut self, path: &str) -> Socket {
        self.try_websocket(path).await.unwrap_or_else(|rejection| panic!("{path}: {rejection:?}"))
    }
}

/// Returns the status and the body of a response.
pub async fn text(answer: Response<Incoming>) -> (u16, String) {
    let status = answer.status().as_u16();
    let body = soon("a body", answer.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
