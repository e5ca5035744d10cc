//! All clients: they come one after the other, are counted while they read, and leave together.

use super::plan::Plan;
use super::progress::Progress;
use super::reader;
use super::tally::Tally;
use crate::cli::words::{brief, counted, exact, grouped};
use crate::client::{Client, Error};
use crate::shutdown::Tasks;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often it is looked at how far the clients are, while they come and go, and while they are measured. Each look costs them a little.
const LOOK: Duration = Duration::from_millis(20);
const LOOK_MEASURING: Duration = Duration::from_millis(100);
/// How long to wait for those who are missing, after the last that came.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the newest entry may take to reach everybody when measuring is over.
const SETTLE: Duration = Duration::from_secs(3);
/// How long it may take the clients to leave.
const LEAVE: Duration = Duration::from_secs(10);

/// The tally that all clients write in.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Tally>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// How many clients there were.
    pub(super) started: usize,
    /// How long was measured.
    pub(super) measured: Duration,
    /// Whether it was ended early.
    pub(super) interrupted: bool,
}

/// Why nothing came of it.
pub(super) enum Failure {
    /// Nobody answers.
    Unreachable(String),
    /// Who answers does not want clients like these, or is no feed.
    Refused(Error),
}

/// The clients.
pub(super) struct Crowd<'a> {
    plan: &'a Plan,
    /// One for each address to connect from.
    clients: Vec<Client>,
    started: usize,
    tally: Shared,
    tasks: Tasks,
    leave: CancellationToken,
    /// Whether the user has had enough.
    stop: CancellationToken,
}

impl<'a> Crowd<'a> {
    /// Nobody yet.
    pub(super) fn new(plan: &'a Plan, clients: Vec<Client>, stop: CancellationToken) -> Crowd<'a> {
        let tally = Shared(Arc::new(Mutex::new(Tally::new(plan.connections))));
        Crowd { plan, clients, started: 0, tally, tasks: Tasks::default(), leave: CancellationToken::new(), stop }
    }

    /// Does all of it.
    pub(super) async fn run(mut self, progress: &mut Progress) -> Result<Outcome, Failure> {
        self.find_feed().await?;
        self.connect(progress).await;
        let measured = self.measure(progress).await;
        self.settle(progress).await;
        let interrupted = self.stop.is_cancelled();
        self.leave.cancel();
        self.tasks.finish(LEAVE).await;
        let tally = std::mem::replace(&mut *self.tally.lock(), Tally::new(0));
        Ok(Outcome { tally, started: self.started, measured, interrupted })
    }

    fn start(&mut self) {
        let updates = self.clients[self.started % self.clients.len()].subscribe();
        self.tasks.spawn(reader::read(self.started, updates, self.tally.clone(), self.leave.clone()));
        self.started += 1;
    }

    /// Looks again and again until `is_over`, or the user has had enough.
    async fn watch(&mut self, look: Duration, mut is_over: impl FnMut(&mut Self) -> bool) {
        let mut looks = interval(look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A look is not waited for when the user has had enough, and nothing is lost with it.
        while self.stop.run_until_cancelled(looks.tick()).await.is_some() && !is_over(self) {}
    }

    /// The first client goes ahead, so that a thousand need not find out that nothing is there. It may try every address once.
    async fn find_feed(&mut self) -> Result<(), Failure> {
        self.start();
        let tries = self.plan.urls.len() as u64;
        self.watch(LOOK, |crowd| {
            let tally = crowd.tally.lock();
            tally.ever_connected() > 0 || tally.refused > 0 || tally.failed() >= tries
        })
        .await;
        let mut tally = self.tally.lock();
        if tally.ever_connected() > 0 || tally.failed() == 0 {
            return Ok(());
        }
        let said = tally.failures.keys().cloned().collect::<Vec<_>>().join("; ");
        Err(tally.refusal.take().map_or(Failure::Unreachable(said), Failure::Refused))
    }

    /// The others come, at the rate that was asked for, and all of them are waited for.
    async fn connect(&mut self, progress: &mut Progress) {
        let Plan { connections, rate, .. } = *self.plan;
        let begun = Instant::now();
        // How many there were when there were more than before, and when that was.
        let mut latest = (0, begun);
        let all = grouped(&connections.to_string());
        progress.begin("connecting", connections as u64);
        self.watch(LOOK, |crowd| {
            let due = begun.elapsed().as_micros() * u128::from(rate) / 1_000_000;
            while crowd.started < connections && crowd.started as u128 <= due {
                crowd.start();
            }
            let tally = crowd.tally.lock();
            let (there, refused, failed) = (tally.in_sync, tally.refused, tally.failed());
            // A terminal may be slow, and the clients need not wait for it.
            drop(tally);
            if there > latest.0 {
                latest = (there, Instant::now());
            }
            let failed = if failed == 0 { String::new() } else { format!(" · {}", counted(failed, "failure")) };
            progress.show(there as u64, format!("{} of {all}{failed}", grouped(&there.to_string())));
            crowd.started == connections && (there + refused >= connections || latest.1.elapsed() > PATIENCE)
        })
        .await;
        let there = grouped(&self.tally.lock().in_sync.to_string());
        progress.tell(&format!("{there} of {all} clients are in sync after {}", brief(begun.elapsed())));
    }

    /// Lets time pass; how much.
    async fn measure(&mut self, progress: &mut Progress) -> Duration {
        self.tally.lock().begin();
        let (begun, duration) = (Instant::now(), self.plan.duration);
        progress.begin("measuring", u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        self.watch(LOOK_MEASURING, |crowd| {
            let elapsed = begun.elapsed();
            let done = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let standing = standing(&crowd.tally.lock(), elapsed);
            progress.show(done, standing);
            elapsed >= duration || crowd.tally.lock().refused >= crowd.started
        })
        .await;
        self.tally.lock().end();
        begun.elapsed()
    }

    /// What is on its way arrives, also where the user is in a hurry: a second signal would end it.
    async fn settle(&mut self, progress: &mut Progress) {
        let begun = Instant::now();
        let mut looks = interval(LOOK);
        progress.begin("waiting for what is on its way", 1);
        while begun.elapsed() < SETTLE {
            looks.tick().await;
            let tally = self.tally.lock();
            if tally.at_newest() == tally.ever_connected() {
                return;
            }
        }
    }
}

/// How it stands, on one line.
fn standing(tally: &Tally, elapsed: Duration) -> String {
    let (connected, rate) = (grouped(&tally.connected.to_string()), rate(tally.updates, elapsed));
    let p99 = if tally.age.is_empty() { "–".to_owned() } else { exact(tally.age.within(0.99)) };
    format!("{connected} connected · {rate} updates/s · age p99 {p99} · {} lost", tally.lost)
}

/// How many that is a second, to a tenth.
#[expect(clippy::cast_precision_loss, reason = "so many would take longer than anybody measures")]
pub(super) fn a_second(count: u64, time: Duration) -> f64 {
    let tenths = count as f64 * 10.0 / time.as_secs_f64().max(1e-6);
    tenths.round() / 10.0
}

/// The same for people: the tenth only where it tells something.
pub(super) fn rate(count: u64, time: Duration) -> String {
    let rate = a_second(count, time);
    grouped(&if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_rounded_and_not_cut_off() {
        for (count, ms, rate, said) in
            [(5, 7000, 0.7, "0.7"), (0, 7000, 0.0, "0.0"), (99, 10_000, 9.9, "9.9"), (19_999, 10_000, 1999.9, "2,000")]
        {
            let time = Duration::from_millis(ms);
            assert_eq!((a_second(count, time), super::rate(count, time)), (rate, said.to_owned()));
        }
    }
}
