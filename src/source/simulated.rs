//! A market that is made up, for trying things out. It runs only where it was asked for by name, or by `btcfeed demo`, and
//! every `full` tick names it among its sources.

use super::{Answer, Observation, SIMULATED, Source};
use crate::tick::{Currencies, Currency, TickId};
use async_trait::async_trait;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where the walk begins, in cents.
const START: i64 = 9_500_000;
/// The largest step, in hundredths of a per mille of the price.
const STEP: i64 = 40;
/// Euro cents for a hundred dollars.
const EUR_CENTS: i64 = 9_200;

/// A random walk that is drawn towards where it began, so that it never runs away.
pub(super) struct Simulated {
    cents: Mutex<i64>,
}

impl Default for Simulated {
    fn default() -> Simulated {
        Simulated { cents: Mutex::new(START) }
    }
}

impl Simulated {
    fn step(&self) -> i64 {
        let mut cents = self.cents.lock().unwrap_or_else(PoisonError::into_inner);
        *cents += *cents * fastrand::i64(-STEP..=STEP) / 100_000 + (START - *cents) / 500;
        *cents
    }
}

#[async_trait]
impl Source for Simulated {
    fn name(&self) -> &'static str {
        SIMULATED
    }

    async fn observe(&self, currencies: Currencies, _deadline: Duration) -> Vec<Answer> {
        let usd = self.step();
        let time = Some(TickId::now());
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

    #[tokio::test]
    async fn the_walk_moves_and_stays_near_where_it_began() {
        let market = Simulated::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let answers = market.observe(Currencies::all(), Duration::ZERO).await;
            let [usd, eur] = &answers[0].as_ref().unwrap()[..] else { panic!("both currencies") };
            assert!(usd.price > eur.price);
            seen.insert(usd.price.to_string());
        }
        let cents = *market.cents.lock().unwrap();
        assert!((START / 2..START * 2).contains(&cents) && seen.len() > 1000, "{cents} cents, {} prices", seen.len());
    }
}
