//! An attacker. It needs little processor time. An attack ends when its future is dropped.

use crate::support::frames::{self, DEFAULT_WINDOW};
use crate::support::tls::{Authority, localhost};
use futures_util::future::join_all;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::rustls::ClientConnection;

/// Address of the attacker.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));
/// Pause before the next connection.
const PAUSE: Duration = Duration::from_millis(200);
/// Largest window (RFC 9113 §6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// An attacker at the address [`SOURCE`].
#[derive(Clone, Copy, Debug)]
pub struct Attacker {
    /// Attacked port.
    pub target: SocketAddr,
}

impl Attacker {
    async fn connect(self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((SOURCE, 0).into())?;
        socket.connect(self.target).await
    }

    /// Repeatedly opens this number of connections. On each connection, sends `request` and then reads for at most
    /// `patience`.
    async fn repeat(self, connections: usize, patience: Duration, request: impl Fn() -> Vec<u8>) {
        join_all((0..connections).map(async |_| {
            loop {
                let Ok(mut stream) = self.connect().await else {
                    sleep(PAUSE).await;
                    continue;
                };
                if stream.write_all(&request()).await.is_ok() {
                    timeout(patience, discard(&mut stream)).await.ok();
                }
                sleep(PAUSE).await;
            }
        }))
        .await;
    }

    /// Requests `path` on many HTTP/2 connections with `streams` streams each. Reads what the server sends, but never
    /// enlarges a window after the start, so the server can send at most `window` bytes on each stream.
    pub async fn unread(self, connections: usize, streams: usize, window: u32, path: &str) {
        let requests = http2(streams, window, path);
        self.repeat(connections, Duration::from_secs(4), || requests.clone()).await;
    }

    /// Requests `path` on many HTTP/2 connections with `streams` streams each, with the largest windows, and reads
    /// nothing from its sockets.
    pub async fn deaf(self, connections: usize, streams: usize, path: &str) {
        let requests = http2(streams, MAX_WINDOW, path);
        join_all((0..connections).map(async |_| {
            loop {
                if let Ok(mut stream) = self.connect().await {
                    stream.write_all(&requests).await.ok();
                    sleep(Duration::from_secs(4)).await;
                }
                sleep(PAUSE).await;
            }
        }))
        .await;
    }

    /// Repeatedly opens streams of the feed on many HTTP/2 connections.
    pub async fn streams(self, connections: usize, path: &str) {
        let requests = http2(100, DEFAULT_WINDOW, path);
        self.repeat(connections, Duration::from_millis(1500), || requests.clone()).await;
    }

    /// Repeatedly replays the whole history for streams that want one tick a day.
    pub async fn throttled_replays(self) {
        self.streams(60, "/v1/prices/stream?since=0&every=24h&changes=true").await;
    }

    /// Requests `path` with gzip, and reads each response for a second.
    pub async fn compressed(self, connections: usize, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").into_bytes();
        self.repeat(connections, Duration::from_secs(1), || request.clone()).await;
    }

    /// Keeps this number of streams of the feed open. A stream that ends, or is one minute old, is replaced by a new
    /// one.
    pub async fn places(self, connections: usize) {
        let request = b"GET /v1/prices/stream HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
        self.repeat(connections, Duration::from_secs(60), || request.clone()).await;
    }

    /// Opens this number of connections each second, and sends a byte of a head each second on all of them.
    pub async fn slow_heads(self, connections: usize) {
        let mut open = Vec::new();
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            let more = join_all((0..connections).map(|_| self.connect())).await;
            open.extend(more.into_iter().flatten());
            // The server may have closed some of them.
            open.retain(|stream: &TcpStream| stream.try_write(b"G").is_ok());
        }
    }

    /// Repeatedly begins TLS handshakes and does not finish them. The server computes a signature for each handshake.
    pub async fn handshakes(self, connections: usize) {
        let config = Authority::new().connector(&[]).config().clone();
        let hello = || {
            let mut client = ClientConnection::new(config.clone(), localhost()).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            hello
        };
        self.repeat(connections, Duration::from_millis(50), hello).await;
    }

    /// Opens streams with new client_ids.
    pub async fn client_ids(self, connections: usize) {
        let request = || {
            let name = uuid::Uuid::now_v7();
            format!("GET /v1/prices/stream?client_id={name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .into_bytes()
        };
        self.repeat(connections, Duration::from_millis(20), request).await;
    }
}

/// Reads until the end of the stream.
async fn discard(stream: &mut TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
}

/// Returns the bytes of an HTTP/2 client that requests `path` on each of its streams, with windows of this size.
fn http2(streams: usize, window: u32, path: &str) -> Vec<u8> {
    let mut bytes = frames::preface(window);
    for number in 0..streams {
        frames::request(&mut bytes, u32::try_from(2 * number + 1).unwrap(), path, &[]);
    }
    bytes
}
