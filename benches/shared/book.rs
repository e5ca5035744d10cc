//! Who was sent what: proves that every update reached every client exactly once and in order, and tells when.
//!
//! An update's `timedate` is its id, written as a date, so ids sort as text. The book keeps the ids that anybody has seen,
//! in order, and each client's place among them; a client must step from each to the next.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// An id as it stands in an update: `2026-11-20T09:20:31.075Z`.
pub(crate) type Id = [u8; 24];

/// What stands before the id in an update.
const BEFORE_ID: &[u8] = br#"{"timedate":""#;

/// All updates, and how far each client is.
#[derive(Debug, Default)]
pub(crate) struct Book {
    updates: Vec<Update>,
    /// For each client where it began and what it must get next; `None` before it got any.
    places: Vec<Option<Place>>,
    /// Updates that arrived, at all clients together.
    delivered: u32,
    faults: Faults,
}

/// An update, and who has it.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) id: Id,
    /// How many clients have it, or lost it and have a later one.
    settled: usize,
    /// When the first and the last of those who have it got it.
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

impl Update {
    fn new(id: Id, settled: usize, now: Instant) -> Update {
        Update { id, settled, first: now, last: now }
    }
}

/// Where a client is, by the numbers of updates.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The first that it got, or was to get.
    began: usize,
    next: usize,
}

/// What went wrong, summed up over all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// Updates that did not reach a client between two that did, or before the end.
    pub(crate) lost: usize,
    /// Updates that a client got again, or after a later one.
    pub(crate) doubled: usize,
    /// Messages that are no updates, or updates that only some clients ever saw.
    pub(crate) strange: usize,
    /// Connections that ended early.
    pub(crate) closed: usize,
}

impl Faults {
    pub(crate) fn and(self, other: Faults) -> Faults {
        Faults {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            strange: self.strange + other.strange,
            closed: self.closed + other.closed,
        }
    }
}

impl Book {
    /// A book that knows the feed's history; its clients are to begin `wanted` updates before the end of it.
    pub(crate) fn of_history(ids: &[Id], clients: usize, wanted: usize) -> Book {
        let now = Instant::now();
        let updates = ids.iter().map(|id| Update::new(*id, 0, now)).collect();
        let began = ids.len().saturating_sub(wanted);
        Book { updates, places: vec![Some(Place { began, next: began }); clients], ..Book::default() }
    }

    /// Writes down that `client` got `message`.
    pub(crate) fn deliver(&mut self, client: usize, message: &[u8], now: Instant) {
        let Some(id) = message.strip_prefix(BEFORE_ID).and_then(|rest| rest.first_chunk::<24>()) else {
            self.faults.strange += 1;
            return;
        };
        self.delivered += 1;
        if client >= self.places.len() {
            self.places.resize(client + 1, None);
        }
        let number = self.number(*id, now);
        let place = self.places[client].get_or_insert(Place { began: number, next: number });
        if number < place.next {
            self.faults.doubled += 1;
            return;
        }
        self.faults.lost += number - place.next;
        for update in &mut self.updates[place.next..=number] {
            update.settled += 1;
        }
        place.next = number + 1;
        let update = &mut self.updates[number];
        update.first = update.first.min(now);
        update.last = now;
    }

    /// The number of the update with this id, a new one if nobody had it yet.
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
            // Another replica was faster with the next one. Whoever has a later one lost this, or began behind it.
            let mut settled = 0;
            for place in self.places.iter_mut().flatten().filter(|place| place.next > number) {
                self.faults.lost += usize::from(place.began <= number);
                place.began += usize::from(place.began > number);
                place.next += 1;
                settled += 1;
            }
            self.updates.insert(number, Update::new(id, settled, now));
            number
        })
    }

    /// Writes down that a client's connection has ended.
    pub(crate) fn close(&mut self) {
        self.faults.closed += 1;
    }

    /// Strikes out the clients from this one on, who are not there any more.
    pub(crate) fn keep(&mut self, clients: usize) {
        self.places.truncate(clients);
    }

    /// All updates that anybody got, oldest first.
    pub(crate) fn updates(&self) -> &[Update] {
        &self.updates
    }

    /// The last update that a client got, if it got any.
    pub(crate) fn last_of(&self, client: usize) -> Option<Id> {
        let place = self.places.get(client).copied().flatten()?;
        self.id(place.next.checked_sub(1)?)
    }

    /// The id of the update with this number, if it is there.
    pub(crate) fn id(&self, number: usize) -> Option<Id> {
        self.updates.get(number).map(|update| update.id)
    }

    pub(crate) fn len(&self) -> usize {
        self.updates.len()
    }

    pub(crate) fn delivered(&self) -> u32 {
        self.delivered
    }

    /// Whether nobody of so many clients waits for the update with this number.
    pub(crate) fn is_settled(&self, number: usize, clients: usize) -> bool {
        self.updates.get(number).is_some_and(|update| update.settled + self.faults.closed >= clients)
    }

    /// The time from the first to the last client that got each of these updates.
    pub(crate) fn spreads(&self, numbers: std::ops::Range<usize>) -> Vec<Duration> {
        self.updates[numbers].iter().map(|update| update.last - update.first).collect()
    }

    /// What went wrong up to and with the update with this number. `truth` is all the ids that the feed says it has sent.
    pub(crate) fn faults(&self, last: usize, truth: Option<&[Id]>) -> Faults {
        let mut faults = self.faults;
        faults.lost += self.places.iter().flatten().map(|place| (last + 1).saturating_sub(place.next)).sum::<usize>();
        let seen: BTreeSet<Id> = self.updates.iter().take(last + 1).map(|update| update.id).collect();
        if let (Some(truth), Some(first), Some(last)) = (truth, seen.first(), seen.last()) {
            let sent: BTreeSet<Id> = truth.iter().filter(|id| (first..=last).contains(id)).copied().collect();
            faults.lost += sent.difference(&seen).count() * self.places.len();
            faults.strange += seen.difference(&sent).count();
        }
        faults
    }
}
