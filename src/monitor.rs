//! The feed's health as this replica sees it, in the log, in the metrics and in reports.
//!
//! The leader writes a status when the feed's health changes. If a replica has no connection to the store, or if there
//! is no leader, the replica gets no status. So it also derives a state from the age of the newest ticks, and the worse
//! of this state and the leader's status counts. The age of a tick is the current time minus its id. No clock is
//! trusted alone (`clocks`).
//!
//! Once a second the replica also notes in the store that it is alive. The store answers with the leader and all
//! replicas that are alive.

mod clocks;

use crate::feed::{Entry, Feed, FeedState};
use crate::hub::Hub;
use crate::leader::FeedClock;
use crate::message::{ReplicaReport, SourceReport, StatusReport, StoreReport, Word};
use crate::source::SIMULATED as SIMULATED_SOURCE;
use crate::store::{Members, ReplicaBeat, Store};
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::{FEED_STATE, LEADER_CHANGES, REPLICAS, SIMULATED, STORE_UP, TICK_AGE};
use crate::telemetry::scrape;
use crate::text::format_duration;
use crate::tick::{Currencies, Currency, TickId};
use clocks::Arrival;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Time between two checks.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Description of a replica, and the bounds of a healthy feed.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the replica.
    pub replica: String,
    /// The kind of the store: `redis`, `disk` or `memory`.
    pub store: &'static str,
    /// The names of the sources that the replica polls while it leads.
    pub sources: Vec<&'static str>,
    /// The currencies of the feed.
    pub currencies: Currencies,
    /// The age of a currency's newest tick above which the feed is stale.
    pub stale_after: Duration,
    /// The age of the newest tick above which the feed is down.
    pub down_after: Duration,
}

/// The feed's health at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The state.
    pub state: FeedState,
    /// The reason, as text for people.
    pub reason: String,
    /// The age of each currency's newest tick. If there has been none, the time since the start of the replica.
    pub ages: Vec<(Currency, Duration)>,
    /// The age of the newest tick with a price in any currency. If there has been none, the time since the start.
    pub tip_age: Duration,
    /// True if the newest prices are simulated.
    pub is_simulated: bool,
}

/// Observer of the feed on this replica.
pub struct Monitor {
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    options: Options,
    /// The names of the sources that the replica polls while it leads.
    sources: Mutex<Vec<&'static str>>,
    clock: Arc<FeedClock>,
    started: Instant,
    started_at: TickId,
    /// A std lock, never held across an `.await`.
    seen: Mutex<Seen>,
}

/// The state at the last check, and the rate limits of the log lines. The first state is logged only if it is not live.
#[derive(Default)]
struct StateLog {
    state: Option<FeedState>,
    silence: FaultLog,
    store: FaultLog,
    warnings: FaultLog,
}

/// Results of the last checks.
#[derive(Default)]
struct Seen {
    /// The newest tick of each currency.
    newest: BTreeMap<Currency, TickId>,
    arrival: Arrival,
    /// The warnings about clocks and settings, as texts for people.
    warnings: Vec<String>,
    members: Members,
    /// The last known leader. It is kept while there is no leader.
    leader: Option<String>,
    is_store_up: bool,
    /// The reason why new entries cannot be written, if they cannot.
    store_fault: Option<String>,
    /// The store's error in the last check, if it failed.
    store_error: Option<String>,
}

impl Monitor {
    /// Creates an observer of the feed in `store`, which `hub` follows.
    pub fn new(hub: Arc<Hub>, store: Arc<dyn Store>, mut options: Options) -> Monitor {
        let (started, started_at, clock) = (Instant::now(), TickId::now(), Arc::default());
        let sources = Mutex::new(mem::take(&mut options.sources));
        Monitor { hub, store, options, sources, clock, started, started_at, seen: Mutex::default() }
    }

    /// Replaces the names of the sources that the replica polls while it leads.
    pub fn set_sources(&self, sources: Vec<&'static str>) {
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = sources;
    }

    /// Sets the clock that counts the feed's time on this replica.
    #[must_use]
    pub fn with_clock(self, clock: Arc<FeedClock>) -> Monitor {
        Monitor { clock, ..self }
    }

    /// Returns the age above which the newest tick is stale.
    pub fn stale_after(&self) -> Duration {
        self.options.stale_after
    }

    /// Returns the current time. From the second tick on, one wrong clock does not change it.
    pub fn now(&self) -> TickId {
        self.time_since(self.hub.newest_tick().as_deref(), &mut self.seen())
    }

    /// Notes the newest tick, and returns the current time.
    fn time_since(&self, tip: Option<&Entry>, seen: &mut Seen) -> TickId {
        let moment = Instant::now();
        seen.arrival.note(tip.map_or(TickId::ZERO, |entry| entry.id), moment);
        seen.arrival.time(TickId::now(), self.store.clock(), moment)
    }

    /// Returns the current health of the feed. It uses only the newest tick, the newest status and the results of the
    /// last check, so it is cheap enough for every request.
    pub fn health(&self) -> Health {
        let tip = self.hub.newest_tick();
        let mut seen = self.seen();
        let now = self.time_since(tip.as_deref(), &mut seen);
        for currency in tip.iter().filter_map(|entry| entry.tick()).flat_map(|tick| tick.currencies().iter()) {
            seen.newest.insert(currency, tip.as_ref().map_or(TickId::ZERO, |entry| entry.id));
        }
        let age = |currency| (currency, now.since(seen.newest.get(&currency).copied().unwrap_or(self.started_at)));
        let ages: Vec<_> = self.options.currencies.iter().map(age).collect();
        drop(seen);
        let tip_age = now.since(tip.as_ref().map_or(self.started_at, |entry| entry.id));
        let is_simulated = tip.is_some_and(|entry| is_simulated(&entry));
        let (own, own_reason) = self.options.assess(tip_age, &ages);
        let status = self.hub.status();
        let (state, reason) = match status.as_ref().and_then(|entry| entry.status()) {
            Some(status) if status.state >= own => (status.state, status.reason.clone()),
            _ => (own, own_reason),
        };
        Health { state, reason, ages, tip_age, is_simulated }
    }

    /// Logs each change of the feed's state, updates the metrics, and reports to the store that this replica is alive,
    /// until `stop` is cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut log = StateLog::default();
            let mut checks = interval(CHECK_EVERY);
            checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                checks.tick().await;
                self.look_back();
                let health = self.health();
                self.log(&mut log, &health);
                measure(&health);
                self.beat().await;
                scrape::run_upkeep();
            }
        })
        .await;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the newest tick of each currency. For a currency without a recent price, this searches the whole window.
    fn look_back(&self) {
        let newest = |currency: Currency| Some((currency, self.hub.latest_tick(currency.into())?.id));
        let newest: Vec<_> = self.options.currencies.iter().filter_map(newest).collect();
        self.seen().newest.extend(newest);
    }

    /// Reports to the store that this replica is alive, and notes the answer: the leader, the replicas, and whether the
    /// store is available. Also notes the warnings about clocks and settings.
    async fn beat(&self) {
        let (name, version) = (self.options.replica.clone(), env!("CARGO_PKG_VERSION").to_owned());
        let answer = self.store.beat(&ReplicaBeat { name, version }).await;
        let mut seen = self.seen();
        seen.store_error = answer.as_ref().err().map(ToString::to_string);
        seen.store_fault = self.store.fault();
        seen.warnings = clocks::warnings(self.store.clock(), &self.clock);
        seen.warnings.extend(self.store.warning());
        seen.is_store_up = answer.is_ok() && seen.store_fault.is_none();
        STORE_UP.gauge("").set(u8::from(seen.is_store_up));
        if let Ok(members) = answer {
            let is_new = |leader: &String| members.leader.as_ref().is_some_and(|now| now != leader);
            LEADER_CHANGES.counter("").increment(u64::from(seen.leader.as_ref().is_some_and(is_new)));
            seen.leader = members.leader.clone().or(seen.leader.take());
            REPLICAS.gauge("").set(u32::try_from(members.replicas.len()).unwrap_or(u32::MAX));
            seen.members = members;
        } else {
            (seen.members.leader, seen.members.lease_ttl) = (None, None);
        }
    }

    /// Logs each change of the feed's state. Also logs what lasts, at most once a minute: a state other than live,
    /// warnings, and a store that fails.
    fn log(&self, log: &mut StateLog, health: &Health) {
        let (state, reason) = (health.state.as_str(), &health.reason);
        let is_new = log.state.replace(health.state).unwrap_or(FeedState::Live) != health.state;
        if is_new {
            log.silence.clear();
        }
        // The lock is not held while a line is written, which may block.
        let (fault, Members { leader, lease_ttl, .. }, warnings) = {
            let seen = self.seen();
            let fault = seen.store_error.as_ref().or(seen.store_fault.as_ref()).cloned();
            (fault, seen.members.clone(), seen.warnings.join("; "))
        };
        let (error, leader) = (fault.as_deref().unwrap_or("none"), leader.as_deref().unwrap_or("none"));
        let age = format_duration(Duration::from_secs(health.tip_age.as_secs()));
        let lease_ttl = lease_ttl.map_or_else(|| "none".to_owned(), format_duration);
        match health.state {
            FeedState::Live if is_new => info!(state, reason, "the feed is live"),
            FeedState::Live => {}
            FeedState::Degraded | FeedState::Stale | FeedState::Down if !log.silence.is_due() => {}
            FeedState::Degraded => warn!(state, reason, leader, "prices come from few sources"),
            FeedState::Stale => warn!(state, reason, age, leader, lease_ttl, error, "the feed is stale"),
            FeedState::Down => warn!(state, reason, age, leader, lease_ttl, error, "the feed is down"),
        }
        if warnings.is_empty() {
            log.warnings.clear();
        } else if log.warnings.is_due() {
            warn!(warnings, "clocks or settings differ");
        }
        if fault.is_none() {
            log.store.clear();
        } else if log.store.is_due() {
            warn!(error, leader, "the store cannot be written at the moment");
        }
    }

    /// Returns a report about the feed and its replicas. Also returns the age of the newest tick.
    pub fn report(&self) -> (StatusReport<'static>, Duration) {
        let health = self.health();
        let sources = self.sources();
        let Health { state, reason, ages, tip_age, is_simulated } = health;
        let seen = self.seen();
        let tick_age_ms = ages
            .into_iter()
            .filter(|(currency, _)| seen.newest.contains_key(currency))
            .map(|(currency, age)| (currency, u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
            .collect();
        let replicas = seen.members.replicas.iter().map(|replica| ReplicaReport {
            name: replica.name.clone().into(),
            version: replica.version.clone().into(),
        });
        let report = StatusReport {
            state: state.into(),
            reason: reason.into(),
            tick_age_ms,
            last_id: self.hub.head(),
            simulated: is_simulated,
            leader: seen.members.leader.clone().map(Cow::Owned),
            replica: self.options.replica.clone().into(),
            replicas: replicas.collect(),
            sources,
            store: StoreReport {
                kind: self.options.store.into(),
                up: seen.is_store_up,
                fault: seen.store_fault.clone().map(Cow::Owned),
            },
            warnings: seen.warnings.iter().cloned().map(Cow::Owned).collect(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: self.started.elapsed().as_secs(),
        };
        (report, tip_age)
    }

    /// Returns the configured sources and those of the newest tick, each with the currencies for which it contributed
    /// to this tick.
    fn sources(&self) -> Vec<SourceReport<'static>> {
        let configured = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut sources: BTreeMap<String, Vec<Word<Currency>>> =
            configured.into_iter().map(|name| (name.to_owned(), Vec::new())).collect();
        let tip = self.hub.newest_tick();
        for (currency, names) in tip.iter().filter_map(|entry| entry.tick()).flat_map(|tick| &tick.sources) {
            for name in names {
                sources.entry(name.clone()).or_default().push((*currency).into());
            }
        }
        sources.into_iter().map(|(name, currencies)| SourceReport { name: name.into(), currencies }).collect()
    }
}

/// Returns true if the prices of a tick are simulated.
fn is_simulated(entry: &Entry) -> bool {
    entry.tick().is_some_and(|tick| tick.sources.values().flatten().any(|source| source == SIMULATED_SOURCE))
}

fn measure(health: &Health) {
    for state in FeedState::ALL {
        FEED_STATE.gauge(state.as_str()).set(u8::from(state == health.state));
    }
    for (currency, age) in &health.ages {
        TICK_AGE.gauge(currency.code()).set(age.as_secs_f64());
    }
    SIMULATED.gauge("").set(u8::from(health.is_simulated));
}

impl Options {
    /// Returns the state that follows from the ages alone, and the reason.
    fn assess(&self, tip_age: Duration, ages: &[(Currency, Duration)]) -> (FeedState, String) {
        let oldest = ages.iter().max_by_key(|(_, age)| *age);
        let Some((currency, oldest)) = oldest else { return (FeedState::Down, "the feed has no currency".to_owned()) };
        let state = if tip_age > self.down_after {
            FeedState::Down
        } else if *oldest > self.stale_after {
            FeedState::Stale
        } else {
            FeedState::Live
        };
        let reason = match state {
            FeedState::Live => "prices arrive".to_owned(),
            FeedState::Degraded | FeedState::Stale | FeedState::Down => {
                let age = format_duration(Duration::from_secs(oldest.as_secs()));
                format!("this replica has received no price in {currency} for {age}")
            }
        };
        (state, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_follows_from_the_age_of_ticks() {
        let seconds = Duration::from_secs;
        let options = Options {
            replica: "r1".to_owned(),
            store: "memory",
            sources: vec![],
            currencies: Currencies::USD_EUR,
            stale_after: seconds(15),
            down_after: seconds(60),
        };
        let assess = |usd: u64, eur| {
            let ages = [(Currency::Usd, seconds(usd)), (Currency::Eur, seconds(eur))];
            options.assess(seconds(usd.min(eur)), &ages)
        };
        let state = |usd, eur| assess(usd, eur).0;
        assert_eq!(state(15, 15), FeedState::Live);
        assert_eq!(state(1, 16), FeedState::Stale);
        assert_eq!(state(60, 600), FeedState::Stale);
        assert_eq!(state(61, 600), FeedState::Down);
        assert_eq!(assess(1, 16).1, "this replica has received no price in EUR for 16s");
    }
}
