//! A WebSocket client that has nothing in common with the server under test.

use super::soon;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub struct Client<S = MaybeTlsStream<TcpStream>> {
    socket: WebSocketStream<S>,
}

impl Client {
    pub async fn connect(url: &str) -> Client {
        let (socket, _) = soon(url, connect_async(url)).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        Client { socket }
    }

    /// The status and body with which a handshake is refused.
    pub async fn refused(url: &str) -> (u16, String) {
        match soon(url, connect_async(url)).await {
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                (response.status().as_u16(), String::from_utf8(body).unwrap())
            }
            other => panic!("{url} was not refused: {other:?}"),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client whose handshake is done.
    pub fn over(socket: WebSocketStream<S>) -> Client<S> {
        Client { socket }
    }

    /// The next message of any kind; `None` when the connection is over.
    pub async fn next(&mut self) -> Option<Message> {
        soon("a message", self.socket.next()).await.and_then(Result::ok)
    }

    /// The next text. Pings do not put off the deadline.
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

    pub async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Reads on to the close frame.
    pub async fn closed(&mut self) -> CloseFrame {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => return frame,
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
    }

    pub async fn send(&mut self, message: Message) {
        soon("sending", self.socket.send(message)).await.unwrap();
    }
}
