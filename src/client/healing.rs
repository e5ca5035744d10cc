//! Closes a hole in the merged lines: asks one address after the other for the part of the history that no line has
//! sent. A line is a stream from one of the addresses.

use super::merge::Hole;
use super::received::Received;
use super::target::Target;
use crate::tick::TickId;
use futures_util::future::BoxFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// The time for which addresses are asked about a hole again and again. It starts anew if the beginning of the hole has
/// moved.
const ASK_FOR: Duration = Duration::from_secs(5);
/// The first and the longest pause before all addresses are asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(1600)];

/// The requests about one hole. The end of a hole identifies it, because the beginning moves when the first missing
/// entries arrive.
pub(super) struct Healing {
    target: Arc<Target>,
    hole: Hole,
    /// The beginning of the hole when the `deadline` was set.
    begin: TickId,
    /// The number of the address that is asked.
    address: usize,
    /// For each address, true if it has answered without any of the missing entries.
    answered: Vec<bool>,
    deadline: Instant,
    pause: Duration,
    stage: Stage,
}

enum Stage {
    Ask(BoxFuture<'static, Option<Vec<Received>>>),
    Pause(Pin<Box<Sleep>>),
}

impl Healing {
    pub(super) fn new(target: Arc<Target>, hole: Hole) -> Healing {
        Healing {
            stage: Stage::Ask(target.clone().history(0, hole.after, hole.until)),
            answered: vec![false; target.addresses().len()],
            target,
            hole,
            begin: hole.after,
            address: 0,
            deadline: Instant::now() + ASK_FOR,
            pause: PAUSES[0],
        }
    }

    /// Returns the last id in the hole.
    pub(super) fn until(&self) -> TickId {
        self.hole.until
    }

    /// Returns the messages of the next answer, or `Poll::Ready(None)` if there is no valid answer.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, hole: Hole) -> Poll<Option<Vec<Received>>> {
        loop {
            match &mut self.stage {
                Stage::Pause(pause) => {
                    ready!(pause.as_mut().poll(context));
                    self.hole = hole;
                    self.ask(0);
                }
                Stage::Ask(answer) => return answer.as_mut().poll(context),
            }
        }
    }

    /// Asks the next address, because the answer has not closed the hole. After the last address, starts a pause before
    /// all are asked again. `has_answer` is true if the answer was valid. `has_moved` is true if the answer contained
    /// the first of the missing entries. `is_awaited` is true if a line has not reached the end of the hole. Returns
    /// false if no address and no line can close the hole, or if [`ASK_FOR`] has passed.
    pub(super) fn ask_next(&mut self, hole: Hole, has_answer: bool, has_moved: bool, is_awaited: bool) -> bool {
        self.hole = hole;
        if has_moved {
            self.answered.fill(false);
        } else if has_answer {
            self.answered[self.address] = true;
        }
        if self.address + 1 < self.answered.len() {
            self.ask(self.address + 1);
            return true;
        }
        if hole.after != self.begin {
            self.begin = hole.after;
            self.deadline = Instant::now() + ASK_FOR;
            self.pause = PAUSES[0];
        }
        let nobody_has_it = self.answered.iter().all(|answered| *answered) && !is_awaited;
        if nobody_has_it || Instant::now() > self.deadline {
            return false;
        }
        self.stage = Stage::Pause(Box::pin(sleep(self.pause)));
        self.pause = (2 * self.pause).min(PAUSES[1]);
        true
    }

    fn ask(&mut self, address: usize) {
        self.address = address;
        self.stage = Stage::Ask(self.target.clone().history(address, self.hole.after, self.hole.until));
    }
}
