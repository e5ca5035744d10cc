//! Which HTTP a client speaks, and how far each goes.
//!
//! A client that knows that it wants HTTP/2 begins with a line that no HTTP/1 request begins with (RFC 9113 §3.4). That is
//! looked at and left where it is, so that the socket goes to either server as it came.

use super::flow::Flow;
use crate::session::Limits;
use crate::shutdown::Tasks;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tracing::debug;

/// The longest request head.
const HEAD_BYTES: u16 = 16 * 1024;
/// What an HTTP/2 connection begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The pause before another look where only a part of it is there: the socket says "readable" all the time.
const PREFACE_POLL: Duration = Duration::from_millis(20);
/// Requests that an HTTP/2 client may have open at once; the least that RFC 9113 §6.5.2 recommends. Its library holds back
/// more.
const STREAMS: u32 = 100;
/// What a client may send before it is read: requests here are small.
const STREAM_WINDOW_BYTES: u32 = 16 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024;
/// What may wait in one stream for its client to read.
const STREAM_BUFFER_BYTES: usize = 16 * 1024;
/// Streams that a client opened and reset at once and nobody has looked at, and streams that it broke: beyond that the
/// connection is closed (CVE-2023-44487 and its like).
const RESET_STREAMS: usize = 20;
const BROKEN_STREAMS: usize = 100;

pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Which of the two a client speaks, by what it sends first.
    pub(super) async fn of(stream: &TcpStream) -> io::Result<Protocol> {
        let mut begin = [0; PREFACE.len()];
        loop {
            let len = stream.peek(&mut begin).await?;
            if len == 0 || begin[..len] != PREFACE[..len] {
                return Ok(Protocol::Http1);
            }
            if len == PREFACE.len() {
                return Ok(Protocol::Http2);
            }
            // Whoever has sent its end sends no more of it.
            if stream.ready(Interest::READABLE).await?.is_read_closed() {
                return Ok(Protocol::Http1);
            }
            sleep(PREFACE_POLL).await;
        }
    }
}

/// An HTTP/1 server that waits for a request's head for `head_deadline`.
pub(super) fn http1(head_deadline: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head_deadline).max_buf_size(HEAD_BYTES.into());
    server
}

/// An HTTP/2 server. It pings its clients as the WebSocket does: one whose machine is gone sends nothing, not even a reset.
pub(super) fn http2(tasks: Tasks, limits: &Limits) -> http2::Builder<Streams> {
    let mut server = http2::Builder::new(Streams { tasks, stall: limits.write_stall });
    server
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES.into())
        .max_concurrent_streams(STREAMS)
        // WebSockets (RFC 8441).
        .enable_connect_protocol()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(BROKEN_STREAMS)
        .keep_alive_interval(limits.ping_every)
        .keep_alive_timeout(limits.ping_every);
    server
}

/// Runs each stream of an HTTP/2 connection as a task of its own, and ends it when its client takes nothing: the client
/// gets a reset, and its other streams go on. A stream that became a WebSocket goes on in a second task, which shares the flow
/// of the first.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: Tasks,
    stall: Duration,
}

tokio::task_local! {
    /// The flow of the stream whose task this is. The server makes the task and the request's answer separately, and this
    /// is what they have in common.
    static FLOW: Arc<Flow>;
}

/// The flow of the stream whose task this is; a new one, if it is no stream's.
pub(super) fn stream_flow() -> Arc<Flow> {
    FLOW.try_with(Arc::clone).unwrap_or_default()
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (stall, flow) = (self.stall, stream_flow());
        self.tasks.spawn(async move {
            if flow.watch(stall, FLOW.scope(flow.clone(), stream)).await.is_none() {
                debug!("a stream is reset whose client takes nothing");
            }
        });
    }
}
