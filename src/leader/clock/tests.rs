use super::*;
use crate::feed::{Event, FeedState, Status};

const HOUR: Duration = Duration::from_secs(3600);
const TICK: Duration = Duration::from_secs(5);
/// One [`TICK`] less than [`PATIENCE`].
const TOO_SHORT: Duration = Duration::from_secs(895);

/// A feed whose true time is known, with a clock that can be wrong.
struct Scene {
    clock: FeedClock,
    /// A moment on the monotonic clock, and its true time.
    start: (Instant, TickId),
    now: Instant,
    newest: TickId,
    gives_times: bool,
}

impl Scene {
    /// A feed whose newest entry is five seconds old, and that a new replica leads.
    fn start(ahead_ms: i64, gives_times: bool) -> Scene {
        let start = (Instant::now() + 100 * HOUR, TickId::from_ms(1_795_166_431_075));
        let newest = start.1.minus(TICK);
        let scene = Scene { clock: FeedClock::default(), start, now: start.0, newest, gives_times };
        let times = scene.times(ahead_ms, ahead_ms);
        scene.clock.begin(newest, times);
        scene
    }

    fn truth(&self) -> TickId {
        self.start.1.plus(self.now - self.start.0)
    }

    fn times(&self, store_ms: i64, own_ms: i64) -> Times {
        let time = |ms: i64| TickId::from_ms(self.truth().ms().checked_add_signed(ms).unwrap());
        Times { at: self.now, store: time(store_ms), own: time(own_ms) }
    }

    fn note_sources(&mut self) {
        if self.gives_times {
            self.clock.state().sources = Some((self.truth().minus(Duration::from_secs(3)), self.now, 2));
        }
    }

    /// Writes a tick as a store does. Returns the difference between its id and the truth, in milliseconds.
    fn tick(&mut self, store_ms: i64, own_ms: i64) -> i64 {
        self.now += TICK;
        self.note_sources();
        let status = Status { state: FeedState::Live, since: TickId::ZERO, reason: String::new() };
        if self.clock.is_unproven() {
            self.clock.compare(self.times(store_ms, own_ms));
        }
        let record = self.clock.reckon(Record { at: self.now, ..Record::now(Event::Status(status)) });
        let times = self.times(store_ms, own_ms);
        let expected = record.reckoned.unwrap().moment;
        let id = if times.store.differs(expected) > MAX_CLOCK_ERROR { expected } else { times.store };
        let prev = self.newest;
        self.newest = id.max(prev.next());
        let is_suspect = self.clock.is_suspect(&record, self.newest, prev);
        self.clock.note_written(self.newest, self.now);
        if is_suspect {
            self.clock.compare(times);
        }
        self.newest.ms().cast_signed() - self.truth().ms().cast_signed()
    }

    /// Writes ticks for this duration. Returns the greatest absolute difference, and the last difference.
    fn ticks(&mut self, duration: Duration, store_ms: i64, own_ms: i64) -> (i64, i64) {
        let (mut worst, mut last) = (0, 0);
        for _ in 0..duration.as_secs() / TICK.as_secs() {
            last = self.tick(store_ms, own_ms);
            worst = worst.max(last.abs());
        }
        (worst, last)
    }
}

const FAULTS: [i64; 6] = [120_000, -120_000, 7_200_000, -7_200_000, 172_800_000, -172_800_000];

#[test]
fn wrong_clock_of_the_store_moves_no_id() {
    for gives_times in [false, true] {
        for ahead in FAULTS {
            let mut scene = Scene::start(0, gives_times);
            assert_eq!(scene.ticks(HOUR, 0, 0).0, 0);
            assert_eq!(scene.clock.fault(), None);
            for lasts in [TICK, HOUR / 6] {
                assert!(scene.ticks(lasts, ahead, 0).0 <= 1, "{ahead}");
                let direction = if ahead > 0 { "ahead of" } else { "behind" };
                assert!(scene.clock.fault().unwrap().contains(direction), "{ahead}");
                assert!(scene.ticks(HOUR / 6, 0, 0).0 <= 1, "{ahead}");
                assert_eq!(scene.clock.fault(), None, "{ahead}");
            }
        }
    }
}

#[test]
fn wrong_clock_of_the_machine_moves_no_id() {
    for gives_times in [false, true] {
        for ahead in FAULTS {
            let mut scene = Scene::start(0, gives_times);
            scene.ticks(HOUR, 0, 0);
            // The store and the leader are on this machine.
            assert!(scene.ticks(HOUR / 6, ahead, ahead).0 <= 1, "{ahead}");
            assert!(scene.ticks(HOUR / 6, 0, 0).0 <= 1, "{ahead}");
        }
    }
}

#[test]
fn clocks_must_agree_for_a_time() {
    for ahead in FAULTS {
        let mut scene = Scene::start(0, false);
        scene.ticks(HOUR, 0, 0);
        assert!(scene.ticks(HOUR, ahead, 0).0 <= 1, "{ahead}: the two clocks differ");
        assert!(scene.ticks(TOO_SHORT, ahead, ahead).0 <= 1, "{ahead}: they agree, but not for long enough");
        scene.tick(ahead, 0);
        assert!(scene.ticks(TOO_SHORT, ahead, ahead).0 <= 1, "{ahead}: they differed in between");
        let (_, last) = scene.ticks(TICK * 4, ahead, ahead);
        assert!(last.abs_diff(ahead) <= 2000 || scene.clock.fault().unwrap().contains("half speed"), "{ahead}: {last}");
    }
}

#[test]
fn agreement_of_clocks_does_not_outlast_a_term() {
    let mut scene = Scene::start(0, false);
    scene.ticks(HOUR, 0, 0);
    scene.tick(7_200_000, 7_200_000);
    scene.clock.end();
    // A replica with a right clock leads.
    for _ in 0..PATIENCE.as_secs() {
        scene.now += TICK;
        scene.newest = scene.truth();
        scene.clock.state().follow(scene.newest, scene.now);
    }
    scene.clock.begin(scene.newest, scene.times(7_200_000, 7_200_000));
    assert!(scene.ticks(TICK * 4, 7_200_000, 7_200_000).0 <= 1);
}

#[test]
fn sources_decide_at_the_start() {
    for ahead in FAULTS {
        let mut scene = Scene::start(ahead, true);
        let (worst, _) = scene.ticks(HOUR / 6, ahead, ahead);
        assert!(worst <= 5000, "{ahead}: {worst}");
        let (_, last) = scene.ticks(HOUR, 0, 0);
        assert!(last.abs() <= 2000, "{ahead}: {last}");
    }
}

#[test]
fn feed_that_is_ahead_runs_at_half_speed() {
    // The sources give no time, and both clocks are two hours ahead at the start.
    let mut scene = Scene::start(7_200_000, false);
    assert_eq!(scene.ticks(HOUR / 60, 7_200_000, 7_200_000).1, 7_200_000);
    let mut prev = scene.newest;
    for tick in 0..1000 {
        scene.tick(0, 0);
        let step = scene.newest.since(prev);
        assert!(step <= TICK && step + Duration::from_millis(1) >= TICK / 2, "tick {tick}: {step:?}");
        prev = scene.newest;
    }
    assert!(scene.clock.fault().unwrap().contains("half speed"), "{:?}", scene.clock.fault());
    assert!(scene.ticks(5 * HOUR, 0, 0).1.abs() <= 2000);
    assert_eq!(scene.clock.fault(), None);
}

#[test]
fn pause_of_the_machine_is_made_up_for() {
    for gives_times in [false, true] {
        let mut scene = Scene::start(0, gives_times);
        scene.ticks(HOUR, 0, 0);
        // The monotonic clock stood still for eight hours.
        scene.start.1 = scene.start.1.plus(8 * HOUR);
        let (_, last) = scene.ticks(if gives_times { TICK * 2 } else { PATIENCE + TICK * 3 }, 0, 0);
        assert!(last.abs() <= 2000, "{last}");
    }
}

#[test]
fn fast_clock_pulls_the_feed_only_slowly() {
    let mut scene = Scene::start(0, false);
    // The clock of the store gains a second with each tick.
    for tick in 1..=720 {
        scene.tick(tick * 1000, 0);
    }
    let ahead = scene.newest.since(scene.truth());
    assert!(ahead <= HOUR / DRIFT + MAX_CLOCK_ERROR, "{ahead:?}");
}

#[test]
fn confirmed_times_lift_the_bound_of_trimming() {
    let record = |scene: &Scene| {
        let status = Status { state: FeedState::Live, since: TickId::ZERO, reason: String::new() };
        scene.clock.reckon(Record { at: scene.now, ..Record::now(Event::Status(status)) }).reckoned.unwrap().passed
    };
    assert_eq!(record(&Scene::start(172_800_000, false)), Some(Duration::ZERO));
    let mut confirmed = Scene::start(0, true);
    confirmed.note_sources();
    assert_eq!(record(&confirmed), None);
    let mut scene = Scene::start(0, false);
    scene.tick(0, 0);
    scene.now += TICK;
    assert_eq!(record(&scene), Some(TICK));
}

#[test]
fn leader_with_a_wrong_clock_yields_once() {
    let clock = FeedClock::default();
    let yields = |minutes: u64| {
        clock.note_sources(&[TickId::now().plus(Duration::from_secs(60 * minutes)); 2]);
        clock.should_yield()
    };
    assert!((0..10).all(|_| !yields(0)));
    assert_eq!(
        [yields(5), yields(5), yields(5), yields(5), yields(5), yields(5)],
        [false, false, true, false, false, false]
    );
}

#[test]
fn answers_are_compared_with_the_right_time() {
    let (clock, own) = (FeedClock::default(), TickId::now());
    let is = |time: TickId| clock.time_of_poll(own).differs(time) < Duration::from_secs(10);
    assert!(is(own), "nothing else is known");
    // This machine's clock is two hours behind, and the store's is right.
    let right = own.plus(2 * HOUR);
    let times = Times { at: Instant::now(), store: right, own };
    clock.begin(right.minus(TICK), times);
    assert!(is(right), "the time of the feed");
    clock.note_sources(&[right.plus(2 * HOUR)]);
    assert!(is(right), "a single source may be wrong");
    clock.note_sources(&[right.plus(2 * HOUR); 2]);
    assert!(is(right.plus(2 * HOUR)), "the sources agree");
    // The feed is two days ahead.
    let clock = FeedClock::default();
    clock.begin(own.plus(48 * HOUR), Times { at: Instant::now(), store: own, own });
    assert!(clock.time_of_poll(own).differs(own) < TICK, "it is not compared with the time of the feed");
}

#[test]
fn times_of_sources_count_if_most_agree() {
    let at = |seconds: u64| TickId::from_ms(1_795_166_431_075).plus(Duration::from_secs(seconds));
    let agreed = |seconds: &[u64]| agreed(seconds.iter().map(|second| at(*second)).collect());
    assert_eq!(agreed(&[]), None);
    assert_eq!(agreed(&[5]), Some((at(5), 1)));
    assert_eq!(agreed(&[1005, 1000]), Some((at(1000), 2)));
    assert_eq!(agreed(&[5, 1000]), None, "one of two is wrong, and nobody knows which");
    assert_eq!(agreed(&[5, 1000, 1010]), Some((at(1000), 2)));
    assert_eq!(agreed(&[0, 10, 1000, 1010]), None);
    assert_eq!(agreed(&[0, 50, 100]), Some((at(0), 2)), "the groups overlap");
}
