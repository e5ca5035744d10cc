//! hyper's servers, with a bound on everything that a client could make large or long.

use super::request_head::MAX_HEAD_BYTES;
use super::stall::SupervisedStreams;
use crate::session::Limits;
use crate::shutdown::Tasks;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use std::time::Duration;

/// Concurrent requests of an HTTP/2 client: the least that RFC 9113 §6.5.2 recommends. Its library holds back more.
const MAX_STREAMS: u32 = 100;
/// Flow control windows: what a client may send before it is read. Requests are small.
const STREAM_WINDOW_BYTES: u32 = 16 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024;
/// Data of one stream that may wait for its client to read.
const STREAM_BUFFER_BYTES: usize = 16 * 1024;
/// Streams that a client opened and reset at once and that are not handled yet, and streams that it broke. Beyond that
/// the connection is closed (CVE-2023-44487 and its like).
const MAX_RESET_STREAMS: usize = 20;
const MAX_BROKEN_STREAMS: usize = 100;

/// Returns an HTTP/1 server that waits `head_deadline` for a request's head. A client that half-closes its connection
/// after a request, as `nc -N` does, still gets the response.
pub(crate) fn http1(head_deadline: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .half_close(true)
        .header_read_timeout(head_deadline)
        .max_buf_size(MAX_HEAD_BYTES.into());
    server
}

/// Returns an HTTP/2 server. It pings its clients as a WebSocket does: a client whose machine is gone sends nothing, not
/// even a reset.
pub(crate) fn http2(tasks: Tasks, limits: &Limits) -> http2::Builder<SupervisedStreams> {
    let mut server = http2::Builder::new(SupervisedStreams::new(tasks, limits.write_stall));
    server
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES.into())
        .max_concurrent_streams(MAX_STREAMS)
        // WebSockets (RFC 8441).
        .enable_connect_protocol()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_BROKEN_STREAMS)
        .keep_alive_interval(limits.ping_every)
        .keep_alive_timeout(limits.ping_every);
    server
}
