//! Bound on the number of clients. Over HTTP/1, each connection counts as a client. Over HTTP/2, each concurrent
//! request counts as one. Otherwise a single connection could have any number of subscriptions and long responses. Each
//! client also counts for its address ([`AddressLimits`]). On a connection from a trusted proxy, each request has an
//! address of its own.

use super::client_memory::ClientMemory;
use super::stall::StallDetector;
use crate::admission::address_limits::{AddressLimits, AddressPlace, ReadPlace};
use crate::admission::refusal::{Limit, Refusal};
use axum::http::HeaderMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Maximum number of connections that are being refused with a response at the same time. Further ones are closed at
/// once.
const MAX_REFUSALS: usize = 64;

/// Permits for clients, and for refusals.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    limit: usize,
    places: Places,
    refusals: Arc<Semaphore>,
}

/// Decision on a new connection.
pub(crate) enum Admission {
    /// The client is admitted.
    Admitted(Permit),
    /// A limit is reached. The permit covers the refusal.
    Refused(Permit, Refusal),
}

/// Permit of a connection, or of one of its requests. It is returned when the last clone is dropped. It also contains
/// the address of the client.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    connection: Arc<ConnectionPermit>,
    client: IpAddr,
    request: Option<Arc<RequestPermit>>,
}

/// What all connections share: the limits from which places are taken, and the memory that clients occupy.
#[derive(Clone, Debug)]
struct Places {
    clients: Arc<Semaphore>,
    addresses: Arc<AddressLimits>,
    memory: Arc<ClientMemory>,
}

/// Place of one client in the limit of all clients, or of one refusal. The place of a client also counts for its
/// address. On a connection from a trusted proxy it does not, because each request counts for an address of its own.
#[derive(Debug)]
struct Place {
    _client: OwnedSemaphorePermit,
    _address: Option<AddressPlace>,
}

#[derive(Debug)]
struct ConnectionPermit {
    peer: SocketAddr,
    /// True if the peer is a trusted proxy.
    is_proxied: bool,
    /// The limits from which further requests of this connection take places.
    places: Places,
    held: Mutex<Held>,
    /// True if there has been a request.
    has_begun: AtomicBool,
    streams: AtomicUsize,
    /// Notified when the last stream has ended.
    idle: Notify,
}

/// What a connection holds. Both fields are behind one lock, so that a request that ends never releases a place that
/// another request needs.
#[derive(Debug)]
struct Held {
    /// The number of open requests.
    requests: usize,
    /// The place of the connection, and a place for each concurrent request after the first.
    places: Vec<Place>,
}

/// Guard of an open request. A connection may have several.
#[derive(Debug)]
struct RequestPermit {
    connection: Arc<ConnectionPermit>,
    /// The place of the client's address, if the client is behind a proxy.
    _address: Option<AddressPlace>,
    /// The place of an expensive read. It is boxed, because most requests are streams and need none.
    read: OnceLock<Box<ReadPlace>>,
}

/// Guard of a response without an end. A connection that has reached its maximum age stays open while it has such a
/// guard.
#[derive(Debug)]
pub(crate) struct StreamGuard {
    connection: Arc<ConnectionPermit>,
    detector: Arc<StallDetector>,
}

impl Places {
    /// Takes a place for the client at `address`. If `address` is `None`, the place counts for no address, because each
    /// request counts for an address of its own.
    fn take(&self, address: Option<IpAddr>) -> Result<Place, Refusal> {
        let address = address.map(|address| self.addresses.take_place(address)).transpose()?;
        let client = self.clients.clone().try_acquire_owned().map_err(|_| Limit::Connections)?;
        Ok(Place { _client: client, _address: address })
    }
}

impl ConnectionLimit {
    /// Creates the limit of all clients, which also applies the limits of each address.
    pub(crate) fn new(limit: usize, addresses: Arc<AddressLimits>) -> ConnectionLimit {
        // A semaphore cannot have `usize::MAX` permits. Its maximum is more than any process has descriptors.
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let clients = Arc::new(Semaphore::new(limit));
        let places = Places { clients, addresses, memory: ClientMemory::new(usize::MAX) };
        ConnectionLimit { limit, places, refusals: Arc::new(Semaphore::new(MAX_REFUSALS)) }
    }

    /// Bounds the memory that clients occupy.
    pub(crate) fn set_memory(&mut self, memory: Arc<ClientMemory>) {
        self.places.memory = memory;
    }

    /// Returns the limits of each address.
    pub(crate) fn addresses(&self) -> &Arc<AddressLimits> {
        &self.places.addresses
    }

    /// Returns a function that counts the clients.
    pub(crate) fn counter(&self) -> impl Fn() -> usize + Send + use<> {
        let (clients, limit) = (self.places.clients.clone(), self.limit);
        move || limit - clients.available_permits()
    }

    /// Takes a place for a connection from the proxy `peer` whose client is not known yet, so that such connections are
    /// bounded, too. If no place is free, takes a place for a refusal. Returns `None` if no place of either kind is
    /// free.
    pub(crate) fn hold(&self, peer: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let mut sources = [&self.places.clients, &self.refusals].into_iter();
        let held = sources.find_map(|places| places.clone().try_acquire_owned().ok());
        if held.is_none() {
            self.places.addresses.refusals().add(Limit::Connections, peer.ip());
        }
        held
    }

    /// Admits or refuses the connection from `peer`. If `peer` is a trusted proxy (`is_proxied`), each request has an
    /// address of its own. Returns `None` if there is no permit even for a refusal.
    pub(crate) fn admit(&self, peer: SocketAddr, is_proxied: bool) -> Option<Admission> {
        let addresses = &self.places.addresses;
        let address = (!is_proxied).then_some(peer.ip());
        let permit = |held| Permit::new(peer, is_proxied, self.places.clone(), held);
        let checked = address.map_or(Ok(()), |address| addresses.check_rate(address));
        match checked.and_then(|()| self.places.take(address)) {
            Ok(place) => Some(Admission::Admitted(permit(place))),
            Err(refusal) => {
                addresses.refusals().add(refusal.limit, peer.ip());
                let held = self.refusals.clone().try_acquire_owned().ok()?;
                Some(Admission::Refused(permit(Place { _client: held, _address: None }), refusal))
            }
        }
    }
}

impl Permit {
    fn new(peer: SocketAddr, is_proxied: bool, places: Places, place: Place) -> Permit {
        let held = Mutex::new(Held { requests: 0, places: vec![place] });
        let (has_begun, streams, idle) = (AtomicBool::new(false), AtomicUsize::new(0), Notify::new());
        let connection = ConnectionPermit { peer, is_proxied, places, held, has_begun, streams, idle };
        Permit { connection: Arc::new(connection), client: peer.ip().to_canonical(), request: None }
    }

    /// Returns a permit without a limit, for requests that do not come over a connection.
    pub(crate) fn unlimited() -> Permit {
        let limit = ConnectionLimit::new(usize::MAX, Arc::new(AddressLimits::none()));
        let place = limit.places.take(None).expect("a new semaphore has permits");
        Permit::new(SocketAddr::from(([0; 4], 0)), false, limit.places, place)
    }

    /// Returns the address from which the connection comes.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.connection.peer
    }

    /// Returns the counter of the bytes that wait for clients.
    pub(crate) fn memory(&self) -> &Arc<ClientMemory> {
        &self.connection.places.memory
    }

    /// Returns the address of the client. If it is behind a trusted proxy, this is not the address of the connection.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// Returns true if the connection is that of a trusted proxy, whose headers count.
    pub(crate) fn is_proxied(&self) -> bool {
        self.connection.is_proxied
    }

    /// Returns a permit to hold while a request with these headers is open. The first of several concurrent requests
    /// uses the place of its connection.
    ///
    /// # Errors
    /// If a limit is reached.
    pub(crate) fn begin_request(&self, headers: &HeaderMap) -> Result<Permit, Refusal> {
        let connection = &self.connection;
        let addresses = &connection.places.addresses;
        let client =
            if connection.is_proxied { addresses.proxies().client(connection.peer.ip(), headers) } else { self.client };
        self.take_places(client).inspect_err(|refusal| addresses.refusals().add(refusal.limit, client))
    }

    fn take_places(&self, client: IpAddr) -> Result<Permit, Refusal> {
        let connection = &self.connection;
        let addresses = &connection.places.addresses;
        let is_first = !connection.has_begun.swap(true, Ordering::Relaxed);
        if connection.is_proxied || !is_first {
            addresses.check_rate(client)?;
        }
        let address = connection.is_proxied.then(|| addresses.take_place(client)).transpose()?;
        {
            let mut held = connection.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.requests > 0 {
                let place = connection.places.take(Some(client).filter(|_| !connection.is_proxied))?;
                held.places.push(place);
            }
            held.requests += 1;
        }
        let request = RequestPermit { connection: connection.clone(), _address: address, read: OnceLock::new() };
        Ok(Permit { connection: connection.clone(), client, request: Some(Arc::new(request)) })
    }

    /// Takes a place for the expensive read that answers this request. It is held until the response is sent.
    ///
    /// # Errors
    /// If a limit is reached.
    pub(crate) fn begin_read(&self) -> Result<(), Refusal> {
        let Some(request) = &self.request else { return Ok(()) };
        let read = self.counted(|addresses| addresses.take_read(self.client))?;
        request.read.set(Box::new(read)).ok();
        Ok(())
    }

    /// Counts entries that are about to be read for the client.
    ///
    /// # Errors
    /// If a limit is reached.
    pub(crate) fn charge_volume(&self, entries: usize) -> Result<(), Refusal> {
        self.counted(|addresses| addresses.charge_volume(self.client, entries))
    }

    /// Counts a new `client_id`.
    ///
    /// # Errors
    /// If a limit is reached.
    pub(crate) fn check_client_id(&self) -> Result<(), Refusal> {
        self.counted(|addresses| addresses.check_client_id(self.client))
    }

    fn counted<T>(&self, check: impl FnOnce(&Arc<AddressLimits>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let addresses = &self.connection.places.addresses;
        check(addresses).inspect_err(|refusal| addresses.refusals().add(refusal.limit, self.client))
    }

    /// Returns whether a request has begun on the connection.
    pub(crate) fn has_begun(&self) -> bool {
        self.connection.has_begun.load(Ordering::Relaxed)
    }

    /// Returns a guard to hold while a response without an end is streamed. Call it in the task that handles the
    /// request, because only this task knows the HTTP/2 stream of the response.
    pub(crate) fn stream_guard(&self) -> StreamGuard {
        self.connection.streams.fetch_add(1, Ordering::Relaxed);
        StreamGuard { connection: self.connection.clone(), detector: StallDetector::current() }
    }

    /// Waits until no stream is open.
    pub(crate) async fn streams_ended(&self) {
        while self.connection.streams.load(Ordering::Relaxed) > 0 {
            // If the last stream has ended since the check above, `Notify` has kept its notification.
            self.connection.idle.notified().await;
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        let mut held = self.connection.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.requests -= 1;
        if held.requests > 0 {
            held.places.pop();
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
mod tests;
