//! The bound of a price that comes from a single source.
//!
//! Nobody checks a single source, so it may not move the price faster than several sources moved it together in the
//! window of the feed. If several sources never agreed on two prices in a row, there is no bound.

use crate::tick::{MoveBound, Price, TickId};
use rust_decimal::Decimal;
use std::collections::VecDeque;
use std::time::Duration;

/// The time for which a speed counts.
pub(in crate::aggregate) const WINDOW: Duration = Duration::from_secs(3600);
/// The number of decimals of a bound.
const DECIMALS: u32 = 2;

/// The speeds of the prices of one currency.
#[derive(Debug, Default)]
pub(super) struct SpeedLimit {
    /// The newest price.
    newest: Option<(TickId, Price)>,
    /// True if several sources agreed on the newest price.
    is_agreed: bool,
    /// The moments of speeds, as shares of the price per millisecond. A speed that is followed by a higher one is
    /// dropped, so the first speed is the highest.
    speeds: VecDeque<(TickId, Decimal)>,
}

impl SpeedLimit {
    /// Learns a price of the feed, and the number of sources that it comes from.
    pub(super) fn learn(&mut self, at: TickId, price: Price, sources: usize) {
        let is_agreed = sources > 1;
        if let Some((before, earlier)) = self.newest {
            if at <= before {
                return;
            }
            if is_agreed && self.is_agreed {
                let speed = earlier.deviation(price) / Decimal::from(at.ms() - before.ms());
                while self.speeds.back().is_some_and(|(_, slower)| *slower <= speed) {
                    self.speeds.pop_back();
                }
                self.speeds.push_back((at, speed));
            }
        }
        (self.newest, self.is_agreed) = (Some((at, price)), is_agreed);
        self.drop_old(at);
    }

    /// Returns the bound of a single source's price at `now`.
    pub(super) fn bound(&mut self, now: TickId) -> Option<MoveBound> {
        self.drop_old(now);
        let ((at, previous), (_, speed)) = (self.newest?, self.speeds.front()?);
        let elapsed = Decimal::from(now.ms().saturating_sub(at.ms()));
        let share = speed.checked_mul(elapsed)?;
        let max_move = previous.value().checked_mul(share)?.round_dp(DECIMALS);
        Some(MoveBound { previous, max_move })
    }

    fn drop_old(&mut self, now: TickId) {
        while self.speeds.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
            self.speeds.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> TickId {
        TickId::from_ms(1_795_166_431_000 + seconds * 1000)
    }

    /// Learns a price every five seconds. Returns the bound five seconds later.
    fn bound_after(prices: &[(&str, usize)]) -> Option<String> {
        let mut speed = SpeedLimit::default();
        let mut second = 0;
        for (price, sources) in prices {
            speed.learn(at(second), price.parse().unwrap(), *sources);
            second += 5;
        }
        speed.bound(at(second)).map(|bound| format!("{} ± {}", bound.previous, bound.max_move.normalize()))
    }

    #[test]
    fn bound_is_the_fastest_agreed_move() {
        assert_eq!(bound_after(&[("100000", 3), ("100100", 2), ("100110", 3)]).unwrap(), "100110 ± 100.11");
        assert_eq!(bound_after(&[("100000", 3), ("100010", 2), ("99909.99", 3)]).unwrap(), "99909.99 ± 99.91");
        assert_eq!(bound_after(&[("100000", 3), ("100100", 1), ("100200", 3)]), None, "one source is no agreement");
        assert_eq!(bound_after(&[("100000", 1), ("200000", 1)]), None);
    }

    #[test]
    fn bound_grows_with_time_and_forgets_old_moves() {
        let mut speed = SpeedLimit::default();
        for (second, price) in [(0, "100000"), (10, "100100"), (11, "100100")] {
            speed.learn(at(second), price.parse().unwrap(), 2);
        }
        let mut max_move = |second| speed.bound(at(second)).map(|bound| bound.max_move.normalize().to_string());
        assert_eq!(max_move(12).unwrap(), "10.01");
        assert_eq!(max_move(21).unwrap(), "100.1");
        assert_eq!(max_move(3611).unwrap(), "0", "only the last move, which was none, is in the window");
        assert_eq!(max_move(3612), None);
    }
}
