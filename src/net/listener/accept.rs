//! Accepts connections, and starts to serve each of them as soon as its client is known.

use super::super::connection_limit::Admission;
use super::super::proxy_protocol::{self, HeaderFailures, NewConnection, ProxyHeaderError};
use super::super::socket;
use super::{AcceptedConnection, Listener, RequestRouter};
use crate::shutdown::Tasks;
use crate::telemetry::FaultLog;
use axum::Router;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Maximum lifetime of a connection that is refused because a limit is reached.
pub(super) const REFUSED_MAX_AGE: Duration = Duration::from_secs(2);
/// Pause after an accept that failed.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Port that is served.
struct Port {
    listener: Listener,
    router: Router,
    tasks: Tasks,
    closing: CancellationToken,
    stop: CancellationToken,
    /// Connections without a valid PROXY header.
    failures: HeaderFailures,
}

impl Listener {
    /// Serves `router`. When `closing` is cancelled, accepts no more connections, and each connection ends after its
    /// last open request or stream. When `stop` is cancelled, open responses must end within
    /// [`CLOSE_DEADLINE`](crate::session::CLOSE_DEADLINE).
    pub(crate) async fn serve(self, router: Router, tasks: Tasks, closing: CancellationToken, stop: CancellationToken) {
        let (addresses, end) = (self.limit.addresses().clone(), stop.clone());
        tasks.spawn(async move { end.run_until_cancelled(addresses.keep_small()).await.unwrap_or_default() });
        let port = Arc::new(Port { listener: self, router, tasks, closing, stop, failures: HeaderFailures::default() });
        let Port { listener, closing, .. } = &*port;
        let addresses = listener.limit.addresses();
        let mut fault = FaultLog::default();
        while let Some(accepted) = closing.run_until_cancelled(listener.socket.accept()).await {
            let (stream, peer) = match accepted {
                Ok(accepted) => {
                    fault.clear();
                    accepted
                }
                Err(error) => {
                    if fault.is_due() {
                        warn!(%error, next = "trying again every 50 ms", "cannot accept a connection, retrying");
                    }
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let options = stream.set_nodelay(true);
            if let Err(error) =
                options.and_then(|()| socket::set_user_timeout(&stream, Some(listener.limits.write_stall)))
            {
                debug!(%peer, %error, "connection lost before it was served");
                continue;
            }
            let new = NewConnection::new(peer, addresses.proxies());
            if !addresses.has_proxy_protocol() {
                port.start(stream, new);
            } else if new.is_proxied {
                port.tasks.spawn(port.clone().start_proxied(stream, peer));
            } else {
                port.failures.add(peer, &ProxyHeaderError::Untrusted);
            }
        }
    }
}

impl Port {
    /// Starts to serve a connection. If a limit is reached, the client only gets a response that says so. If too many
    /// clients are already getting such a response, closes the connection at once.
    fn start(&self, stream: TcpStream, new: NewConnection) {
        let Port { listener, router, tasks, closing, stop, .. } = self;
        let (permit, takeover, refusal) = match listener.limit.admit(new.peer, new.is_proxied) {
            Some(Admission::Admitted(permit)) => (permit, listener.takeover.clone(), None),
            Some(Admission::Refused(permit, refusal)) => (permit, None, Some(refusal)),
            None => return,
        };
        let is_refused = refusal.is_some();
        let requests = RequestRouter { permit, router: router.clone(), overload: listener.overload.clone(), refusal };
        let connection = AcceptedConnection {
            requests,
            head_deadline: listener.head_deadline,
            max_age: listener.max_age,
            limits: listener.limits,
            tasks: tasks.clone(),
            takeover,
            tls: listener.tls.clone(),
            closing: closing.clone(),
        };
        let serving = connection.serve(stream, new.first, stop.clone());
        if is_refused {
            tasks.spawn(async { timeout(REFUSED_MAX_AGE, serving).await.unwrap_or_default() });
        } else {
            tasks.spawn(serving);
        }
    }

    /// Reads the PROXY header of a connection from the proxy `peer`, and then starts to serve the connection.
    async fn start_proxied(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr) {
        let Some(held) = self.listener.limit.hold(peer) else { return };
        let reading = proxy_protocol::read(&mut stream, peer, self.listener.head_deadline);
        match self.stop.run_until_cancelled(reading).await {
            Some(Ok(new)) => {
                drop(held);
                self.start(stream, new);
            }
            Some(Err(error)) => self.failures.add(peer, &error),
            None => {}
        }
    }
}
