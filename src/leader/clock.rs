//! The time of the feed, as a leader counts it.
//!
//! Every clock may be wrong: that of the store, that of this machine, and those of the exchanges. So the feed's time is
//! counted on the monotonic clock, from entry to entry, and the other clocks only correct it. A clock that contradicts
//! the count is believed if the sources confirm it. Without them, the store's clock is believed if it and this
//! machine's have agreed for [`PATIENCE`]. Until then the count is the time of new entries.
//!
//! Ids only increase. If the feed is ahead of the true time, it runs at half speed until the time has caught up. So a
//! client that asked for one tick in each period still gets one at least every two periods.

mod reason;

pub(super) use reason::{CLOCKS_AGREE, clock_is_wrong};

use crate::feed::Feed;
use crate::store::{MAX_CLOCK_ERROR, Record, moment_at};
use crate::telemetry::metrics::CLOCK_REJECTED;
use crate::tick::TickId;
use reason::{contradiction, feed_is_ahead};
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tracing::{info, warn};

/// The time for which the clocks of the store and of this machine must agree with each other, and contradict the count,
/// before they are believed without a source.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The maximum difference between two times that agree, if at least one of them comes from a source.
const SOURCE_ERROR: Duration = Duration::from_secs(60);
/// How long the times in the answers of sources are used.
const SOURCES_FRESH: Duration = Duration::from_secs(60);
/// The sources are believed against both clocks only if they differ by more than this from the count. At the start
/// there is no count yet, so they must differ by more than this from the store's clock.
const SOURCE_CERTAIN: Duration = Duration::from_secs(90);
/// If the clocks of the store and of this machine agree, and the count is behind them by at most this, they correct it
/// at once.
const SMALL: Duration = Duration::from_secs(30);
/// An entry is late if, by the count, it arrives more than this after its time.
const LATE: Duration = Duration::from_millis(500);
/// The maximum number of consecutive late entries that do not correct the count.
const MAX_LATE: u32 = 3;
/// The time between two looks at the feed's head.
const WATCH_EVERY: Duration = Duration::from_millis(50);
/// The number of polls after which a leader with a wrong clock ends its term.
const WRONG_POLLS: u32 = 3;
/// With each entry, the clock of the store may correct the count by one `DRIFT`th of the time that has passed.
const DRIFT: u32 = 100;

/// The times of the clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) at: Instant,
    /// The time of the store's clock.
    pub(super) store: TickId,
    /// The time of this machine's clock.
    pub(super) own: TickId,
}

impl Times {
    /// Reads this machine's clock, at the moment at which the clock of the store shows `store`.
    pub(super) fn now(store: TickId) -> Times {
        Times { at: Instant::now(), store, own: TickId::now() }
    }
}

/// The time of the feed. A replica that does not lead counts it, too, from the entries that it gets.
#[derive(Debug, Default)]
pub struct FeedClock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// A moment of the feed, and the same moment on the monotonic clock. `None` until there is one.
    reference: Option<(TickId, Instant)>,
    /// True while this replica leads.
    is_leading: bool,
    /// The number of consecutive late entries up to the newest one.
    late: u32,
    /// True while the feed runs at half speed, because it is ahead of the time.
    is_slow: bool,
    /// The newest id.
    newest: TickId,
    /// The moment of the newest entry on the monotonic clock: the moment of its record if this process wrote it,
    /// otherwise the moment of its arrival. `None` if the entry may be older than this process.
    newest_at: Option<Instant>,
    /// The median of the times of the sources that agree, the same moment on the monotonic clock, and the number of
    /// these sources.
    sources: Option<(TickId, Instant, usize)>,
    /// The moment since which the clocks of the store and of this machine agree with each other and contradict the
    /// count.
    contradicted: Option<Instant>,
    /// The number of consecutive polls, up to the last one, in which this machine's clock contradicted the sources.
    wrong_polls: u32,
    /// The moment at which a wrong clock of this machine last ended a term.
    yielded: Option<Instant>,
    /// What is wrong with the clocks, as text for people.
    fault: Option<String>,
}

impl FeedClock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the newest id of the feed, while another replica leads.
    fn follow(&self, head: TickId) {
        self.state().follow(head, Instant::now());
    }

    /// Notes the times at which sources have just answered, by their own clocks: one for each source.
    pub(super) fn note_sources(&self, times: &[TickId]) {
        if let Some((time, sources)) = agreed(times.to_vec()) {
            self.state().sources = Some((time, Instant::now(), sources));
        }
    }

    /// Returns true until this process has written an entry or has got a second one. The age of the first one that it
    /// gets is not known, so until then only clocks and sources tell the time.
    pub(super) fn is_unproven(&self) -> bool {
        self.state().newest_at.is_none()
    }

    /// Begins a term with the feed's newest id.
    pub(super) fn begin(&self, head: TickId, times: Times) {
        let mut state = self.state();
        state.follow(head, times.at);
        state.compare(times);
        state.is_leading = true;
    }

    /// Ends a term.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.is_leading = false;
        // The clocks are not compared until the next term, so nobody knows whether they agree in the meantime.
        state.contradicted = None;
    }

    /// Follows the newest ids of `feed` and never returns.
    pub(super) async fn watch(&self, feed: &dyn Feed) -> Infallible {
        loop {
            self.follow(feed.head());
            sleep(WATCH_EVERY).await;
        }
    }

    /// Returns a record with the time that this clock gives it.
    pub(super) fn reckon(&self, record: Record) -> Record {
        let state = self.state();
        let Some(moment) = state.moment(record.at) else { return record };
        let passed = if state.is_confirmed(moment, record.at) { None } else { Some(state.passed(record.at)) };
        record.reckoned_at(moment, passed)
    }

    /// Returns true if the clocks must be compared after this record was written: its entry may have another time than
    /// that of the store's clock, or the clocks contradicted each other when they were last compared.
    pub(super) fn is_suspect(&self, record: &Record, id: TickId, prev: TickId) -> bool {
        let is_reckoned = record.reckoned.is_some_and(|reckoned| reckoned.moment == id);
        is_reckoned || id == prev.next() || self.state().fault.is_some()
    }

    /// Notes an entry that this replica has written, and the moment of its record on the monotonic clock.
    pub(super) fn note_written(&self, id: TickId, at: Instant) {
        self.state().note_written(id, at);
    }

    /// Compares the count with the clocks. The leader calls this before an entry if `is_unproven` is true, and after an
    /// entry if `is_suspect` is true.
    pub(super) fn compare(&self, times: Times) {
        let mut state = self.state();
        state.compare(times);
        CLOCK_REJECTED.counter("").increment(u64::from(state.fault.is_some()));
    }

    /// Returns true while the feed runs at half speed, because it is ahead of the time.
    pub(super) fn is_slow(&self) -> bool {
        self.state().is_slow
    }

    /// Returns the feed's time now, or `otherwise` if it is not known.
    pub(super) fn now_or(&self, otherwise: TickId) -> TickId {
        self.state().moment(Instant::now()).unwrap_or(otherwise)
    }

    /// Returns the time with which a poll compares the times in the answers of sources. This is the feed's time, unless
    /// the sources agree on another one. If the feed is ahead, or its time is not known, this is the time on which the
    /// sources agree, or `own` if they agree on none. `own` is the time of this machine's clock. It comes last, because
    /// a wrong clock would reject good sources.
    pub(super) fn time_of_poll(&self, own: TickId) -> TickId {
        let (state, now) = (self.state(), Instant::now());
        let count = state.moment(now).filter(|_| !state.is_slow);
        match (state.sources(now), count) {
            (Some(sources), Some(count)) if count.differs(sources) > SOURCE_ERROR => sources,
            (_, Some(count)) => count,
            (sources, None) => sources.unwrap_or(own),
        }
    }

    /// Returns true if this machine's clock contradicted the sources in the last [`WRONG_POLLS`] polls. With such a
    /// clock, this machine may reject the certificates of sources. Returns true at most once in [`PATIENCE`], so that
    /// replicas whose clocks are all wrong do not take turns. Call this once after each poll.
    pub(super) fn should_yield(&self) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        let is_wrong = state.good_source(now).is_some_and(|time| time.differs(TickId::now()) > SOURCE_ERROR);
        state.wrong_polls = if is_wrong { state.wrong_polls + 1 } else { 0 };
        let is_due = state.yielded.is_none_or(|at| now.saturating_duration_since(at) >= PATIENCE);
        if state.wrong_polls < WRONG_POLLS || !is_due {
            return false;
        }
        state.yielded = Some(now);
        true
    }

    /// Returns the time of the sources, if at least two agreed on it in the last minute.
    pub fn sources_time(&self) -> Option<TickId> {
        self.state().sources(Instant::now())
    }

    /// Returns what is wrong with the clocks, as text for people.
    pub fn fault(&self) -> Option<String> {
        self.state().fault.clone()
    }
}

impl State {
    fn follow(&mut self, head: TickId, now: Instant) {
        if self.is_leading || head <= self.newest {
            return;
        }
        // The age of the first entry that this replica gets is not known.
        if self.newest != TickId::ZERO {
            // Late entries correct the count only if more than `MAX_LATE` of them come in a row.
            let is_late = self.moment(now).is_some_and(|count| count.since(head) > LATE);
            self.late = if is_late { self.late + 1 } else { 0 };
            if !is_late || self.late > MAX_LATE {
                self.rebase(head, now, false);
            }
            self.newest_at = Some(now);
        }
        self.newest = head;
    }

    /// Returns the feed's time at a moment.
    fn moment(&self, at: Instant) -> Option<TickId> {
        let (id, reference) = self.reference?;
        let later = at.saturating_duration_since(reference);
        Some(if self.is_slow { id.plus(later / 2) } else { moment_at(at, (id, reference)) })
    }

    /// Returns the time from the newest entry to a moment, or zero if the time of that entry is not known.
    fn passed(&self, at: Instant) -> Duration {
        self.newest_at.map_or(Duration::ZERO, |newest| at.saturating_duration_since(newest))
    }

    /// Returns the time of the sources at a moment, if at least two agree. A single source may be wrong.
    fn sources(&self, at: Instant) -> Option<TickId> {
        self.any_source(at).filter(|_| self.sources.is_some_and(|(_, _, count)| count > 1))
    }

    fn any_source(&self, at: Instant) -> Option<TickId> {
        let (time, noted, _) = self.sources?;
        (at.saturating_duration_since(noted) <= SOURCES_FRESH).then(|| moment_at(at, (time, noted)))
    }

    /// Returns the time of the sources, or of a single one that agrees with the count.
    fn good_source(&self, at: Instant) -> Option<TickId> {
        let count = self.moment(at);
        let agrees = |time: &TickId| count.is_some_and(|count| count.differs(*time) <= SOURCE_ERROR);
        self.sources(at).or_else(|| self.any_source(at).filter(agrees))
    }

    /// Returns true if the sources confirm that a moment has this time.
    fn is_confirmed(&self, time: TickId, at: Instant) -> bool {
        self.sources(at).is_some_and(|sources| sources.differs(time) <= SOURCE_ERROR)
    }

    /// Continues the count from `time` at the moment `at`, at half speed if `is_slow` is true.
    fn rebase(&mut self, time: TickId, at: Instant, is_slow: bool) {
        (self.reference, self.is_slow) = (Some((time, at)), is_slow);
    }

    fn note_written(&mut self, id: TickId, at: Instant) {
        self.newest = self.newest.max(id);
        self.newest_at = Some(at);
        let Some((expected, (_, reference))) = self.moment(at).zip(self.reference) else {
            return self.rebase(id, at, false);
        };
        if self.is_slow || at < reference {
            return;
        }
        // The store's clock corrects the count only slowly. Otherwise, a clock that is too fast would move the count
        // ahead with each entry.
        let most = at.saturating_duration_since(reference) / DRIFT + Duration::from_millis(1);
        let time = expected.plus(id.since(expected).min(most)).minus(expected.since(id).min(most));
        // The store takes no time that is more than `MAX_CLOCK_ERROR` from the count. An id that is further ahead is
        // the previous id plus one, because ids increase. The count then continues from this id.
        let is_close = id.differs(expected) <= MAX_CLOCK_ERROR;
        self.rebase(if is_close { time } else { id.max(expected) }, at, false);
    }

    /// Compares the count with the clocks, and corrects it if they are believed.
    fn compare(&mut self, times: Times) {
        let Times { at, store, own } = times;
        let Some(count) = self.moment(at) else {
            let first = self.first_time(times);
            let text = (store.differs(own) > MAX_CLOCK_ERROR).then(|| contradiction(store, own, "this machine's"));
            self.set_fault(text);
            self.rebase(first.max(self.newest), at, first.plus(MAX_CLOCK_ERROR) < self.newest);
            return;
        };
        let agree = |one: TickId, other: TickId| one.differs(other) <= MAX_CLOCK_ERROR;
        let sources = self.sources(at);
        let is_confirmed = |time: TickId| sources.is_some_and(|sources| sources.differs(time) <= SOURCE_ERROR);
        let is_patient = self.contradicted.is_none_or(|since| at.saturating_duration_since(since) < PATIENCE);
        let time = match sources {
            Some(sources) if !is_confirmed(count) => {
                let confirmed = [store, own].into_iter().find(|time| is_confirmed(*time));
                // If the sources confirm neither clock and are far from the count, they decide.
                confirmed.unwrap_or(if sources.differs(count) > SOURCE_CERTAIN { sources } else { count })
            }
            _ if agree(store, count) => count,
            // The count can be a little behind: it began with a late entry, or this process was suspended.
            _ if agree(store, own) && store > count && store.since(count) <= SMALL => store,
            _ if self.is_slow && is_confirmed(store) => store,
            // The sources confirm the count, so the store's clock is wrong.
            Some(sources) if !is_confirmed(store) && self.is_slow => sources,
            Some(_) if !is_confirmed(store) => count,
            _ if agree(store, own) && (self.is_slow || !is_patient) => store,
            _ => count,
        };
        let is_believed = !agree(time, count);
        let is_contradicted = agree(store, own) && !agree(store, count);
        self.contradicted = is_contradicted.then(|| self.contradicted.unwrap_or(at));
        if is_believed && time >= self.newest {
            info!(time = %time.timedate(), feed = %count.timedate(), "correcting the time of the feed");
            self.rebase(time, at, false);
        } else if is_believed != self.is_slow {
            self.rebase(count, at, is_believed);
        }
        let count = self.moment(at).unwrap_or(count);
        let fault = if self.is_slow {
            let words = "so it runs at half speed until its time is right";
            Some(feed_is_ahead(count.since(time), words))
        } else if agree(store, count) {
            None
        } else {
            Some(contradiction(store, count, "the time of the feed"))
        };
        self.set_fault(fault);
    }

    /// Returns the time at the start of a count. If the sources confirm a clock, it is the time of that clock. If they
    /// confirm none and are far from the store's clock, it is the time of the sources. Otherwise it is the time of the
    /// store's clock if both clocks agree. If they do not, it is the earlier of their times, because ids cannot be
    /// taken back, or the later one if the earlier one is not after the newest id.
    fn first_time(&self, Times { at, store, own }: Times) -> TickId {
        let confirmed = [store, own].into_iter().find(|time| self.is_confirmed(*time, at));
        let (earlier, later) = (store.min(own), store.max(own));
        match (confirmed, self.sources(at)) {
            (Some(time), _) => time,
            (None, Some(sources)) if sources.differs(store) > SOURCE_CERTAIN => sources,
            _ if store.differs(own) <= MAX_CLOCK_ERROR => store,
            _ if earlier > self.newest => earlier,
            _ => later,
        }
    }

    /// Notes what is wrong. Logs when it begins and when it ends.
    fn set_fault(&mut self, fault: Option<String>) {
        match (&self.fault, &fault) {
            (None, Some(fault)) => {
                warn!(fault, next = "the leader counts the time itself", "the clocks contradict each other");
            }
            (Some(_), None) => info!("{CLOCKS_AGREE}"),
            _ => {}
        }
        self.fault = fault;
    }
}

/// Returns the median and the number of the times in the largest group whose times differ by at most [`SOURCE_ERROR`].
/// Returns `None` if there are two such groups without a common time, because it is not known which of them is right.
fn agreed(mut times: Vec<TickId>) -> Option<(TickId, usize)> {
    times.sort_unstable();
    let groups = (0..times.len()).map(|first| {
        let end = times.partition_point(|time| time.since(times[first]) <= SOURCE_ERROR);
        &times[first..end]
    });
    let groups: Vec<_> = groups.collect();
    let most = groups.iter().map(|group| group.len()).max()?;
    let mut largest = groups.iter().filter(|group| group.len() == most);
    let (first, last) = (largest.next()?, largest.next_back());
    if last.is_some_and(|last| last[0].since(first[0]) > SOURCE_ERROR) {
        return None;
    }
    Some((first[(most - 1) / 2], most))
}

#[cfg(test)]
mod tests;
