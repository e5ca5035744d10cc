//! WebSocket over HTTP/2 (RFC 8441), where it is one of several streams of a connection. Therefore the reactor cannot
//! take the socket. A library does the framing, and a task drives the session.
//!
//! The guarantees are those of the [reactor](crate::net::reactor), and the encoded entries come from the same buffers.
//! In these buffers the entries are framed, so their payloads are taken from the frames.

use super::driver::{Output, SessionDriver};
use crate::api::state::ApiState;
use crate::net::client_memory::Account;
use crate::net::connection_limit::{Permit, StreamGuard};
use crate::net::reactor::heartbeat::Heartbeat;
use crate::net::reactor::input_budget::InputBudget;
use crate::net::reactor::stream_protocol::CloseCause;
use crate::session::{CLOSE_DEADLINE, CloseReason, Session};
use crate::telemetry::metrics::CLOSES;
use crate::wire::websocket::{self, MAX_MESSAGE_BYTES, NOT_UTF8, PROTOCOL_VIOLATION, TOO_BIG, Violation};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Size of the read buffer.
const READ_BYTES: usize = 2048;
/// Minimum size of the head of a client's frame.
const FRAME_HEAD_BYTES: usize = 6;
/// Size of the write buffer. One message and the pongs fit into it.
const WRITE_BYTES: usize = 64 * 1024;

/// Serves the client until either side closes. The permit and the guard are held until then.
pub(crate) async fn serve(state: Arc<ApiState>, io: Upgraded, session: Session, permit: Permit, _guard: StreamGuard) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(config)).await;
    let heartbeat = Heartbeat::SendAt(now() + state.sessions.limits.ping_every);
    let mut driver = SessionDriver::new(state.clone(), session);
    let reset = CancellationToken::new();
    let account = permit.memory().open({
        let reset = reset.clone();
        move || reset.cancel()
    });
    let mut connection = H2Connection { socket, state, heartbeat, budget: InputBudget::default(), account, reset };
    let Err(cause) = connection.run(&mut driver).await;
    // The bookmark is saved before the close is sent, because a client that gets the close may reconnect to another
    // replica at once.
    driver.close().await;
    connection.close(cause).await;
}

struct H2Connection {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    state: Arc<ApiState>,
    heartbeat: Heartbeat,
    budget: InputBudget,
    /// The account of the output that has not been sent.
    account: Account,
    /// Is cancelled when the memory for clients is used up and this client is among those that have read nothing
    /// for the longest time.
    reset: CancellationToken,
}

fn local(reason: CloseReason) -> CloseCause {
    CLOSES.counter(reason.name()).increment(1);
    debug!(?reason, "closing a stream");
    CloseCause::Local(reason)
}

impl H2Connection {
    /// Sends the output of the session until there is a cause to close.
    async fn run(&mut self, driver: &mut SessionDriver) -> Result<Infallible, CloseCause> {
        loop {
            match self.read_until(driver.next()).await? {
                Output::Send(pieces) => {
                    let mut unsent: usize = pieces.iter().map(Bytes::len).sum();
                    for piece in pieces {
                        self.account.set(unsent);
                        unsent -= piece.len();
                        for text in websocket::payloads(piece) {
                            self.read_until(std::future::ready(())).await?;
                            self.send(message(text)).await?;
                        }
                    }
                    self.account.set(0);
                    driver.mark_sent();
                }
                // `read_until` sends pings instead.
                Output::Heartbeat => {}
                Output::Close(reason) => return Err(CloseCause::Local(reason)),
            }
        }
    }

    /// Reads messages of the client, and pings it, until `future` is ready.
    async fn read_until<T>(&mut self, future: impl Future<Output = T>) -> Result<T, CloseCause> {
        let mut future = pin!(future);
        loop {
            let due = self.heartbeat.due().into();
            // Every arm is cancel-safe: `future` is kept, and an incomplete message stays in the buffer. The order is
            // random, so that a client that floods the server still gets the feed.
            tokio::select! {
                output = &mut future => return Ok(output),
                message = self.socket.next() => self.on_message(message.as_ref())?,
                () = sleep_until(due) => self.on_heartbeat_due().await?,
            }
        }
    }

    async fn on_heartbeat_due(&mut self) -> Result<(), CloseCause> {
        let ping_every = self.state.sessions.limits.ping_every;
        match self.heartbeat {
            Heartbeat::SendAt(_) => {
                self.heartbeat = Heartbeat::AnswerBy(now() + ping_every);
                self.send(Message::Ping(Bytes::new())).await
            }
            // The pong may have arrived but not been read.
            Heartbeat::AnswerBy(_) => match self.socket.next().now_or_never() {
                Some(message) => self.on_message(message.as_ref()),
                None => Err(local(CloseReason::NoPong)),
            },
        }
    }

    fn on_message(&mut self, message: Option<&Result<Message, Error>>) -> Result<(), CloseCause> {
        if let Some(Ok(message)) = message {
            self.budget.spend(FRAME_HEAD_BYTES + message.len(), now()).map_err(CloseCause::Violated)?;
        }
        match message {
            Some(Ok(Message::Pong(_))) => {
                self.heartbeat = Heartbeat::SendAt(now() + self.state.sessions.limits.ping_every);
                Ok(())
            }
            Some(Ok(Message::Close(close))) => Err(CloseCause::Closed(close.as_ref().map(|close| close.code.into()))),
            // The server does not use data of the client, and the library answers pings.
            Some(Ok(_)) => Ok(()),
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Err(CloseCause::Gone),
            Some(Err(Error::Protocol(_))) => Err(CloseCause::Violated(PROTOCOL_VIOLATION)),
            Some(Err(Error::Utf8(_))) => Err(CloseCause::Violated(NOT_UTF8)),
            Some(Err(Error::Capacity(_))) => Err(CloseCause::Violated(TOO_BIG)),
            Some(Err(_)) | None => Err(CloseCause::Gone),
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), CloseCause> {
        // A cancelled send does not cut a message in two: the unsent part stays in the buffer, and the close frame is
        // sent after it.
        tokio::select! {
            biased;
            () = self.state.drain.done().cancelled() => Err(local(CloseReason::Draining)),
            () = self.reset.cancelled() => Err(local(CloseReason::TooSlow)),
            sent = timeout(self.state.sessions.limits.write_stall, self.socket.send(message)) => match sent {
                Ok(sent) => sent.map_err(|_| CloseCause::Gone),
                Err(_) => Err(local(CloseReason::TooSlow)),
            },
        }
    }

    async fn send_close(&mut self, code: u16, reason: &'static str) -> Result<(), Error> {
        self.socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await
    }

    /// Sends the close frame, and waits until the client has closed too, or until a deadline.
    async fn close(&mut self, cause: CloseCause) {
        let (drain, deadline) =
            (self.state.drain.done().clone(), self.state.sessions.limits.write_stall.max(CLOSE_DEADLINE));
        let closing = async {
            let sent = match cause {
                CloseCause::Gone => return,
                // The library has queued the reply to the client's close frame.
                CloseCause::Closed(_) => self.socket.flush().await,
                CloseCause::Violated(Violation { code, reason }) => self.send_close(code, reason).await,
                CloseCause::Local(reason) => self.send_close(reason.websocket_code(), reason.message()).await,
            };
            while sent.is_ok() && self.socket.next().await.is_some_and(|message| message.is_ok()) {}
            // Ends the HTTP/2 stream, too. Otherwise the client cannot know whether data is missing.
            self.socket.get_mut().shutdown().await.unwrap_or_default();
        };
        let stopping = async {
            drain.cancelled().await;
            sleep(CLOSE_DEADLINE).await;
        };
        tokio::select! { () = closing => {}, () = sleep(deadline) => {}, () = stopping => {} }
    }
}

/// Returns the current time of tokio's clock.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn message(text: Bytes) -> Message {
    Message::Text(text.try_into().expect("the encoders write UTF-8"))
}
