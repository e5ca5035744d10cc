//! Accepts connections, and serves each of them from its first bytes to its end.

mod accept;
#[cfg(test)]
mod tests;

use super::buffered_stream::BufferedStream;
use super::client_memory::ClientMemory;
use super::client_stream::ClientStream;
use super::connection_limit::{ConnectionLimit, Permit};
use super::request_head::{self, Opening, OpeningKind};
use super::stall::{MonitoredBody, StallDetector};
use super::takeover::{Routed, Takeover};
use super::{http, socket};
use crate::admission::address_limits::AddressLimits;
use crate::admission::refusal::Refusal;
use crate::session::{CLOSE_DEADLINE, Limits};
use crate::shutdown::Tasks;
use crate::tls::{Tls, TlsConnection};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::BytesMut;
use hyper::body::Incoming;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

/// Time within which the head of a request must arrive. Over HTTP/1 it is also the maximum time between two
/// requests. After its first request, an HTTP/2 connection may be idle until [`MAX_AGE`].
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Age at which a connection accepts no more requests. Open streams and WebSockets are not affected.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Time that the last responses may take once the connection accepts no more requests and no stream is open.
const LAST_RESPONSE_DEADLINE: Duration = Duration::from_secs(30);

/// Port that is bound but not served yet.
pub(crate) struct Listener {
    socket: TcpListener,
    limit: ConnectionLimit,
    limits: Limits,
    head_deadline: Duration,
    max_age: Duration,
    /// The handoff of streams to the reactor, if this port serves streams.
    takeover: Option<Takeover>,
    /// TLS, if the port uses it.
    tls: Option<Arc<Tls>>,
    /// The router for requests that a limit refuses. The extensions of the request contain the [`Refusal`].
    overload: Router,
}

impl Listener {
    /// Binds `address`. At most `max_clients` clients are admitted. `addresses` has the limits of each client's
    /// address. `overload` answers the requests that a limit refuses.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub(crate) fn bind(
        address: SocketAddr,
        max_clients: usize,
        addresses: Arc<AddressLimits>,
        limits: Limits,
        overload: Router,
    ) -> io::Result<Listener> {
        let socket = TcpListener::from_std(socket::listen(address)?)?;
        let limit = ConnectionLimit::new(max_clients, addresses);
        let (head_deadline, max_age) = (HEAD_DEADLINE, MAX_AGE);
        Ok(Listener { socket, limit, limits, head_deadline, max_age, takeover: None, tls: None, overload })
    }

    /// Bounds the memory that clients occupy.
    pub(crate) fn with_memory(mut self, memory: Arc<ClientMemory>) -> Listener {
        self.limit.set_memory(memory);
        self
    }

    /// Sets the handoff of streams to the reactor.
    pub(crate) fn with_takeover(self, takeover: Takeover) -> Listener {
        Listener { takeover: Some(takeover), ..self }
    }

    /// Serves TLS instead of plain HTTP, if `tls` is given.
    pub(crate) fn with_tls(self, tls: Option<Arc<Tls>>) -> Listener {
        Listener { tls, ..self }
    }

    /// Returns the bound address.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Returns the limits of the clients' addresses.
    pub(crate) fn addresses(&self) -> &Arc<AddressLimits> {
        self.limit.addresses()
    }

    /// Returns a function that counts the clients.
    pub(crate) fn client_counter(&self) -> impl Fn() -> usize + Send + use<> {
        self.limit.counter()
    }
}

/// Admits the requests of a connection, and routes them.
#[derive(Clone)]
struct RequestRouter {
    permit: Permit,
    router: Router,
    overload: Router,
    /// Set if a limit refuses the whole connection. Every request then gets this refusal.
    refusal: Option<Refusal>,
}

impl RequestRouter {
    /// Admits or refuses a request. Returns the router for it, and the permit to hold while it is open.
    fn admit(&self, request: &mut Request<Body>) -> (&Router, Permit) {
        let admitted = self.refusal.map_or_else(|| self.permit.begin_request(request.headers()), Err);
        match admitted {
            Ok(permit) => (&self.router, permit),
            Err(refusal) => {
                request.extensions_mut().insert(refusal);
                (&self.overload, self.permit.clone())
            }
        }
    }

    /// Passes a request from hyper through its router. Also returns the permit to hold until the response is sent.
    fn route(&self, request: Request<Incoming>) -> (impl Future<Output = Response<Body>> + use<>, Permit) {
        let mut request = request.map(Body::new);
        let (router, permit) = self.admit(&mut request);
        request.extensions_mut().insert(permit.clone());
        let routing = router.clone().oneshot(request);
        let response = async {
            let Ok(response) = routing.await;
            response
        };
        (response, permit)
    }
}

/// A client's connection.
struct AcceptedConnection {
    requests: RequestRouter,
    head_deadline: Duration,
    max_age: Duration,
    limits: Limits,
    tasks: Tasks,
    takeover: Option<Takeover>,
    tls: Option<Arc<Tls>>,
    /// Cancelled when the port closes. The connection then ends after its last open request or stream.
    closing: CancellationToken,
}

impl AcceptedConnection {
    /// Serves the connection. `first` are the bytes that have been read.
    async fn serve(self, socket: TcpStream, first: BytesMut, stop: CancellationToken) {
        let Some(tls) = &self.tls else { return self.serve_first(ClientStream::Left(socket), first, &stop).await };
        // Boxed, because otherwise the future of every connection would be as large as that of a handshake.
        match stop.run_until_cancelled(Box::pin(tls.accept(socket, first.into()))).await {
            Some(Ok(TlsConnection::Http1(stream))) => {
                self.serve_first(ClientStream::Right(stream), BytesMut::new(), &stop).await;
            }
            Some(Ok(TlsConnection::Http2(stream))) => {
                let served = Box::pin(self.serve_http2(TokioIo::new(*stream), &stop)).await;
                self.log_end(Some(served), "");
            }
            Some(Err(error)) => debug!(peer = %self.requests.permit.peer(), %error, "no TLS connection"),
            None => {}
        }
    }

    /// Serves a connection from the first bytes of its first request, some of which may have been read.
    async fn serve_first(&self, mut socket: ClientStream, first: BytesMut, stop: &CancellationToken) {
        let reading = timeout(self.head_deadline, request_head::read(&mut socket, first));
        let opening = stop.run_until_cancelled(reading).await;
        let Some(Ok(Ok(Some(Opening { buffer, kind })))) = opening else { return };
        let is_http2 = matches!(kind, OpeningKind::Http2);
        let mut response = None;
        if let (Some(takeover), OpeningKind::Get { mut request, head_bytes }) = (&self.takeover, kind)
            && takeover.applies_to(&request)
        {
            let (router, permit) = self.requests.admit(&mut request);
            // No timeout is needed here, because every request to the store has a timeout of its own.
            match stop.run_until_cancelled(takeover.route(*request, &permit, router)).await {
                Some(Routed::Stream(stream)) => {
                    return takeover.adopt(socket, *stream, permit, &buffer[head_bytes..]);
                }
                Some(Routed::Response(routed)) => response = Some((routed, permit)),
                None => return,
            }
        }
        let (stream, detector) = (TokioIo::new(BufferedStream::new(buffer, socket)), Arc::<StallDetector>::default());
        let served = if is_http2 {
            // Boxed, because otherwise the future of every HTTP/1 connection would be larger by many kilobytes.
            Some(Box::pin(self.serve_http2(stream, stop)).await)
        } else {
            self.serve_http1(stream, response, &detector, stop).await
        };
        self.log_end(served, detector.request_id());
    }

    /// Logs why a connection ended, unless it ended normally. `request_id` is the id of its first request over HTTP/1.
    fn log_end(&self, served: Option<hyper::Result<()>>, request_id: &str) {
        let peer = self.requests.permit.peer();
        match served {
            Some(Ok(())) => {}
            // The kernel's timeout (`set_user_timeout`) may end before that of the detector.
            Some(Err(error)) if is_timeout(&error) => {
                debug!(%peer, request_id, "connection closed: the client reads nothing");
            }
            Some(Err(error)) => debug!(%peer, request_id, %error, "connection ended early"),
            None => debug!(%peer, request_id, "connection closed: the client reads nothing"),
        }
    }

    /// Serves HTTP/1. If the first request has already been routed, `routed` is its response and its permit. Returns
    /// the result of the connection, or `None` if its client read nothing for too long or a response was reset.
    async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: TokioIo<S>,
        routed: Option<(Response<Body>, Permit)>,
        detector: &Arc<StallDetector>,
        stop: &CancellationToken,
    ) -> Option<hyper::Result<()>> {
        let (requests, monitor, routed) = (self.requests.clone(), detector.clone(), Mutex::new(routed));
        let service = service_fn(move |request| {
            let routed = routed.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (requests, monitor) = (requests.clone(), monitor.clone());
            async move {
                let (response, permit) = if let Some(routed) = routed {
                    routed
                } else {
                    let (routing, permit) = requests.route(request);
                    (routing.await, permit)
                };
                let memory = permit.memory().clone();
                Ok::<_, Infallible>(MonitoredBody::wrap(response, &memory, monitor, permit))
            }
        });
        let connection = http::http1(self.head_deadline).serve_connection(stream, service);
        let serving = self.drive(connection.with_upgrades(), UpgradeableConnection::graceful_shutdown, stop);
        detector.supervise(self.limits.write_stall, serving).await
    }

    async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: TokioIo<S>,
        stop: &CancellationToken,
    ) -> hyper::Result<()> {
        let requests = self.requests.clone();
        let service = service_fn(move |request| {
            let (routing, permit) = requests.route(request);
            // Over HTTP/2, each request has a task and a `StallDetector` of its own. This future runs in that task.
            async move {
                let response = routing.await;
                let memory = permit.memory().clone();
                Ok::<_, Infallible>(MonitoredBody::wrap(response, &memory, StallDetector::current(), permit))
            }
        });
        let connection = http::http2(self.tasks.clone(), &self.limits).serve_connection(stream, service);
        let idle = async {
            sleep(self.head_deadline).await;
            if self.requests.permit.has_begun() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            served = self.drive(connection, http2::Connection::graceful_shutdown, stop) => served,
            () = idle => Ok(()),
        }
    }

    /// Drives the connection to its end. If it is too old or the replica stops, it accepts no more requests, and ends
    /// when the open ones are answered, or after a deadline.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        connection: C,
        shut_down: impl FnOnce(Pin<&mut C>),
        stop: &CancellationToken,
    ) -> hyper::Result<()> {
        let mut connection = pin!(connection);
        tokio::select! {
            // The connection comes first: it may have a request in its buffer, which would not be answered otherwise.
            biased;
            served = connection.as_mut() => return served,
            () = self.closing.cancelled() => {}
            () = stop.cancelled() => {}
            () = sleep(self.max_age) => {}
        }
        shut_down(connection.as_mut());
        let last_response = async {
            // Open streams have no time limit here. Only `stop` ends this wait early.
            tokio::select! { () = self.requests.permit.streams_ended() => {}, () = stop.cancelled() => {} }
            // A client that does not read its response must not delay the stop of the replica.
            tokio::select! {
                () = sleep(LAST_RESPONSE_DEADLINE) => self.requests.permit.streams_ended().await,
                () = async { stop.cancelled().await; sleep(CLOSE_DEADLINE).await } => {}
            }
        };
        tokio::select! { served = connection => served, () = last_response => Ok(()) }
    }
}

/// Returns true if the kernel dropped the connection because the peer acknowledged nothing for too long.
fn is_timeout(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}
