//! The steps of a load test: clients start one after the other, are measured, and stop together.

use super::plan::Plan;
use super::progress::ProgressDisplay;
use super::reader;
use super::stats::{SharedStats, Stats};
use crate::cli::format::{brief_duration, counted, grouped, measured_duration, rate};
use crate::client::{Client, Error};
use crate::shutdown::Tasks;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// The time between two reads of the statistics before and after the measurement.
const POLL: Duration = Duration::from_millis(20);
/// The time between two reads of the statistics during the measurement. It is longer, because each read slows the
/// clients down a little.
const POLL_MEASURING: Duration = Duration::from_millis(100);
/// The timeout of the wait for the next client to get in sync.
const SYNC_TIMEOUT: Duration = Duration::from_secs(20);
/// The time in which the newest entry must reach all clients after the measurement.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(3);
/// The time in which the clients must stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The result of a load test.
pub(super) struct LoadResult {
    pub(super) stats: Stats,
    /// The number of clients that were started.
    pub(super) started: usize,
    /// The time of the measurement.
    pub(super) measured: Duration,
    /// True if the user ended the test early.
    pub(super) interrupted: bool,
}

/// The reason why there is no result.
pub(super) enum LoadError {
    /// No server can be reached.
    Unreachable(String),
    /// The server rejects the clients, or is not a feed.
    Rejected(Error),
}

pub(super) struct LoadTest<'a> {
    plan: &'a Plan,
    /// The SDK clients, one for each local address. Each client of the test is a stream of one of them.
    clients: Vec<Client>,
    started: usize,
    stats: SharedStats,
    tasks: Tasks,
    /// Stops the clients.
    stop_clients: CancellationToken,
    /// Is cancelled when the user ends the test.
    stop: CancellationToken,
}

impl<'a> LoadTest<'a> {
    /// Creates a test, which [`run`](Self::run) starts.
    pub(super) fn new(plan: &'a Plan, clients: Vec<Client>, stop: CancellationToken) -> LoadTest<'a> {
        let stats = SharedStats::new(Stats::new(plan.connections));
        let (tasks, stop_clients) = (Tasks::default(), CancellationToken::new());
        LoadTest { plan, clients, started: 0, stats, tasks, stop_clients, stop }
    }

    /// Runs the test.
    pub(super) async fn run(mut self, progress: &mut ProgressDisplay) -> Result<LoadResult, LoadError> {
        self.find_feed().await?;
        self.connect(progress).await;
        let measured = self.measure(progress).await;
        self.settle(progress).await;
        let interrupted = self.stop.is_cancelled();
        self.stop_clients.cancel();
        self.tasks.finish(STOP_TIMEOUT).await;
        let stats = std::mem::replace(&mut *self.stats.lock(), Stats::new(0));
        Ok(LoadResult { stats, started: self.started, measured, interrupted })
    }

    fn start(&mut self) {
        let updates = self.clients[self.started % self.clients.len()].subscribe();
        self.tasks.spawn(reader::read(self.started, updates, self.stats.clone(), self.stop_clients.clone()));
        self.started += 1;
    }

    /// Polls `is_done` until it returns true or the user ends the test.
    async fn poll_until(&mut self, period: Duration, mut is_done: impl FnMut(&mut Self) -> bool) {
        let mut polls = interval(period);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.stop.run_until_cancelled(polls.tick()).await.is_some() && !is_done(self) {}
    }

    /// Starts the first client and waits until it is connected. If it has failed at each address, there is no feed, and
    /// no other client needs to start.
    async fn find_feed(&mut self) -> Result<(), LoadError> {
        self.start();
        let tries = self.plan.urls.len() as u64;
        self.poll_until(POLL, |test| {
            let stats = test.stats.lock();
            stats.ever_connected() > 0 || stats.rejected > 0 || stats.failed() >= tries
        })
        .await;
        let mut stats = self.stats.lock();
        if stats.ever_connected() > 0 || stats.failed() == 0 {
            return Ok(());
        }
        let reasons = stats.failures.keys().cloned().collect::<Vec<_>>().join("; ");
        Err(stats.rejection.take().map_or(LoadError::Unreachable(reasons), LoadError::Rejected))
    }

    /// Starts the other clients at the rate of the plan. Waits until each is in sync or rejected, or until no further
    /// client has got in sync for [`SYNC_TIMEOUT`].
    async fn connect(&mut self, progress: &mut ProgressDisplay) {
        let Plan { connections, rate, .. } = *self.plan;
        let started_at = Instant::now();
        // The highest number of clients in sync, and the time at which it was reached.
        let mut latest = (0, started_at);
        let all = grouped(&connections.to_string());
        progress.begin("connecting", connections as u64);
        self.poll_until(POLL, |test| {
            let due = started_at.elapsed().as_micros() * u128::from(rate) / 1_000_000;
            while test.started < connections && test.started as u128 <= due {
                test.start();
            }
            let stats = test.stats.lock();
            let (in_sync, rejected, failed) = (stats.in_sync, stats.rejected, stats.failed());
            // Unlocked here, so that the clients do not wait for a slow terminal.
            drop(stats);
            if in_sync > latest.0 {
                latest = (in_sync, Instant::now());
            }
            let failed = if failed == 0 { String::new() } else { format!(" · {}", counted(failed, "failure")) };
            progress.show(in_sync as u64, format!("{} of {all}{failed}", grouped(&in_sync.to_string())));
            test.started == connections && (in_sync + rejected >= connections || latest.1.elapsed() > SYNC_TIMEOUT)
        })
        .await;
        let in_sync = grouped(&self.stats.lock().in_sync.to_string());
        progress
            .print(&format!("{in_sync} of {all} clients are in sync after {}", brief_duration(started_at.elapsed())));
    }

    /// Measures for the time of the plan, and returns the time that was measured.
    async fn measure(&mut self, progress: &mut ProgressDisplay) -> Duration {
        self.stats.lock().begin();
        let (started_at, duration) = (Instant::now(), self.plan.duration);
        progress.begin("measuring", u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        self.poll_until(POLL_MEASURING, |test| {
            let elapsed = started_at.elapsed();
            let done = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let message = summary_line(&test.stats.lock(), elapsed);
            progress.show(done, message);
            elapsed >= duration || test.stats.lock().rejected >= test.started
        })
        .await;
        self.stats.lock().end();
        started_at.elapsed()
    }

    /// Waits for at most [`SETTLE_TIMEOUT`] until the newest entry has reached all clients, even if the user ended the
    /// test. A second signal ends the process.
    async fn settle(&mut self, progress: &mut ProgressDisplay) {
        let started_at = Instant::now();
        let mut polls = interval(POLL);
        progress.begin("waiting for the newest update", 1);
        while started_at.elapsed() < SETTLE_TIMEOUT {
            polls.tick().await;
            let stats = self.stats.lock();
            if stats.at_newest() == stats.ever_connected() {
                return;
            }
        }
    }
}

/// Returns the progress of the measurement in one line.
fn summary_line(stats: &Stats, elapsed: Duration) -> String {
    let (connected, rate) = (grouped(&stats.connected.to_string()), rate(stats.updates, elapsed));
    let p99 = if stats.age.is_empty() { "–".to_owned() } else { measured_duration(stats.age.quantile(0.99)) };
    format!("{connected} connected · {rate} updates/s · age p99 {p99} · {} lost", stats.lost)
}
