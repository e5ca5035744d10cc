//! Accepts connections and speaks HTTP on them, with a bound on everything that a client could make large or long.

use super::problem::Problem;
use crate::shutdown::Tasks;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

/// How long a request's head may take to come, and a connection to stay without one.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// The longest request head.
const HEAD_BYTES: usize = 16 * 1024;
/// How long a connection may serve requests before it is asked to close, and how long the last answer may then take. A
/// connection that became a WebSocket is not concerned.
const LIFETIME: Duration = Duration::from_secs(300);
const LAST_ANSWER: Duration = Duration::from_secs(30);
/// Connections over the limit that are told so at any one time; more are closed without a word.
const REFUSALS: usize = 64;
/// Connections that wait to be accepted; the kernel's own bound (`net.core.somaxconn`) may be lower.
const BACKLOG: i32 = 4096;
/// The kernel's buffer for what a client has not read yet. Without a bound it grows to 4 MiB for a slow client.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// How long sent data may stay unacknowledged before the connection is given up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// The pause after an accept that failed.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A port that is bound and not yet served.
pub(super) struct Listener {
    listener: TcpListener,
    gate: Arc<Gate>,
}

/// How many connections there may be, and are.
#[derive(Debug)]
struct Gate {
    limit: usize,
    open: AtomicUsize,
}

/// A connection's place among those that are allowed, given back when the last copy of it is dropped.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    _place: Arc<Place>,
}

#[derive(Debug)]
struct Place(Arc<Gate>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// A place, and whether it is within the limit; `None` if there is none even for a refusal.
    fn enter(self: &Arc<Gate>) -> Option<(Peer, bool)> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.clone());
        (before < self.limit + REFUSALS).then(|| (Peer { _place: Arc::new(place) }, before < self.limit))
    }
}

impl Listener {
    /// Binds `address` for at most `limit` connections.
    pub(super) fn bind(address: SocketAddr, limit: usize) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Accepted connections inherit it.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let gate = Arc::new(Gate { limit, open: AtomicUsize::new(0) });
        Ok(Listener { listener: TcpListener::from_std(socket.into())?, gate })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `router` until `stop`, then lets answers under way finish.
    pub(super) async fn serve(self, router: Router, tasks: Tasks, stop: CancellationToken) {
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "a connection cannot be accepted");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            if let Some((peer, allowed)) = self.gate.enter() {
                let router = if allowed { router.clone() } else { full() };
                tasks.spawn(serve_connection(stream, router, peer, stop.clone()));
            }
        }
    }
}

/// What a connection over the limit gets, whatever it asks for.
fn full() -> Router {
    Router::new().fallback(async || {
        let problem = Problem::unavailable("this replica has all the connections that it takes, try again in a while");
        problem.with(&[(CONNECTION, "close")])
    })
}

async fn serve_connection(stream: TcpStream, router: Router, peer: Peer, stop: CancellationToken) {
    let socket = SockRef::from(&stream);
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))) {
        debug!(%error, "a connection was gone before it was served");
        return;
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let answering = router.clone().oneshot(request.map(Body::new));
        async { Ok::<Response, Infallible>(answering.await.into_response()) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = async { tokio::select! { () = stop.cancelled() => {}, () = sleep(LIFETIME) => {} } } => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(%error, "a connection ended early");
    }
}
