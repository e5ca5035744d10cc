//! Accepts connections and speaks HTTP on them, with a bound on everything that a client could make large or long.

mod flow;
mod front;
mod gate;
mod protocol;
#[cfg(test)]
mod tests;

pub(super) use front::{Front, Slot};
pub(super) use gate::{OpenStream, Peer};

use super::{Cors, FAREWELL, full};
use crate::session::Limits;
use crate::shutdown::Tasks;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use flow::{Flow, Watched};
use gate::Gate;
use hyper::body::Incoming;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use protocol::Protocol;
use socket2::{Domain, Protocol as Transport, SockRef, Socket, Type};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

/// How long a request's head may take to come, and a connection to stay without one.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection may serve requests before it is asked to close, and how long the last answer may then take. A
/// connection that became a WebSocket is not concerned, and answers that stream are waited for.
const LIFETIME: Duration = Duration::from_secs(300);
const LAST_ANSWER: Duration = Duration::from_secs(30);
/// The lifetime of a connection over the limit.
const REFUSED_LIFETIME: Duration = Duration::from_secs(2);
/// Connections that wait to be accepted: as many as the kernel allows (`net.core.somaxconn`). One for which there is no room tries
/// again after a second, which is long where thousands come back at once.
const BACKLOG: i32 = 65_535;
/// The kernel's buffer for what a client has not read yet. Without a bound it grows to 4 MiB for a slow client.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// The pause after an accept that failed.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A port that is bound and not yet served.
pub(super) struct Listener {
    socket: TcpListener,
    gate: Arc<Gate>,
    limits: Limits,
    lifetime: Duration,
    /// What answers streams, where there are any.
    front: Option<Front>,
    /// What answers those for whom there is no place.
    full: Router,
}

impl Listener {
    /// Binds `address` for at most `limit` clients, each of which is allowed what `limits` say.
    pub(super) fn bind(address: SocketAddr, limit: usize, limits: Limits) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Transport::TCP))?;
        socket.set_reuse_address(true)?;
        // Accepted connections inherit it.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into())?;
        let (gate, full) = (Gate::new(limit), full::router());
        Ok(Listener { socket, gate, limits, lifetime: LIFETIME, front: None, full })
    }

    /// With something that answers streams.
    pub(super) fn with_front(self, front: Front) -> Listener {
        Listener { front: Some(front), ..self }
    }

    /// With refusals that pages of these origins may read: an `EventSource` that may not read its answer gives up for good.
    pub(super) fn with_cors(self, cors: &Cors) -> Listener {
        Listener { full: self.full.layer(cors.layer()), ..self }
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves `router` until `stop`, then lets answers under way finish.
    pub(super) async fn serve(self, router: Router, tasks: Tasks, stop: CancellationToken) {
        while let Some(accepted) = stop.run_until_cancelled(self.socket.accept()).await {
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "a connection cannot be accepted");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let stall = Some(self.limits.write_stall);
            if let Err(error) = stream.set_nodelay(true).and_then(|()| bound_silence(&stream, stall)) {
                debug!(%error, "a connection was gone before it was served");
                continue;
            }
            if let Some((peer, allowed)) = self.gate.enter() {
                let (router, lifetime) =
                    if allowed { (router.clone(), self.lifetime) } else { (self.full.clone(), REFUSED_LIFETIME) };
                let front = self.front.clone().filter(|_| allowed);
                let full = self.full.clone();
                let connection = Connection { peer, lifetime, limits: self.limits, tasks: tasks.clone(), front, full };
                let stop = stop.clone();
                tasks.spawn(connection.serve(stream, router, stop));
            }
        }
    }
}

/// A client's connection.
struct Connection {
    peer: Peer,
    lifetime: Duration,
    limits: Limits,
    tasks: Tasks,
    front: Option<Front>,
    full: Router,
}

impl Connection {
    async fn serve(self, stream: TcpStream, router: Router, stop: CancellationToken) {
        // At the end of either time it has asked for nothing.
        let begun = stop.run_until_cancelled(timeout(HEAD_DEADLINE.min(self.lifetime), Protocol::of(&stream))).await;
        let Some(Ok(Ok(protocol))) = begun else { return };
        let stream = match (&self.front, &protocol) {
            (Some(front), Protocol::Http1) => match front.answer(stream, &self.peer, &router, &stop).await {
                Some(stream) => stream,
                None => return,
            },
            _ => stream,
        };
        let served = match protocol {
            Protocol::Http1 => self.serve_http1(stream, router, &stop).await,
            // Boxed, or its many kilobytes would be kept for every connection that is not one.
            Protocol::Http2 => Some(Box::pin(self.serve_http2(stream, router, &stop)).await),
        };
        match served {
            Some(Ok(())) => {}
            Some(Err(error)) => debug!(%error, "a connection ended early"),
            None => debug!("a connection is closed whose client takes nothing"),
        }
    }

    /// How it ended; `None` if its client took nothing.
    async fn serve_http1(
        &self,
        stream: TcpStream,
        router: Router,
        stop: &CancellationToken,
    ) -> Option<hyper::Result<()>> {
        let (peer, flow) = (self.peer.clone(), Arc::<Flow>::default());
        let watched = flow.clone();
        let service = service_fn(move |request| {
            let (answering, flow) = (answer(request, router.clone(), peer.clone()), watched.clone());
            async { Ok::<_, Infallible>(watch(answering.await.into_response(), flow, None)) }
        });
        let connection = protocol::http1(HEAD_DEADLINE).serve_connection(TokioIo::new(stream), service);
        let live = self.live(connection.with_upgrades(), UpgradeableConnection::graceful_shutdown, stop);
        flow.watch(self.limits.write_stall, live).await
    }

    async fn serve_http2(&self, stream: TcpStream, router: Router, stop: &CancellationToken) -> hyper::Result<()> {
        let (peer, full) = (self.peer.clone(), self.full.clone());
        let service = service_fn(move |request| {
            let begun = peer.begin();
            let router = if begun.is_some() { router.clone() } else { full.clone() };
            let answering = answer(request, router, begun.as_ref().unwrap_or(&peer).clone());
            // Run by the stream's own task.
            async {
                let response = answering.await.into_response();
                Ok::<_, Infallible>(watch(response, protocol::stream_flow(), begun))
            }
        });
        let connection =
            protocol::http2(self.tasks.clone(), &self.limits).serve_connection(TokioIo::new(stream), service);
        self.live(connection, http2::Connection::graceful_shutdown, stop).await
    }

    /// Drives the connection until it ends, is too old, or `stop`; then it takes no more requests, and ends when those
    /// that it has are answered.
    async fn live<C: Future<Output = hyper::Result<()>>>(
        &self,
        connection: C,
        take_no_more: impl FnOnce(Pin<&mut C>),
        stop: &CancellationToken,
    ) -> hyper::Result<()> {
        let mut connection = pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return served,
            () = stop.cancelled() => {}
            () = sleep(self.lifetime) => {}
        }
        take_no_more(connection.as_mut());
        let last_answer = async {
            // Streams have no end but the client's, or `stop`.
            tokio::select! { () = self.peer.without_streams() => {}, () = stop.cancelled() => {} }
            // One that does not take what it is sent cannot hold up the replica's end.
            tokio::select! {
                () = sleep(LAST_ANSWER) => self.peer.without_streams().await,
                () = async { stop.cancelled().await; sleep(FAREWELL).await } => {}
            }
        };
        tokio::select! { served = connection => served, () = last_answer => Ok(()) }
    }
}

/// Has the kernel give a connection up whose client acknowledges nothing of what it is sent for so long. Other systems than
/// Linux have no such bound; there the bounds on stalled answers have to do.
pub(super) fn bound_silence(socket: &impl AsFd, bound: Option<Duration>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_user_timeout(bound)?;
    #[cfg(not(target_os = "linux"))]
    let (_, _) = (SockRef::from(socket), bound);
    Ok(())
}

fn answer(
    mut request: Request<Incoming>,
    router: Router,
    peer: Peer,
) -> impl Future<Output = Result<Response, Infallible>> {
    request.extensions_mut().insert(peer);
    router.oneshot(request.map(Body::new))
}

fn watch(response: Response, flow: Arc<Flow>, request: Option<Peer>) -> Response {
    response.map(|body| Body::new(Watched::new(body, flow, request)))
}
