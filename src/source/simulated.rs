//! A simulated market, for trials without the internet. It is polled only if the settings name it, or by `btcfeed
//! demo`. Clients can recognize simulated prices, because a tick names its sources in the format `full`.

use super::definition::{Definition, Origin};
use super::observation::{Answer, Observation, Source};
use crate::tick::{Currencies, Currency, TickId};
use async_trait::async_trait;
use std::time::Duration;

/// The name of the simulated market.
pub const SIMULATED: &str = "simulated";

pub(super) const DEFINITION: Definition = Definition {
    name: SIMULATED,
    title: "Simulated market",
    currencies: Currencies::all(),
    is_default: false,
    least_interval: Duration::ZERO,
    attribution: None,
    terms: None,
    origin: Origin::Simulation(|| Box::new(Simulated)),
};

/// The price around which the market moves, in cents.
const MIDDLE: i64 = 9_500_000;
/// The number of waves. The slowest has a period of six days.
const WAVES: u32 = 12;
/// The period of the fastest wave in milliseconds, and its maximum height in cents.
const FASTEST: (u64, i64) = (125, 240);
/// The distance of bid and ask from the price, in cents.
const HALF_SPREAD: i64 = 5;

/// A sum of waves. Each wave has four times the period and twice the maximum height of the one before it, so the sum
/// looks like a real price. The price depends only on the time, so it does not jump when another replica becomes the
/// leader.
struct Simulated;

/// Returns the price at a moment, in cents of a dollar.
fn cents_at(moment: TickId) -> i64 {
    let wave = |number: u32| {
        let (period, height) = (FASTEST.0 << (2 * number), FASTEST.1 << number);
        let (cycle, offset) = (moment.ms() / period, moment.ms() % period);
        let at = |cycle: u64| fastrand::Rng::with_seed(cycle ^ u64::from(number) << 56).i64(-height..=height);
        let (from, to) = (at(cycle), at(cycle + 1));
        // Linear interpolation is sufficient, because the sum of the waves is rough anyway.
        from + (to - from) * offset.cast_signed() / period.cast_signed()
    };
    MIDDLE + (0..WAVES).map(wave).sum::<i64>()
}

/// Returns the value of 100 US dollars in a currency, in hundredths of its unit.
fn hundredths_per_100_usd(currency: Currency) -> i64 {
    match currency {
        Currency::Usd => 10_000,
        Currency::Eur => 9_200,
        Currency::Gbp => 7_900,
        Currency::Jpy => 1_520_000,
        Currency::Chf => 8_900,
        Currency::Cad => 13_900,
        Currency::Aud => 15_300,
    }
}

#[async_trait]
impl Source for Simulated {
    fn name(&self) -> &'static str {
        SIMULATED
    }

    fn currencies(&self) -> Currencies {
        Currencies::all()
    }

    async fn observe(&self, currencies: Currencies, _deadline: Duration) -> Vec<Answer> {
        let now = TickId::now();
        let (usd, time) = (cents_at(now), Some(now));
        let observed = currencies.iter().map(|currency| {
            let cents = usd * hundredths_per_100_usd(currency) / 10_000;
            let price = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100).parse().ok();
            let (bid, ask) = (price(cents - HALF_SPREAD), price(cents + HALF_SPREAD));
            Observation { currency, bid, ask, last: price(cents), volume: None, time, trade_time: time }
        });
        vec![Answer::new(observed.collect(), Vec::new(), Duration::ZERO)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_market_moves_without_jumps() {
        let begin = TickId::from_ms(1_795_166_431_075);
        let prices =
            |step_ms: u64, count: u64| (0..count).map(move |n| cents_at(TickId::from_ms(begin.ms() + n * step_ms)));
        // A year in steps of an hour, and ten minutes in steps of five seconds.
        assert!(prices(3_600_000, 8760).all(|cents| (MIDDLE - cents).abs() < MIDDLE / 8));
        let slow: Vec<_> = prices(5000, 120).collect();
        assert!(slow.windows(2).all(|pair| (pair[1] - pair[0]).abs() < MIDDLE / 500), "{slow:?}");
        assert!(slow.windows(2).filter(|pair| pair[0] != pair[1]).count() > 110, "{slow:?}");
        let (lowest, highest) = (slow.iter().min().unwrap(), slow.iter().max().unwrap());
        assert!(highest - lowest > MIDDLE / 2000, "{lowest} to {highest}");
    }

    #[tokio::test]
    async fn simulated_prices_have_two_decimals() {
        let answers = Simulated.observe(Currencies::all(), Duration::ZERO).await;
        let [usd, eur, ..] = &answers[0].observations[..] else { panic!("all currencies") };
        assert!(usd.last > eur.last && answers[0].observations.len() == Currency::ALL.len());
        for price in [usd.bid, usd.ask, usd.last].map(Option::unwrap) {
            assert!(price.to_string().split_once('.').is_some_and(|(_, cents)| cents.len() == 2), "{price}");
        }
        assert_eq!(usd.bid.unwrap().midpoint(usd.ask.unwrap()), usd.last.unwrap(), "the last trade is the middle");
    }
}
