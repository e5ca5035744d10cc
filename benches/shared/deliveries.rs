//! Record of all updates that clients received. It checks that every update reaches every client exactly once and in
//! order, and records the times.
//!
//! The `timedate` of an update is its id as a date, so ids sort as text. The record keeps all ids in order, and the
//! position of each client among them. A client must receive them one after the other.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Id as it is written in an update: `2026-11-20T09:20:31.075Z`.
pub(crate) type Id = [u8; 24];

/// Text before the id in an update.
const BEFORE_ID: &[u8] = br#"{"timedate":""#;

/// All updates, and the position of each client.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    updates: Vec<Update>,
    /// Position of each client. `None` before its first update.
    positions: Vec<Option<Position>>,
    /// Number of deliveries to all clients.
    delivered: u32,
    faults: Faults,
}

/// Update, and its deliveries.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) id: Id,
    /// Number of clients that have received it or a later one.
    settled: usize,
    /// Time of the first delivery.
    pub(crate) first: Instant,
    /// Time of the last delivery.
    pub(crate) last: Instant,
}

impl Update {
    fn new(id: Id, settled: usize, now: Instant) -> Update {
        Update { id, settled, first: now, last: now }
    }
}

/// Position of a client, as indexes of updates.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The first update of the client.
    first: usize,
    /// The next update of the client.
    next: usize,
}

/// Faults of all clients together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// Updates that did not reach a client.
    pub(crate) lost: usize,
    /// Updates that reached a client twice, or after a later one.
    pub(crate) duplicated: usize,
    /// Messages that are not updates, and updates that the witness does not know. The witness is a client that reads
    /// the ids of all ticks (`witness.rs`).
    pub(crate) unexpected: usize,
    /// Connections that ended early.
    pub(crate) closed: usize,
}

impl Faults {
    pub(crate) fn and(self, other: Faults) -> Faults {
        Faults {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            unexpected: self.unexpected + other.unexpected,
            closed: self.closed + other.closed,
        }
    }
}

impl Deliveries {
    /// Creates a record with the feed's history. Its clients must receive the last `wanted` updates of the history.
    pub(crate) fn of_history(ids: &[Id], clients: usize, wanted: usize) -> Deliveries {
        let now = Instant::now();
        let updates = ids.iter().map(|id| Update::new(*id, 0, now)).collect();
        let first = ids.len().saturating_sub(wanted);
        let positions = vec![Some(Position { first, next: first }); clients];
        Deliveries { updates, positions, ..Deliveries::default() }
    }

    /// Records that `client` has received `message`.
    pub(crate) fn deliver(&mut self, client: usize, message: &[u8], now: Instant) {
        let Some(id) = message.strip_prefix(BEFORE_ID).and_then(|rest| rest.first_chunk::<24>()) else {
            self.faults.unexpected += 1;
            return;
        };
        self.delivered += 1;
        if client >= self.positions.len() {
            self.positions.resize(client + 1, None);
        }
        let number = self.number(*id, now);
        let position = self.positions[client].get_or_insert(Position { first: number, next: number });
        if number < position.next {
            self.faults.duplicated += 1;
            return;
        }
        self.faults.lost += number - position.next;
        for update in &mut self.updates[position.next..=number] {
            update.settled += 1;
        }
        position.next = number + 1;
        let update = &mut self.updates[number];
        update.first = update.first.min(now);
        update.last = now;
    }

    /// Returns the index of an update. Adds the update if it is new.
    fn number(&mut self, id: Id, now: Instant) -> usize {
        match self.updates.last() {
            Some(newest) if newest.id == id => return self.updates.len() - 1,
            Some(newest) if newest.id > id => {}
            _ => {
                self.updates.push(Update::new(id, 0, now));
                return self.updates.len() - 1;
            }
        }
        self.updates.binary_search_by_key(&id, |update| update.id).unwrap_or_else(|number| {
            // The record does not have this update yet, although it has a later one. Each client that has already
            // received a later update has lost this one, or its first update is later than this one.
            let mut settled = 0;
            for position in self.positions.iter_mut().flatten().filter(|position| position.next > number) {
                self.faults.lost += usize::from(position.first <= number);
                position.first += usize::from(position.first > number);
                position.next += 1;
                settled += 1;
            }
            self.updates.insert(number, Update::new(id, settled, now));
            number
        })
    }

    /// Records that the connection of a client has ended.
    pub(crate) fn close(&mut self) {
        self.faults.closed += 1;
    }

    /// Forgets all clients except the first `clients`.
    pub(crate) fn keep(&mut self, clients: usize) {
        self.positions.truncate(clients);
    }

    /// Returns all updates that any client received, oldest first.
    pub(crate) fn updates(&self) -> &[Update] {
        &self.updates
    }

    /// Returns the id of the last update that a client received.
    pub(crate) fn last_of(&self, client: usize) -> Option<Id> {
        let position = self.positions.get(client).copied().flatten()?;
        self.id(position.next.checked_sub(1)?)
    }

    /// Returns the id of an update by its index.
    pub(crate) fn id(&self, number: usize) -> Option<Id> {
        self.updates.get(number).map(|update| update.id)
    }

    pub(crate) fn len(&self) -> usize {
        self.updates.len()
    }

    pub(crate) fn delivered(&self) -> u32 {
        self.delivered
    }

    /// Returns true if each of `clients` clients has received the update or a later one, or has lost its connection.
    pub(crate) fn is_settled(&self, number: usize, clients: usize) -> bool {
        self.updates.get(number).is_some_and(|update| update.settled + self.faults.closed >= clients)
    }

    /// Returns the time from the first to the last delivery of each of these updates.
    pub(crate) fn spreads(&self, numbers: std::ops::Range<usize>) -> Vec<Duration> {
        self.updates[numbers].iter().map(|update| update.last - update.first).collect()
    }

    /// Returns the faults up to the update with the index `last`. `sent` are all ids that the witness knows.
    pub(crate) fn faults(&self, last: usize, sent: Option<&[Id]>) -> Faults {
        let mut faults = self.faults;
        faults.lost +=
            self.positions.iter().flatten().map(|position| (last + 1).saturating_sub(position.next)).sum::<usize>();
        let seen: BTreeSet<Id> = self.updates.iter().take(last + 1).map(|update| update.id).collect();
        if let (Some(sent), Some(first), Some(last)) = (sent, seen.first(), seen.last()) {
            let sent: BTreeSet<Id> = sent.iter().filter(|id| (first..=last).contains(id)).copied().collect();
            faults.lost += sent.difference(&seen).count() * self.positions.len();
            faults.unexpected += seen.difference(&sent).count();
        }
        faults
    }
}
