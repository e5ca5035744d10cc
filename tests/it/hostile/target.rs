//! Two replicas under the same attack: one without TLS, and one with it.

use crate::support::client::Client;
use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::stream::Connection;
use crate::support::tls::{Authority, http_for};
use crate::support::{embedded, soon};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio_tungstenite::client_async;

const HANDSHAKE: &str = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A replica under attack, with or without TLS.
pub struct Target {
    pub replica: Replica,
    pub authority: Option<Authority>,
    _exchange: Exchange,
}

impl Target {
    async fn start(settings: &[(&str, &str)], authority: Option<Authority>) -> Target {
        let exchange = Exchange::start().await;
        let files = authority.as_ref().map(Authority::settings);
        let files: Vec<_> = files.iter().flatten().map(|(name, path)| (*name, path.as_str())).collect();
        let replica = embedded(&exchange, &[settings, &files].concat()).await;
        Target { replica, authority, _exchange: exchange }
    }

    /// Connects with a small receive buffer, so that the server soon has to wait for its client.
    pub async fn connect(&self) -> Connection {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let socket = socket.connect(self.replica.address.parse().unwrap()).await.unwrap();
        match &self.authority {
            None => Connection::Left(socket),
            Some(authority) => Connection::Right(Box::new(authority.connect_over(socket).await)),
        }
    }

    /// Requests a path. Returns the status and the body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let (client, scheme) = http_for(self.authority.as_ref());
        let url = format!("{scheme}://{}{path}", self.replica.address);
        let response = soon(path, client.get(url).send()).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Sends the request for a WebSocket and `early` in one write, without a library.
    pub async fn raw(&self, query: &str, early: &[u8]) -> Connection {
        self.raw_at("/v1/ws", query, early).await
    }

    pub async fn raw_at(&self, path: &str, query: &str, early: &[u8]) -> Connection {
        let mut stream = self.connect().await;
        let request = format!("GET {path}?{query} HTTP/1.1\r\n{HANDSHAKE}");
        stream.write_all(&[request.as_bytes(), early].concat()).await.unwrap();
        stream.flush().await.unwrap();
        stream
    }

    pub async fn websocket(&self) -> Client<Connection> {
        let (socket, _) =
            soon("a handshake", client_async("ws://localhost/v1/ws", self.connect().await)).await.unwrap();
        Client::over(socket)
    }
}

/// Attacks two replicas at the same time, one of them over TLS.
pub async fn attack(settings: &[(&str, &str)], attack: impl AsyncFn(&mut Target)) {
    let (mut plain, mut tls) =
        tokio::join!(Target::start(settings, None), Target::start(settings, Some(Authority::new())));
    tokio::join!(attack(&mut plain), attack(&mut tls));
}
