//! The feed over a WebSocket (RFC 6455): a request that is upgraded, and messages in text frames. Pings are answered while
//! the stream is polled; one that nobody polls is let go by the server, and comes back with its cursor.

use super::message::Message;
use super::{Connection, Event, Failure, MESSAGE_BYTES, http};
use futures_util::StreamExt;
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{RequestBuilder, StatusCode};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message as Frame};

/// What is read from the socket at once; messages are a fraction of it.
const READ_BYTES: usize = 8 * 1024;

/// Makes a WebSocket of a request.
pub(super) async fn connect(request: RequestBuilder) -> Result<Connection, Failure> {
    let key = generate_key();
    let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
    let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, &key);
    let response = request.send().await.map_err(|error| Failure::caused(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(http::refusal(response).await);
    }
    let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes().to_owned());
    if accept.as_deref() != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(Failure::passing("the answer to the WebSocket handshake is not for this request"));
    }
    let upgraded = response.upgrade().await.map_err(|error| Failure::caused(&error))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES))
        // Only pongs are sent. They must not pile up where somebody asks for them and takes none.
        .write_buffer_size(0)
        .max_write_buffer_size(MESSAGE_BYTES);
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
    Ok(socket.map(read).boxed())
}

fn read(frame: Result<Frame, tungstenite::Error>) -> Result<Event, Failure> {
    match frame {
        Ok(Frame::Text(text)) => {
            Message::read(&text).map(Event::Message).map_err(|error| Failure::passing(error.to_string()))
        }
        Ok(Frame::Close(Some(close))) => Err(Failure::closed(close.code.into(), &close.reason)),
        Ok(Frame::Close(None)) => Err(Failure::passing("the server closed without a word")),
        // Pings and pongs prove that the line is alive; what is binary is of no kind that this version knows.
        Ok(_) => Ok(Event::Alive),
        Err(error) => Err(Failure::caused(&error)),
    }
}
