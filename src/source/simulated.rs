//! A market that is made up, for trying things out. It runs only where it was asked for by name, or by `btcfeed demo`, and
//! every `full` tick names it among its sources.

use super::{Answer, Observation, SIMULATED, Source};
use crate::tick::{Currencies, Currency, TickId};
use async_trait::async_trait;
use std::time::Duration;

/// What it moves around, in cents.
const MIDDLE: i64 = 9_500_000;
/// How many waves there are: the slowest takes six days.
const WAVES: u32 = 12;
/// How long the fastest wave takes, in milliseconds, and how high it is at most, in cents.
const FASTEST: (u64, i64) = (125, 240);
/// Euro cents for a hundred dollars.
const EUR_CENTS: i64 = 9_200;

/// Waves of random heights, each four times as slow and twice as high as the one before it, which is what a random walk looks
/// like. It is a function of the time alone: where another replica takes over, the market is the same and does not jump.
pub(super) struct Simulated;

/// The price in dollars at a moment, in cents.
fn cents_at(moment: TickId) -> i64 {
    let wave = |number: u32| {
        let (period, height) = (FASTEST.0 << (2 * number), FASTEST.1 << number);
        let (turn, into) = (moment.ms() / period, moment.ms() % period);
        let at = |turn: u64| fastrand::Rng::with_seed(turn ^ u64::from(number) << 56).i64(-height..=height);
        let (from, to) = (at(turn), at(turn + 1));
        // In a line, which is enough: the waves add up to something rough.
        from + (to - from) * into.cast_signed() / period.cast_signed()
    };
    MIDDLE + (0..WAVES).map(wave).sum::<i64>()
}

#[async_trait]
impl Source for Simulated {
    fn name(&self) -> &'static str {
        SIMULATED
    }

    async fn observe(&self, currencies: Currencies, _deadline: Duration) -> Vec<Answer> {
        let now = TickId::now();
        let (usd, time) = (cents_at(now), Some(now));
        let observed = currencies.iter().filter_map(|currency| {
            let cents = match currency {
                Currency::Usd => usd,
                Currency::Eur => usd * EUR_CENTS / 10_000,
            };
            let price = format!("{}.{:02}", cents / 100, cents % 100).parse().ok()?;
            Some(Observation { currency, price, time })
        });
        vec![Ok(observed.collect())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_market_moves_stays_near_its_middle_and_does_not_jump() {
        let begin = TickId::from_ms(1_795_166_431_075);
        let prices =
            |step_ms: u64, count: u64| (0..count).map(move |n| cents_at(TickId::from_ms(begin.ms() + n * step_ms)));
        // A year, an hour at a time; ten minutes, five seconds at a time.
        assert!(prices(3_600_000, 8760).all(|cents| (MIDDLE - cents).abs() < MIDDLE / 8));
        let slow: Vec<_> = prices(5000, 120).collect();
        assert!(slow.windows(2).all(|pair| (pair[1] - pair[0]).abs() < MIDDLE / 500), "{slow:?}");
        assert!(slow.windows(2).filter(|pair| pair[0] != pair[1]).count() > 110, "{slow:?}");
        let (lowest, highest) = (slow.iter().min().unwrap(), slow.iter().max().unwrap());
        assert!(highest - lowest > MIDDLE / 2000, "{lowest} to {highest}");
    }

    #[tokio::test]
    async fn every_currency_has_a_price_of_two_digits() {
        let answers = Simulated.observe(Currencies::all(), Duration::ZERO).await;
        let [usd, eur] = &answers[0].as_ref().unwrap()[..] else { panic!("both currencies") };
        assert!(
            usd.price > eur.price && usd.price.to_string().split_once('.').is_some_and(|(_, cents)| cents.len() == 2)
        );
    }
}
