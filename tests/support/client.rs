//! A WebSocket client that shares no code with the server.

use super::soon;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

/// An open WebSocket.
pub struct Client<S = MaybeTlsStream<TcpStream>> {
    socket: WebSocketStream<S>,
}

impl Client {
    /// Connects to a `ws://` URL.
    pub async fn connect(url: &str) -> Client {
        let (socket, _) = soon(url, connect_async(url)).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        Client { socket }
    }

    /// Attempts a handshake that the server must reject. Returns the status and the body of its response.
    pub async fn rejected(url: &str) -> (u16, String) {
        match soon(url, connect_async(url)).await {
            Err(error) => rejection(url, error),
            Ok(_) => panic!("{url} was not rejected"),
        }
    }

    /// Connects to a `ws://` URL from an address of this machine. The error is the status and the body of a rejection.
    pub async fn try_from(from: &str, url: &str) -> Result<Client<TcpStream>, (u16, String)> {
        let (address, _) = url.strip_prefix("ws://").unwrap().split_once('/').unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let stream = soon(url, socket.connect(address.parse().unwrap())).await.unwrap();
        match soon(url, client_async(url, stream)).await {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(error) => Err(rejection(url, error)),
        }
    }
}

fn rejection(url: &str, error: Error) -> (u16, String) {
    let Error::Http(response) = error else { panic!("{url}: {error}") };
    let body = response.body().clone().unwrap_or_default();
    (response.status().as_u16(), String::from_utf8(body).unwrap())
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Wraps a socket whose handshake is done.
    pub fn over(socket: WebSocketStream<S>) -> Client<S> {
        Client { socket }
    }

    /// Returns the connection below the WebSocket.
    pub fn stream(&mut self) -> &mut S {
        self.socket.get_mut()
    }

    /// Returns the next message of any kind, or `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Message> {
        soon("a message", self.socket.next()).await.and_then(Result::ok)
    }

    /// Returns the next text. Pings do not extend the deadline.
    pub async fn text(&mut self) -> String {
        let text = async {
            loop {
                match self.next().await {
                    Some(Message::Text(text)) => return text.to_string(),
                    Some(Message::Ping(_) | Message::Pong(_)) => {}
                    other => panic!("not a text: {other:?}"),
                }
            }
        };
        soon("a text", text).await
    }

    /// Returns the next text as JSON.
    pub async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Waits until the server ends the connection. Call this after [`closed`](Client::closed). Returns an error if the
    /// end is not clean, for example if TLS ends without a `close_notify`.
    pub async fn ended(&mut self) -> Result<(), Error> {
        soon("the end", self.socket.next()).await.transpose().map(drop)
    }

    /// Reads up to the close frame, and returns it.
    pub async fn closed(&mut self) -> CloseFrame {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => return frame,
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Message) {
        soon("sending", self.socket.send(message)).await.unwrap();
    }
}
