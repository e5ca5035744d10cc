//! How many clients there may be, and are. Over HTTP/1 a connection is a client; over HTTP/2 each request under way is one,
//! or a single connection could have as many subscriptions and long answers as it likes.

use super::flow::Flow;
use super::protocol;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Connections over the limit that are told so at any one time; more are closed without a word.
const REFUSALS: usize = 64;

/// How many places there are, and how many are taken.
#[derive(Debug)]
pub(super) struct Gate {
    limit: usize,
    taken: AtomicUsize,
    refused: AtomicUsize,
}

/// A client's place among those that are allowed, given back when the last copy of it is dropped: a connection's, or that of
/// a request on a connection that may have many.
#[derive(Clone, Debug)]
pub(in crate::server) struct Peer {
    place: Arc<Place>,
    _turn: Option<Arc<Turn>>,
}

/// A request under way on a connection that may have many.
#[derive(Debug)]
struct Turn(Arc<Place>);

/// An answer that has no end of its own. While there is one, its connection is not too old to go on.
#[derive(Debug)]
pub(in crate::server) struct OpenStream {
    place: Arc<Place>,
    flow: Arc<Flow>,
}

#[derive(Debug)]
struct Place {
    gate: Arc<Gate>,
    /// Whether it is within the limit, and not one for a refusal.
    allowed: bool,
    /// Requests under way, where they are counted. The first has the connection's own place.
    turns: AtomicUsize,
    streams: AtomicUsize,
    /// Told when the last stream has ended.
    idle: Notify,
}

impl Gate {
    pub(super) fn new(limit: usize) -> Arc<Gate> {
        Arc::new(Gate { limit, taken: AtomicUsize::new(0), refused: AtomicUsize::new(0) })
    }

    /// A place, and whether it is within the limit; `None` if there is none even for a refusal.
    pub(super) fn enter(self: &Arc<Gate>) -> Option<(Peer, bool)> {
        let allowed = take(&self.taken, self.limit);
        if !allowed && !take(&self.refused, REFUSALS) {
            return None;
        }
        let (turns, streams) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let place = Place { gate: self.clone(), allowed, turns, streams, idle: Notify::new() };
        Some((Peer { place: Arc::new(place), _turn: None }, allowed))
    }
}

/// Takes one of `limit` places, if one is free.
fn take(places: &AtomicUsize, limit: usize) -> bool {
    let one_more = |taken: usize| (taken < limit).then_some(taken + 1);
    places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = if self.allowed { &self.gate.taken } else { &self.gate.refused };
        places.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    /// The place of a request, to be held for as long as that is under way; `None` if this replica has all the clients that it
    /// takes.
    pub(super) fn begin(&self) -> Option<Peer> {
        let Place { gate, turns, .. } = &*self.place;
        let first = turns.fetch_add(1, Ordering::Relaxed) == 0;
        let within = first || gate.taken.fetch_add(1, Ordering::Relaxed) < gate.limit;
        // Dropped, it gives back both.
        let turn = Turn(self.place.clone());
        within.then(|| Peer { place: self.place.clone(), _turn: Some(Arc::new(turn)) })
    }

    /// To be held for as long as an answer streams that has no end of its own. To be asked for where the request is answered:
    /// it is known there which stream the answer goes into.
    pub(in crate::server) fn open_stream(&self) -> OpenStream {
        self.place.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream { place: self.place.clone(), flow: protocol::stream_flow() }
    }

    /// Returns when no stream is open.
    pub(super) async fn without_streams(&self) {
        while self.place.streams.load(Ordering::Relaxed) > 0 {
            // One that ended since then has left a permit.
            self.place.idle.notified().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.0.turns.fetch_sub(1, Ordering::Relaxed) > 1 {
            self.0.gate.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.flow.finish();
        if self.place.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.place.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(gate: &Gate) -> usize {
        gate.taken.load(Ordering::Relaxed)
    }

    #[test]
    fn each_request_is_a_client_and_the_first_has_its_connection_s_place() {
        let gate = Gate::new(3);
        let (peer, allowed) = gate.enter().unwrap();
        assert!(allowed);
        let first = peer.begin().unwrap();
        assert_eq!(taken(&gate), 1);
        let others = [peer.begin().unwrap(), peer.begin().unwrap()];
        assert_eq!(taken(&gate), 3);
        assert!(peer.begin().is_none());
        assert!(!gate.enter().unwrap().1, "a connection is over the limit as well");
        assert_eq!(taken(&gate), 3, "what was refused has no place");
        drop(first);
        assert_eq!(taken(&gate), 2);
        drop((others, peer));
        assert_eq!(taken(&gate), 0);
    }

    #[test]
    fn a_refusal_takes_no_place_from_those_who_come_later() {
        let gate = Gate::new(1);
        let (client, allowed) = gate.enter().unwrap();
        assert!(allowed);
        let refused: Vec<_> = (0..REFUSALS).map(|_| gate.enter().unwrap()).collect();
        assert!(refused.iter().all(|(_, allowed)| !allowed));
        assert!(gate.enter().is_none());
        drop(client);
        assert!(gate.enter().unwrap().1, "the place is free, however many are still being refused");
    }

    #[tokio::test]
    async fn a_connection_is_without_streams_when_the_last_one_has_ended() {
        let peer = Gate::new(9).enter().unwrap().0;
        peer.without_streams().await;
        let [one, other] = [peer.open_stream(), peer.open_stream()];
        let waiting = peer.without_streams();
        tokio::pin!(waiting);
        drop(one);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(other);
        waiting.await;
    }
}
