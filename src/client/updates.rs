//! The stream: one or several lines, each with its own connection, and one cursor over all of them.
//!
//! This module has no task. It queues the updates of one message or of one answer of the history. With several lines,
//! it also keeps a bounded number of entries that wait for missing ones. The stream reads its connections only while it
//! is polled. Otherwise, updates wait in the kernel and at the server. Dropping the stream closes the connections.

use super::cursor::Cursor;
use super::disconnect::Disconnect;
use super::error::Error;
use super::healing::Healing;
use super::line::{Line, LineEvent};
use super::merge::{LinePosition, Merge};
use super::received::Received;
use super::statistics::{AddressStatistics, Statistics};
use super::target::Target;
use super::update::{Connected, Update};
use crate::tick::TickId;
use futures_util::{Stream, StreamExt};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// The updates of a feed. See [`Client::subscribe`](super::Client::subscribe).
///
/// After an error the stream has ended.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Updates {
    target: Arc<Target>,
    cursor: Cursor,
    /// The id after which the caller can continue. While updates wait in `out`, the cursor is ahead of it.
    returned: Option<TickId>,
    lines: Vec<Line>,
    /// For each line, what the merge knows about it.
    positions: Vec<LinePosition>,
    /// For each line, whether `Connected` has been returned for its connection.
    announced: Vec<bool>,
    /// For each line, whether the server would refuse the next attempt too.
    refused: Vec<bool>,
    /// The line to poll first. It changes after each event, so that a busy line does not delay the others.
    first: usize,
    merge: Merge,
    healing: Option<Healing>,
    /// For each address, the number of connections that followed an earlier connection of the same line.
    reconnects: Vec<u64>,
    has_ended: bool,
    /// The updates that the stream returns next. The connections are read only when there are none.
    out: VecDeque<Update>,
}

impl Updates {
    pub(super) fn new(target: Arc<Target>) -> Updates {
        let cursor = Cursor::new(target.options.start, target.options.is_chained());
        let (addresses, count) = (target.addresses().len(), target.options.redundancy);
        let turn = target.next_turn();
        let lines = (0..count).map(|number| Line::new(target.clone(), turn.wrapping_add(number) % addresses)).collect();
        Updates {
            returned: cursor.last(),
            cursor,
            lines,
            positions: (0..count).map(|_| LinePosition::default()).collect(),
            announced: vec![false; count],
            refused: vec![false; count],
            first: 0,
            merge: Merge::new(addresses, Instant::now()),
            healing: None,
            reconnects: vec![0; addresses],
            has_ended: false,
            out: VecDeque::new(),
            target,
        }
    }

    /// Returns the next update, or `None` after an error. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The reason why the subscription ended permanently.
    pub async fn next(&mut self) -> Option<Result<Update, Error>> {
        StreamExt::next(self).await
    }

    /// Returns the id after which a new subscription can continue, later or in another process. It moves with each
    /// tick, status and [`Update::Synced`] that the stream returns. Before the first of them, it is the id of
    /// [`Start::After`](super::Start::After), if the subscription started there.
    pub fn last_id(&self) -> Option<TickId> {
        self.returned
    }

    /// Returns the number of duplicates that were dropped. Without [redundancy](super::Builder::redundancy), a server
    /// sends duplicates only to a [`client_id`](super::Builder::client_id) after a replica was killed.
    pub fn duplicates(&self) -> u64 {
        self.cursor.duplicates()
    }

    /// Returns counts of the entries, in all and for each address.
    pub fn statistics(&self) -> Statistics {
        let addresses = self.target.addresses().iter().zip(self.merge.taken()).zip(&self.reconnects);
        let addresses: Vec<_> = addresses
            .map(|((address, &taken), &reconnects)| AddressStatistics {
                address: address.to_string(),
                taken,
                reconnects,
            })
            .collect();
        Statistics {
            taken: addresses.iter().map(|address| address.taken).sum(),
            doubled: self.cursor.duplicates(),
            healed: self.merge.healed(),
            addresses,
        }
    }

    fn is_redundant(&self) -> bool {
        self.lines.len() > 1
    }

    fn take_update(&mut self) -> Option<Update> {
        let update = self.out.pop_front()?;
        match &update {
            Update::Tick(tick) => self.returned = Some(tick.id),
            Update::Status(status) => self.returned = Some(status.id),
            // This is the last update of its message, so the cursor is the id to resume after.
            Update::Synced { .. } => self.returned = self.cursor.last(),
            _ => {}
        }
        Some(update)
    }

    fn receive(&mut self, number: usize, message: Received) {
        if !std::mem::replace(&mut self.announced[number], true) {
            let connected = if let Received::Hello(hello) = &message { hello.clone() } else { Connected::default() };
            let address = self.target.addresses()[self.lines[number].address()].to_string();
            self.out.push_back(Update::Connected(Connected { address, ..connected }));
        }
        let is_entry = matches!(message, Received::Tick(_) | Received::Status(_));
        if !self.is_redundant() {
            if self.cursor.receive(message, &mut self.out) {
                self.lines[number].works();
                if is_entry {
                    self.merge.count(self.lines[number].address());
                }
            }
            return;
        }
        if is_entry {
            self.lines[number].works();
        }
        let (line, now) = ((number, self.lines[number].address()), Instant::now());
        self.merge.receive(&mut self.cursor, &mut self.positions, line, message, now, &mut self.out);
        for late in Merge::late(&self.cursor, &mut self.positions, now) {
            self.disconnect_line(late, "the connection is late".to_owned(), None);
        }
    }

    /// Starts the pause before the next attempt of a line.
    fn disconnect_line(&mut self, number: usize, why: String, retry_after: Option<Duration>) {
        let address = self.next_address(number);
        let retry_in = self.lines[number].wait(address, retry_after);
        self.reset_line(number);
        self.out.push_back(Update::Disconnected { why, retry_in });
    }

    fn reset_line(&mut self, number: usize) {
        self.announced[number] = false;
        self.positions[number] = LinePosition::default();
    }

    /// Returns the next address that no other line uses, or the current one if there is none.
    fn next_address(&self, number: usize) -> usize {
        let (current, count) = (self.lines[number].address(), self.target.addresses().len());
        let is_free = |address: &usize| {
            self.lines.iter().enumerate().all(|(other, line)| other == number || line.address() != *address)
        };
        (1..=count).map(|turn| (current + turn) % count).find(is_free).unwrap_or(current)
    }

    /// Starts the pause before the next attempt, or ends the stream.
    fn disconnect(&mut self, number: usize, disconnect: Disconnect) -> Result<(), Error> {
        match disconnect {
            // The feed has sent entries before. So another program probably answers for a while, such as a proxy with
            // an error page.
            Disconnect::Final(Error::NoFeed { problem }) if self.cursor.has_moved() => {
                self.disconnect(number, Disconnect::retry(problem))
            }
            Disconnect::Retry { why, retry_after } => {
                self.disconnect_line(number, why, retry_after);
                Ok(())
            }
            Disconnect::Final(error) => {
                self.refused[number] = true;
                if self.refused.iter().all(|refused| *refused) {
                    self.has_ended = true;
                    return Err(error);
                }
                // Other lines are not refused, so the stream goes on.
                let address = self.next_address(number);
                let retry_in = self.lines[number].rest(address);
                self.reset_line(number);
                self.out.push_back(Update::Disconnected { why: error.to_string(), retry_in });
                Ok(())
            }
        }
    }

    fn handle(&mut self, number: usize, event: LineEvent) -> Result<(), Error> {
        match event {
            LineEvent::Opened { again } => {
                self.refused[number] = false;
                self.reconnects[self.lines[number].address()] += u64::from(again);
            }
            LineEvent::Message(message) => self.receive(number, message),
            LineEvent::Ended(disconnect) => self.disconnect(number, disconnect)?,
        }
        Ok(())
    }

    /// Asks the history for the entries of a hole. Returns true if a request has ended.
    fn heal(&mut self, context: &mut Context<'_>) -> bool {
        let Some(hole) = self.merge.hole(&self.cursor) else {
            self.healing = None;
            return false;
        };
        let healing = match &mut self.healing {
            Some(healing) if healing.until() == hole.until => healing,
            other => other.insert(Healing::new(self.target.clone(), hole)),
        };
        let Poll::Ready(answer) = healing.poll(context, hole) else { return false };
        let (now, has_answer) = (Instant::now(), answer.is_some());
        for message in answer.unwrap_or_default() {
            self.merge.heal(&mut self.cursor, message, now, &mut self.out);
        }
        // A hole with another end is another hole. The next call begins new requests for it.
        if let Some(left) = self.merge.hole(&self.cursor).filter(|left| left.until == hole.until) {
            let is_awaited = self.merge.is_awaited(&self.positions);
            if !healing.ask_next(left, has_answer, left != hole, is_awaited) {
                self.healing = None;
                self.merge.give_up(&mut self.cursor, now, &mut self.out);
            }
        } else {
            self.healing = None;
        }
        true
    }
}

impl Stream for Updates {
    type Item = Result<Update, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(update) = this.take_update() {
                return Poll::Ready(Some(Ok(update)));
            }
            if this.has_ended {
                return Poll::Ready(None);
            }
            let mut has_news = this.is_redundant() && this.heal(context);
            let count = this.lines.len();
            for turn in 0..count {
                if has_news {
                    break;
                }
                let (number, start) = ((this.first + turn) % count, this.cursor.start());
                if this.merge.is_full_for(&this.positions[number]) {
                    continue;
                }
                if let Poll::Ready(event) = this.lines[number].poll(context, start) {
                    has_news = true;
                    this.first = (number + 1) % count;
                    if let Err(error) = this.handle(number, event) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
            if !has_news {
                return Poll::Pending;
            }
        }
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
