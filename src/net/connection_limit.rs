//! Bound on the number of clients. Over HTTP/1 each connection counts as a client. Over HTTP/2 each concurrent request does;
//! otherwise a single connection could hold any number of subscriptions and long responses.

use super::stall::StallDetector;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections over the limit that are refused with a response at any one time. More are closed at once.
const MAX_REFUSALS: usize = 64;

/// Permits for clients, and for refusals.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    clients: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// Decision on a new connection.
pub(crate) enum Admission {
    /// The client is admitted.
    Admitted(Permit),
    /// The limit is reached. The permit covers the refusal.
    Refused(Permit),
}

/// Permit of a connection, or of one of its concurrent requests. It is returned when the last clone is dropped. It also
/// carries the peer's address.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    connection: Arc<ConnectionPermit>,
    _request: Option<Arc<RequestPermit>>,
}

#[derive(Debug)]
struct ConnectionPermit {
    peer: SocketAddr,
    /// Source of permits for further requests of this connection.
    clients: Arc<Semaphore>,
    /// One permit for the connection, and one for each concurrent request after the first.
    held: Mutex<Vec<OwnedSemaphorePermit>>,
    requests: AtomicUsize,
    /// True if there has been a request.
    has_begun: AtomicBool,
    streams: AtomicUsize,
    /// Notified when the last stream has ended.
    idle: Notify,
}

/// Guard of a request in flight. A connection may have several.
#[derive(Debug)]
struct RequestPermit(Arc<ConnectionPermit>);

/// Guard of a response without an end. While it is held, `MAX_AGE` does not close its connection.
#[derive(Debug)]
pub(crate) struct StreamGuard {
    connection: Arc<ConnectionPermit>,
    detector: Arc<StallDetector>,
}

impl ConnectionLimit {
    pub(crate) fn new(limit: usize) -> ConnectionLimit {
        // A semaphore has fewer permits than a usize has values, and a process has fewer descriptors than either.
        let clients = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        ConnectionLimit { clients, refusals: Arc::new(Semaphore::new(MAX_REFUSALS)) }
    }

    /// Admits or refuses the connection from `peer`. Returns `None` if there is no permit even for a refusal.
    pub(crate) fn admit(&self, peer: SocketAddr) -> Option<Admission> {
        let permit = |held| Permit::new(peer, self.clients.clone(), held);
        if let Ok(held) = self.clients.clone().try_acquire_owned() {
            return Some(Admission::Admitted(permit(held)));
        }
        self.refusals.clone().try_acquire_owned().ok().map(|held| Admission::Refused(permit(held)))
    }
}

impl Permit {
    fn new(peer: SocketAddr, clients: Arc<Semaphore>, held: OwnedSemaphorePermit) -> Permit {
        let (requests, streams) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let held = Mutex::new(vec![held]);
        let (has_begun, idle) = (AtomicBool::new(false), Notify::new());
        let connection = ConnectionPermit { peer, clients, held, requests, has_begun, streams, idle };
        Permit { connection: Arc::new(connection), _request: None }
    }

    /// Returns a permit for requests that come over no connection. There is no limit for them.
    pub(crate) fn unlimited() -> Permit {
        let clients = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let held = clients.clone().try_acquire_owned().expect("a new semaphore has permits");
        Permit::new(SocketAddr::from(([0; 4], 0)), clients, held)
    }

    /// Returns the address that the connection came from.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.connection.peer
    }

    /// Returns a permit to hold while a request is in flight, or `None` if the limit is reached. The first of several
    /// concurrent requests uses the permit of its connection.
    pub(crate) fn begin_request(&self) -> Option<Permit> {
        let connection = &self.connection;
        connection.has_begun.store(true, Ordering::Relaxed);
        if connection.requests.fetch_add(1, Ordering::Relaxed) > 0 {
            let Ok(permit) = connection.clients.clone().try_acquire_owned() else {
                connection.requests.fetch_sub(1, Ordering::Relaxed);
                return None;
            };
            connection.held.lock().unwrap_or_else(PoisonError::into_inner).push(permit);
        }
        let request = Some(Arc::new(RequestPermit(connection.clone())));
        Some(Permit { connection: connection.clone(), _request: request })
    }

    /// Returns whether a request has begun on the connection.
    pub(crate) fn has_begun(&self) -> bool {
        self.connection.has_begun.load(Ordering::Relaxed)
    }

    /// Returns a guard to hold while a response without an end is streamed. Call it in the task that handles the request:
    /// only that task knows the HTTP/2 stream of the response.
    pub(crate) fn stream_guard(&self) -> StreamGuard {
        self.connection.streams.fetch_add(1, Ordering::Relaxed);
        StreamGuard { connection: self.connection.clone(), detector: StallDetector::current() }
    }

    /// Waits until no stream is open.
    pub(crate) async fn streams_ended(&self) {
        while self.connection.streams.load(Ordering::Relaxed) > 0 {
            // `Notify` keeps the notification of a stream that has ended in the meantime.
            self.connection.idle.notified().await;
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::Relaxed) > 1 {
            self.0.held.lock().unwrap_or_else(PoisonError::into_inner).pop();
        }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.detector.finish();
        if self.connection.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.connection.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    fn admit(limit: &ConnectionLimit) -> Permit {
        match limit.admit(PEER) {
            Some(Admission::Admitted(permit)) => permit,
            Some(Admission::Refused(_)) => panic!("refused"),
            None => panic!("closed"),
        }
    }

    #[test]
    fn each_concurrent_request_is_a_client() {
        let limit = ConnectionLimit::new(3);
        let taken = || 3 - limit.clients.available_permits();
        let permit = admit(&limit);
        let first = permit.begin_request().unwrap();
        assert_eq!(taken(), 1, "the first request uses the permit of its connection");
        let others = [permit.begin_request().unwrap(), permit.begin_request().unwrap()];
        assert_eq!(taken(), 3);
        assert!(permit.begin_request().is_none());
        assert!(matches!(limit.admit(PEER), Some(Admission::Refused(_))), "a connection is over the limit as well");
        assert_eq!(taken(), 3, "a refusal takes no permit of a client");
        drop(first);
        assert_eq!(taken(), 2);
        drop((others, permit));
        assert_eq!(taken(), 0);
    }

    #[test]
    fn refusals_take_no_place_from_clients() {
        let limit = ConnectionLimit::new(1);
        let client = admit(&limit);
        let refused: Vec<_> = (0..MAX_REFUSALS).map(|_| limit.admit(PEER).unwrap()).collect();
        assert!(refused.iter().all(|admission| matches!(admission, Admission::Refused(_))));
        assert!(limit.admit(PEER).is_none());
        drop(client);
        admit(&limit);
    }

    #[test]
    fn permit_carries_the_peer_address() {
        let permit = admit(&ConnectionLimit::new(1));
        assert_eq!(permit.begin_request().unwrap().peer(), PEER);
    }

    #[tokio::test]
    async fn streams_have_ended_when_the_last_guard_is_dropped() {
        let permit = admit(&ConnectionLimit::new(9));
        permit.streams_ended().await;
        let [one, other] = [permit.stream_guard(), permit.stream_guard()];
        let waiting = permit.streams_ended();
        tokio::pin!(waiting);
        drop(one);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(other);
        waiting.await;
    }
}
