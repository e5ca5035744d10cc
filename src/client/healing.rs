//! Closing of a hole: the history of each address is asked for the entries that no line has sent.

use super::merge::Hole;
use super::received::Received;
use super::target::Target;
use futures_util::future::BoxFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// The time for which the history is asked if no address answers.
const ASK_FOR: Duration = Duration::from_secs(5);
/// The pause before all addresses are asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// The requests about one hole.
pub(super) struct Healing {
    target: Arc<Target>,
    hole: Hole,
    /// The number of the address that is asked.
    address: usize,
    /// True if an address has answered.
    has_answer: bool,
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    Ask(BoxFuture<'static, Option<Vec<Received>>>),
    Pause(Pin<Box<Sleep>>),
}

impl Healing {
    pub(super) fn new(target: Arc<Target>, hole: Hole) -> Healing {
        let stage = Stage::Ask(target.clone().history(0, hole.after, hole.until));
        Healing { target, hole, address: 0, has_answer: false, deadline: Instant::now() + ASK_FOR, stage }
    }

    /// Returns the hole.
    pub(super) fn hole(&self) -> Hole {
        self.hole
    }

    /// Returns the messages of the next answer. There are none if an address did not answer.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Vec<Received>> {
        loop {
            match &mut self.stage {
                Stage::Pause(pause) => {
                    ready!(pause.as_mut().poll(context));
                    self.ask(0);
                }
                Stage::Ask(answer) => {
                    let answer = ready!(answer.as_mut().poll(context));
                    self.has_answer |= answer.is_some();
                    return Poll::Ready(answer.unwrap_or_default());
                }
            }
        }
    }

    /// Asks the next address, because the answer has not closed the hole. Returns false if nothing can close it.
    pub(super) fn ask_next(&mut self) -> bool {
        if self.address + 1 < self.target.addresses().len() {
            self.ask(self.address + 1);
        } else if self.has_answer || Instant::now() > self.deadline {
            return false;
        } else {
            self.stage = Stage::Pause(Box::pin(sleep(PAUSE)));
        }
        true
    }

    fn ask(&mut self, address: usize) {
        self.address = address;
        self.stage = Stage::Ask(self.target.clone().history(address, self.hole.after, self.hole.until));
    }
}
