//! The bound of a price that comes from a single source.
//!
//! Nobody checks a single source. So it may not move the price faster than several sources have moved it together: the
//! bound is the fastest move between two consecutive prices that each came from several sources. Only the last such
//! move counts, and those in the hour before it. Before the first such move, there is no bound.

use crate::tick::{MoveBound, Price, TickId};
use rust_decimal::Decimal;
use std::collections::VecDeque;
use std::time::Duration;

/// The time for which a speed counts while several sources agree. While there is only a single source, speeds do not
/// expire. A new term of a leader begins with the speeds of the last hour only.
pub(in crate::aggregate) const WINDOW: Duration = Duration::from_secs(3600);
/// The maximum of a bound.
pub(super) const MAX_MOVE: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// The number of decimals of a bound.
const DECIMALS: u32 = 2;

/// The speeds of the prices of one currency.
#[derive(Debug, Default)]
pub(super) struct SpeedLimit {
    /// The newest price.
    newest: Option<(TickId, Price)>,
    /// True if several sources agreed on the newest price.
    is_agreed: bool,
    /// The speeds with their moments. A speed is a share of the price per millisecond. A speed that is followed by a
    /// higher one is dropped, so the first speed is the highest.
    speeds: VecDeque<(TickId, Decimal)>,
}

impl SpeedLimit {
    /// Learns a price of the feed, and the number of sources that it comes from. Two prices count as at least
    /// `interval` apart: a new leader may make its first price shortly after the last one of another.
    pub(super) fn learn(&mut self, at: TickId, price: Price, sources: usize, interval: Duration) {
        let is_agreed = sources > 1;
        if let Some((before, earlier)) = self.newest {
            // After a correction of the clock, the time since the earlier price is not known.
            if is_agreed && self.is_agreed && at > before {
                let ms = at.since(before).max(interval).as_millis();
                let speed = earlier.deviation(price) / Decimal::from(ms.max(1));
                while self.speeds.back().is_some_and(|(_, slower)| *slower <= speed) {
                    self.speeds.pop_back();
                }
                self.speeds.push_back((at, speed));
                self.drop_old(at);
            }
        }
        (self.newest, self.is_agreed) = (Some((at, price)), is_agreed);
    }

    /// Returns the bound of a single source's price at `now`.
    pub(super) fn bound(&self, now: TickId) -> Option<MoveBound> {
        let ((at, previous), (_, speed)) = (self.newest?, self.speeds.front()?);
        let elapsed = Decimal::from(now.ms().saturating_sub(at.ms()));
        let share = speed.checked_mul(elapsed)?;
        let max_move = previous.value().checked_mul(share)?.round_dp(DECIMALS).min(MAX_MOVE);
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
            speed.learn(at(second), price.parse().unwrap(), *sources, Duration::ZERO);
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
    fn prices_count_as_an_interval_apart() {
        let mut speed = SpeedLimit::default();
        let mut learn = |ms: u64, price: &str| {
            speed.learn(TickId::from_ms(at(0).ms() + ms), price.parse().unwrap(), 2, Duration::from_secs(5));
            speed.bound(TickId::from_ms(at(5).ms() + ms)).map(|bound| bound.max_move.normalize().to_string())
        };
        assert_eq!(learn(0, "100000"), None);
        // A new leader polls 200 ms after the last price.
        assert_eq!(learn(200, "100020").unwrap(), "20");
        // The clock was an hour ahead, and is corrected.
        learn(3_600_000, "100020");
        assert_eq!(learn(5200, "100020").unwrap(), "20", "the time since the newest price is known again");
    }

    #[test]
    fn bound_grows_with_time_and_outlasts_an_hour() {
        let mut speed = SpeedLimit::default();
        for (second, price) in [(0, "100000"), (10, "100100"), (11, "100100")] {
            speed.learn(at(second), price.parse().unwrap(), 2, Duration::ZERO);
        }
        let max_move =
            |speed: &SpeedLimit, second| speed.bound(at(second)).map(|bound| bound.max_move.normalize().to_string());
        assert_eq!(max_move(&speed, 12).unwrap(), "10.01");
        assert_eq!(max_move(&speed, 21).unwrap(), "100.1");
        // The bound of a single source does not expire.
        speed.learn(at(4000), "100100".parse().unwrap(), 1, Duration::ZERO);
        assert_eq!(max_move(&speed, 4010).unwrap(), "100.1");
        // Several sources agree again, and have not moved for an hour.
        for second in [4020, 4030] {
            speed.learn(at(second), "100100".parse().unwrap(), 2, Duration::ZERO);
        }
        assert_eq!(max_move(&speed, 4040).unwrap(), "0");
    }
}
