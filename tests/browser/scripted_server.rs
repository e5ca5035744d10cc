//! A WebSocket server that a test controls, one connection after the other.

use super::driver::Browser;
use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::{embedded, soon};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// The server.
pub struct ScriptedServer {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl ScriptedServer {
    /// Starts the server.
    pub async fn start() -> ScriptedServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        ScriptedServer { listener, address }
    }

    /// Accepts the next connection. Returns it with its query.
    pub async fn accept(&self) -> (WebSocketStream<TcpStream>, String) {
        let (socket, _) = soon("a client", self.listener.accept()).await.unwrap();
        let mut query = String::new();
        #[allow(clippy::result_large_err, reason = "tungstenite's own type")]
        let keep = |request: &tokio_tungstenite::tungstenite::handshake::server::Request, response| {
            query = request.uri().query().unwrap_or_default().to_owned();
            Ok(response)
        };
        let socket = soon("a handshake", accept_hdr_async(socket, keep)).await.unwrap();
        (socket, query)
    }
}

/// Starts a scripted server, and a replica that serves the SDK. Opens a page that has no content security policy, and
/// another origin than these two.
pub async fn setup() -> (Exchange, Replica, ScriptedServer, Browser) {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let browser = Browser::open(&format!("http://{}/livez", replica.ops)).await;
    (exchange, replica, ScriptedServer::start().await, browser)
}

/// Sends messages.
pub async fn send(socket: &mut WebSocketStream<TcpStream>, messages: &[Value]) {
    for message in messages {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
}

/// Closes a connection with this code, and waits for the client's close frame.
pub async fn close(mut socket: WebSocketStream<TcpStream>, code: u16) {
    let frame = CloseFrame { code: CloseCode::from(code), reason: "closed by the test".into() };
    socket.close(Some(frame)).await.ok();
    while let Some(Ok(_)) = soon("the client's close", socket.next()).await {}
}

pub fn tick(id: u64, prev: u64) -> Value {
    json!({"type": "tick", "id": id, "prev": prev, "timedate": "", "prices": {"USD": id}, "sources": {"USD": ["kraken"]}})
}

pub fn synced(id: u64) -> Value {
    json!({"type": "synced", "id": id})
}

pub fn gap(after: u64, before: u64, reason: &str) -> Value {
    json!({"type": "gap", "after": after, "before": before, "reason": reason})
}
