//! A WebSocket where there is no raw socket to hand over: over HTTP/2 it is one stream among others (RFC 8441). A library
//! speaks here, and a task drives the session.
//!
//! What is promised is what the [reactor](crate::net::reactor) promises, and the feed's bytes are the same that it sends.
//! They are framed already, so their payloads are taken out again.

use super::driver::{Output, SessionDriver};
use crate::api::state::ApiState;
use crate::net::connection_limit::{Permit, StreamGuard};
use crate::net::reactor::heartbeat::Heartbeat;
use crate::net::reactor::stream_protocol::CloseCause;
use crate::session::{CLOSE_DEADLINE, CloseReason, Session};
use crate::wire::websocket::{self, MAX_MESSAGE_BYTES, NOT_UTF8, TOO_BIG, Violation};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};
use tracing::debug;

/// What is read at once.
const READ_BYTES: usize = 2048;
/// What may wait to be written: a message, and answers to pings. None is as long.
const WRITE_BYTES: usize = 64 * 1024;
/// What the library says of every other rule.
const BROKEN: Violation = Violation { code: 1002, reason: "what you sent breaks the protocol" };

/// Serves the client until either side has enough. The client has its place until then.
pub(crate) async fn serve(state: Arc<ApiState>, io: Upgraded, session: Session, _peer: Permit, _open: StreamGuard) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(config)).await;
    let heartbeat = Heartbeat::SendAt(now() + state.sessions.limits.ping_every);
    let mut follower = SessionDriver::new(state.clone(), session);
    let mut talk = Talk { socket, state, heartbeat };
    let Err(end) = talk.follow(&mut follower).await;
    // Before the goodbye, after which the client may be on another replica at once.
    follower.close().await;
    talk.part(end).await;
}

struct Talk {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    state: Arc<ApiState>,
    heartbeat: Heartbeat,
}

fn close(reason: CloseReason) -> CloseCause {
    debug!(?reason, "closing a stream");
    CloseCause::Local(reason)
}

impl Talk {
    /// Sends what the session has to say until there is a reason to end.
    async fn follow(&mut self, follower: &mut SessionDriver) -> Result<Infallible, CloseCause> {
        loop {
            match self.listen_until(follower.next()).await? {
                Output::Send(pieces) => {
                    for text in pieces.into_iter().flat_map(websocket::payloads) {
                        self.listen_until(std::future::ready(())).await?;
                        self.send(message(text)).await?;
                    }
                }
                // Pings show that it is there.
                Output::Heartbeat => {}
                Output::Close(reason) => return Err(CloseCause::Local(reason)),
            }
        }
    }

    /// Hears the client out, and pings it, until something else is there.
    async fn listen_until<T>(&mut self, awaited: impl Future<Output = T>) -> Result<T, CloseCause> {
        let mut awaited = pin!(awaited);
        loop {
            let due = self.heartbeat.due().into();
            // Every arm is cancel-safe: what is awaited is kept, a message that has not come whole stays in the buffer. In
            // no order, so that a client that floods hears of the feed all the same.
            tokio::select! {
                awaited = &mut awaited => return Ok(awaited),
                said = self.socket.next() => self.hear(said.as_ref())?,
                () = sleep_until(due) => self.beat().await?,
            }
        }
    }

    async fn beat(&mut self) -> Result<(), CloseCause> {
        let ping_every = self.state.sessions.limits.ping_every;
        match self.heartbeat {
            Heartbeat::SendAt(_) => {
                self.heartbeat = Heartbeat::AnswerBy(now() + ping_every);
                self.send(Message::Ping(Bytes::new())).await
            }
            // The answer may be here, unread.
            Heartbeat::AnswerBy(_) => match self.socket.next().now_or_never() {
                Some(said) => self.hear(said.as_ref()),
                None => Err(close(CloseReason::NoPong)),
            },
        }
    }

    fn hear(&mut self, said: Option<&Result<Message, Error>>) -> Result<(), CloseCause> {
        match said {
            Some(Ok(Message::Pong(_))) => {
                self.heartbeat = Heartbeat::SendAt(now() + self.state.sessions.limits.ping_every);
                Ok(())
            }
            Some(Ok(Message::Close(close))) => Err(CloseCause::Closed(close.as_ref().map(|close| close.code.into()))),
            // Clients have nothing to tell, and the library answers pings.
            Some(Ok(_)) => Ok(()),
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Err(CloseCause::Gone),
            Some(Err(Error::Protocol(_))) => Err(CloseCause::Violated(BROKEN)),
            Some(Err(Error::Utf8(_))) => Err(CloseCause::Violated(NOT_UTF8)),
            Some(Err(Error::Capacity(_))) => Err(CloseCause::Violated(TOO_BIG)),
            Some(Err(_)) | None => Err(CloseCause::Gone),
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), CloseCause> {
        // A message that is given up is in the buffer, whole, and the goodbye comes behind it.
        tokio::select! {
            biased;
            () = self.state.drain.cancelled() => Err(close(CloseReason::Draining)),
            sent = timeout(self.state.sessions.limits.write_stall, self.socket.send(message)) => match sent {
                Ok(sent) => sent.map_err(|_| CloseCause::Gone),
                Err(_) => Err(close(CloseReason::TooSlow)),
            },
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Error> {
        self.socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await
    }

    /// Says goodbye, and waits until the client has closed too, though not for long.
    async fn part(&mut self, end: CloseCause) {
        let (drain, patience) = (self.state.drain.clone(), self.state.sessions.limits.write_stall.max(CLOSE_DEADLINE));
        let goodbye = async {
            let said = match end {
                CloseCause::Gone => return,
                // The library has the answer.
                CloseCause::Closed(_) => self.socket.flush().await,
                CloseCause::Violated(Violation { code, reason }) => self.close(code, reason).await,
                CloseCause::Local(reason) => self.close(reason.websocket_code(), reason.message()).await,
            };
            while said.is_ok() && self.socket.next().await.is_some_and(|said| said.is_ok()) {}
        };
        let stopping = async {
            drain.cancelled().await;
            sleep(CLOSE_DEADLINE).await;
        };
        tokio::select! { () = goodbye => {}, () = sleep(patience) => {}, () = stopping => {} }
    }
}

/// This moment, by tokio's clock.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn message(text: Bytes) -> Message {
    Message::Text(text.try_into().expect("the feed is made of text"))
}
