//! The stream over a WebSocket (RFC 6455): a request that is upgraded, and messages in text frames.
//!
//! Pings are answered only while the stream is polled. If it is not polled for long, the server closes the connection,
//! and the next connection continues at the cursor.

use super::disconnect::Disconnect;
use super::http;
use super::received::{MAX_MESSAGE_BYTES, Received, ServerEvent, ServerEvents};
use futures_util::StreamExt;
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{RequestBuilder, StatusCode};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

/// The size of a read from the socket. Few messages are longer.
const READ_BYTES: usize = 8 * 1024;

/// Sends the request as a WebSocket handshake.
pub(super) async fn connect(request: RequestBuilder) -> Result<ServerEvents, Disconnect> {
    let key = generate_key();
    let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
    let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, &key);
    let response = request.send().await.map_err(|error| Disconnect::caused_by(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(http::refusal(response).await);
    }
    let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes().to_owned());
    if accept.as_deref() != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(Disconnect::retry("invalid handshake: Sec-WebSocket-Accept does not match the request"));
    }
    let upgraded = response.upgrade().await.map_err(|error| Disconnect::caused_by(&error))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        // Only pongs are written. The buffer must stay small if the server sends pings but reads nothing.
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_MESSAGE_BYTES);
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
    Ok(socket.map(read).boxed())
}

fn read(message: Result<Message, tungstenite::Error>) -> Result<ServerEvent, Disconnect> {
    match message {
        Ok(Message::Text(text)) => Received::read(&text).map(ServerEvent::Message),
        Ok(Message::Close(Some(close))) => Err(Disconnect::closed(close.code.into(), &close.reason)),
        Ok(Message::Close(None)) => Err(Disconnect::retry("the server closed the connection without a code")),
        // Pings and pongs show that the server is alive. Binary messages are skipped, because this version does not
        // know any.
        Ok(_) => Ok(ServerEvent::Alive),
        Err(error) => Err(Disconnect::caused_by(&error)),
    }
}
