//! The feed's health as this replica sees it, in the log and in the metrics.
//!
//! The leader writes a status when the feed's health changes. A replica that is cut off from the store, or whose feed has no
//! leader, does not get it. So this replica also looks at the age of the newest ticks, and the worse of the two counts. The
//! age is that of the tick's id by this machine's clock.

use crate::feed::{Feed, FeedState};
use crate::hub::Hub;
use crate::source::SIMULATED;
use crate::store::Store;
use crate::telemetry::metrics::{FEED_STATE, LEADER_CHANGES, SIMULATED as SIMULATED_PRICES, STORE_UP, TICK_AGE};
use crate::telemetry::scrape;
use crate::text::format_duration;
use crate::tick::{Currencies, Currency, TickId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Time between two checks.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Bounds of a healthy feed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The currencies of the feed.
    pub currencies: Currencies,
    /// The age from which the newest tick of a currency is stale.
    pub stale_after: Duration,
    /// The age of all newest ticks from which the feed is down.
    pub down_after: Duration,
}

/// The feed's health at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The state.
    pub state: FeedState,
    /// The reason, as text for people.
    pub reason: String,
    /// The age of each currency's newest tick.
    pub ages: Vec<(Currency, Duration)>,
}

/// Observer of the feed on this replica.
pub struct Monitor {
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    options: Options,
    started: TickId,
}

impl Monitor {
    /// Creates an observer of the feed in `store`, of which `hub` is this replica's copy.
    pub fn new(hub: Arc<Hub>, store: Arc<dyn Store>, options: Options) -> Monitor {
        Monitor { hub, store, options, started: TickId::now() }
    }

    /// Returns the feed's health now.
    pub fn health(&self) -> Health {
        let now = TickId::now();
        let age = |currency: Currency| {
            let newest = self.hub.latest_tick(currency.into());
            (currency, now.since(newest.map_or(self.started, |tick| tick.id)))
        };
        let ages: Vec<_> = self.options.currencies.iter().map(age).collect();
        let (own, own_reason) = self.options.judge(&ages);
        let status = self.hub.status();
        match status.as_ref().and_then(|entry| entry.status()).filter(|status| status.state >= own) {
            Some(status) => Health { state: status.state, reason: status.reason.clone(), ages },
            None => Health { state: own, reason: own_reason, ages },
        }
    }

    /// Logs each change of the feed's state, and keeps the metrics up to date, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let (mut logged, mut leader) = (None, None);
            let mut checks = interval(CHECK_EVERY);
            checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                checks.tick().await;
                let health = self.health();
                log_change(&mut logged, &health);
                self.measure(&health);
                self.check_store(&mut leader).await;
                scrape::run_upkeep();
            }
        })
        .await;
    }

    fn measure(&self, health: &Health) {
        for state in [FeedState::Live, FeedState::Stale, FeedState::Down] {
            FEED_STATE.gauge(state.as_str()).set(u8::from(state == health.state));
        }
        for (currency, age) in &health.ages {
            TICK_AGE.gauge(currency.code()).set(age.as_secs_f64());
        }
        let newest = self.hub.newest(&|entry| entry.tick().is_some());
        let simulated = newest
            .as_ref()
            .and_then(|entry| entry.tick())
            .is_some_and(|tick| tick.sources.values().flatten().any(|source| source == SIMULATED));
        SIMULATED_PRICES.gauge("").set(u8::from(simulated));
    }

    /// Asks the store who leads, which also shows whether it answers.
    async fn check_store(&self, leader: &mut Option<String>) {
        let holder = self.store.holder().await;
        STORE_UP.gauge("").set(u8::from(holder.is_ok()));
        if let Ok(Some(holder)) = holder
            && leader.as_ref() != Some(&holder)
            && leader.replace(holder).is_some()
        {
            LEADER_CHANGES.counter("").increment(1);
        }
    }
}

impl Options {
    /// Returns the state that follows from the ages alone, and the reason.
    fn judge(&self, ages: &[(Currency, Duration)]) -> (FeedState, String) {
        let newest = ages.iter().map(|(_, age)| *age).min().unwrap_or_default();
        let oldest = ages.iter().map(|(_, age)| *age).max().unwrap_or_default();
        let state = if newest > self.down_after {
            FeedState::Down
        } else if oldest > self.stale_after {
            FeedState::Stale
        } else {
            FeedState::Live
        };
        let reason = match state {
            FeedState::Live => "prices arrive".to_owned(),
            _ => format!(
                "this replica has received no tick for {} in some currency",
                format_duration(Duration::from_secs(oldest.as_secs()))
            ),
        };
        (state, reason)
    }
}

/// Logs the state if it is not the one that was logged last. The first state is logged only if it is not live.
fn log_change(logged: &mut Option<FeedState>, health: &Health) {
    let before = logged.replace(health.state).unwrap_or(FeedState::Live);
    let (state, reason) = (health.state.as_str(), &health.reason);
    if before == health.state {
        return;
    }
    match health.state {
        FeedState::Live => info!(state, reason, "the feed is live"),
        FeedState::Stale => warn!(state, reason, "the feed is stale"),
        FeedState::Down => warn!(state, reason, "the feed is down"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_follows_from_the_age_of_ticks() {
        let seconds = Duration::from_secs;
        let options = Options { currencies: Currencies::all(), stale_after: seconds(15), down_after: seconds(60) };
        let state = |usd, eur| options.judge(&[(Currency::Usd, seconds(usd)), (Currency::Eur, seconds(eur))]).0;
        assert_eq!(state(15, 15), FeedState::Live);
        assert_eq!(state(1, 16), FeedState::Stale);
        assert_eq!(state(60, 600), FeedState::Stale);
        assert_eq!(state(61, 600), FeedState::Down);
    }
}
