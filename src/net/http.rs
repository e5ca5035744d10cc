//! hyper's servers, with a bound on all sizes and times that a client controls.

use super::request_head::MAX_HEAD_BYTES;
use super::stall::SupervisedStreams;
use crate::session::Limits;
use crate::shutdown::Tasks;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use std::time::Duration;

/// Maximum number of concurrent requests on an HTTP/2 connection: the lowest value that RFC 9113 §6.5.2 recommends.
/// Client libraries queue further requests.
const MAX_STREAMS: u32 = 100;
/// Flow-control window of a stream, which is the number of bytes that a client may send before they are read. Requests
/// are small.
const STREAM_WINDOW_BYTES: u32 = 16 * 1024;
/// Flow-control window of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024;
/// Maximum number of bytes of one stream that are buffered until the client reads them.
const STREAM_BUFFER_BYTES: usize = 16 * 1024;
/// Maximum number of streams of a connection that the client reset before they were handled. If there are more, the
/// connection is closed (CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 20;
/// Maximum number of streams of a connection that the server reset because the client broke the protocol. If there are
/// more, the connection is closed (RUSTSEC-2024-0003).
const MAX_BROKEN_STREAMS: usize = 100;

/// Returns an HTTP/1 server that waits at most `head_deadline` for a request's head. A client that half-closes its
/// connection after a request, as `nc -N` does, still gets the response.
pub(crate) fn http1(head_deadline: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .half_close(true)
        .header_read_timeout(head_deadline)
        .max_buf_size(MAX_HEAD_BYTES.into());
    server
}

/// Returns an HTTP/2 server. It pings its clients, as a WebSocket does, because a client whose machine or network has
/// failed does not close its connection.
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
