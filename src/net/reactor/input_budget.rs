//! Bound on the input of a client. The server ignores messages of clients, so a client needs to send only pongs. Input
//! beyond this budget is treated as a flood.

use crate::wire::websocket::{FLOOD, Violation};
use std::time::Instant;

/// Number of bytes that a client may send at once.
const BURST_BYTES: u32 = 64 * 1024;
/// Number of bytes that a client may send in each second after that.
const BYTES_PER_SECOND: u32 = 1024;

/// Budget of one client.
#[derive(Debug, Default)]
pub(crate) struct InputBudget {
    /// The number of bytes of the budget that are used up. It decreases with time.
    spent: u32,
    /// The time of the last decrease.
    since: Option<Instant>,
}

impl InputBudget {
    /// Counts input of the client.
    ///
    /// # Errors
    /// If the client has sent too much.
    pub(crate) fn spend(&mut self, bytes: usize, now: Instant) -> Result<(), Violation> {
        let passed = self.since.map_or(0, |since| now.saturating_duration_since(since).as_millis());
        let forgiven = u32::try_from(passed).unwrap_or(u32::MAX).saturating_mul(BYTES_PER_SECOND) / 1000;
        if self.since.is_none() || forgiven > 0 {
            self.since = Some(now);
        }
        self.spent = self.spent.saturating_sub(forgiven).saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.spent > BURST_BYTES { Err(FLOOD) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn burst_is_allowed_and_forgiven_slowly() {
        let (mut budget, started_at) = (InputBudget::default(), Instant::now());
        budget.spend(64 * 1024, started_at).unwrap();
        budget.spend(1, started_at + Duration::from_millis(1)).unwrap();
        assert_eq!(budget.spend(2, started_at + Duration::from_millis(2)).unwrap_err().code, 1008);
        budget.spend(60 * 1024, started_at + Duration::from_secs(61)).unwrap();
    }

    #[test]
    fn pongs_are_never_too_much() {
        let (mut budget, started_at) = (InputBudget::default(), Instant::now());
        for pong in 0..100_000 {
            budget.spend(131, started_at + Duration::from_millis(500) * pong).unwrap();
        }
    }
}
