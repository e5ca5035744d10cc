//! The matrix of wrong clocks: each fault of a clock, each place, during operation and from the start.
//!
//! The clock of a process is shifted by a library (`support/clock.c`); the clock of the test is the true one. A fault
//! lasts at most 6 s, because what matters is the number of ticks in this time. There are 30, as many as in 150 s at
//! the default interval. What depends on minutes is tested with simulated time in `src/leader/clock/tests.rs`.

use super::watcher::{Port, Watcher};
use crate::support::clock::ShiftedClock;
use crate::support::exchange::Exchange;
use crate::support::redis::Redis;
use crate::support::replica::Replica;
use crate::support::store_contract::{EVERYTHING, OPTIONS};
use crate::support::{data_directory, http, replica_settings, until};
use btcfeed::store::{Disk, Store};
use btcfeed::tick::TickId;
use rustix::process::Signal;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

/// The number of cases that run at the same time.
const CONCURRENT: usize = 6;
/// The time after which a case has failed.
const CASE_DEADLINE: Duration = Duration::from_secs(90);
/// The number of old ticks in Redis, one for each second.
const OLD: u64 = 300;
/// The longest permitted time between two entries at a client, in milliseconds. It includes a change of the leader: if
/// the clock of Redis moves forward, the lease expires, and another replica may get it.
const PAUSE_MS: u64 = 4000;
/// The greatest difference in milliseconds between a right id and the arrival of the tick on a busy machine.
const RIGHT_MS: i64 = 3000;
/// The time in milliseconds in which a client gets the history.
const REPLAY_MS: u64 = 1500;

/// The machine whose clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Redis,
    Leader,
    Replicas,
    /// Redis and all replicas.
    Everything,
    /// Redis and all replicas, which poll two sources that send the time of their answers.
    BesideSources,
    /// The only replica, which keeps the feed in a file.
    File,
}

/// What happens to the times of ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dates {
    /// They are right.
    Right,
    /// They follow the wrong clock, because nothing else gives a time. If the ids are ahead when the clock is right
    /// again, they run at half speed until they are right.
    Wrong,
}

/// A wrong clock.
#[derive(Clone, Copy, Debug)]
struct ClockCase {
    place: Place,
    ahead: Ahead,
    from_start: bool,
    lasts: Duration,
}

/// The time by which a clock is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ahead(i64);

const AHEAD: [Ahead; 6] = [Ahead(120), Ahead(-120), Ahead(7200), Ahead(-7200), Ahead(172_800), Ahead(-172_800)];
const LASTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(6)];

impl Place {
    /// Every place.
    pub const ALL: [Place; 6] =
        [Place::Redis, Place::Leader, Place::Replicas, Place::Everything, Place::BesideSources, Place::File];

    /// Returns the description of the place.
    pub fn words(self) -> &'static str {
        match self {
            Place::Redis => "Redis",
            Place::Leader => "the leader",
            Place::Replicas => "all replicas",
            Place::Everything => "Redis and all replicas (one machine)",
            Place::BesideSources => "Redis and all replicas, with two sources",
            Place::File => "the only replica, with a file",
        }
    }

    /// Returns what happens to the times of ticks.
    pub fn dates(self, from_start: bool) -> Dates {
        let has_no_other_clock = matches!(self, Place::Everything | Place::File);
        if from_start && has_no_other_clock { Dates::Wrong } else { Dates::Right }
    }

    fn shifts_redis(self) -> bool {
        matches!(self, Place::Redis | Place::Everything | Place::BesideSources)
    }
}

impl Dates {
    /// Returns the text for the table in the documentation.
    pub fn words(self) -> &'static str {
        match self {
            Dates::Right => "right",
            Dates::Wrong => {
                "wrong if no two sources give a time. If the ids are ahead when the clock is right again, they run at half speed until they are right"
            }
        }
    }
}

impl fmt::Display for ClockCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClockCase { place, ahead: Ahead(seconds), from_start, lasts } = self;
        let when = if *from_start { "from the start" } else { "in flight" };
        write!(f, "Clock{place:?} {:+} min, {when}, for {} s", seconds / 60, lasts.as_secs())
    }
}

/// The measured result of a case.
#[derive(Debug, Default)]
struct Measured {
    /// The greatest difference between an id and the true time of its arrival, in milliseconds.
    error_ms: i64,
    /// The longest time without a message, in milliseconds.
    pause_ms: u64,
    /// The number of ticks.
    ticks: usize,
    is_told: bool,
    violations: Vec<String>,
}

/// A feed with clocks that can be shifted.
struct Scene {
    clock: Arc<ShiftedClock>,
    redis: Option<Redis>,
    replicas: Vec<Replica>,
    directory: tempfile::TempDir,
    /// The oldest id in the file.
    oldest: u64,
    _exchange: Exchange,
}

impl ClockCase {
    /// Returns every case.
    fn all() -> impl Iterator<Item = ClockCase> {
        let moments = || [false, true].into_iter().flat_map(|start| LASTS.map(|lasts| (start, lasts)));
        let of_place = move |place| {
            let of_fault =
                move |ahead| moments().map(move |(from_start, lasts)| ClockCase { place, ahead, from_start, lasts });
            AHEAD.into_iter().flat_map(of_fault)
        };
        Place::ALL.into_iter().flat_map(of_place)
    }

    async fn scene(&self) -> Scene {
        let ahead_ms = if self.from_start { self.ahead.0 * 1000 } else { 0 };
        let (clock, right) = (Arc::new(ShiftedClock::new(ahead_ms)), ShiftedClock::new(0));
        let (exchange, directory) = (Exchange::start().await, data_directory());
        let redis = if self.place == Place::File {
            None
        } else {
            let redis = Redis::start_at(if self.place.shifts_redis() { &clock } else { &right }).await;
            let newest = redis.fill(OLD).await.pop().unwrap().to_string();
            redis.command(&["HSET", "{btcfeed}:record", "id", &newest]).await;
            Some(redis)
        };
        let data = directory.path().to_str().unwrap().to_owned();
        // The time of a single source does not count, so with one source, only the clocks decide.
        let sources = if self.place == Place::BesideSources { "kraken,bitstamp" } else { "kraken" };
        let settings = |name: &str, is_shifted: bool| {
            let mut settings = replica_settings(
                &exchange,
                name,
                &[("BTCFEED_SOURCES", sources), ("BTCFEED_CURRENCIES", "USD"), ("BTCFEED_RETENTION", "10m")],
            );
            match &redis {
                Some(redis) => settings.push(("REDIS_URL".to_owned(), redis.url())),
                None => settings.push(("BTCFEED_DATA".to_owned(), data.clone())),
            }
            settings.extend(if is_shifted { clock.environment().to_vec() } else { vec![] });
            settings
        };
        let (mut replicas, mut oldest) = (Vec::new(), 0);
        match self.place {
            Place::File => {
                // The file has ticks with the right time.
                let mut first = Replica::start(&settings("r1", false)).await;
                oldest = first.history().await[0]["id"].as_u64().unwrap();
                first.signal(Signal::TERM);
                first.exit().await;
                replicas.push(Replica::start(&settings("r1", true)).await);
            }
            place => {
                let is_shifted = |number| match place {
                    Place::Leader => number == 1,
                    Place::Replicas | Place::Everything | Place::BesideSources => true,
                    Place::Redis | Place::File => false,
                };
                // The first one leads.
                replicas.push(Replica::start_unready(&settings("r1", is_shifted(1))).await);
                let redis = redis.as_ref().unwrap();
                until("r1 to lead", async || redis.leader().await.as_deref() == Some("r1")).await;
                replicas.push(Replica::start_unready(&settings("r2", is_shifted(2))).await);
            }
        }
        Scene { clock, redis, replicas, directory, oldest, _exchange: exchange }
    }

    async fn run(&self) -> Measured {
        let mut scene = self.scene().await;
        let mut measured = Measured::default();
        let port = Port::from(&*scene.replicas.last().unwrap().address);
        // A client that asks for one tick in each second must not starve.
        let clients =
            ["format=full", "format=full&every=1s"].map(|query| Watcher::start_with(vec![port.clone()], query));
        until("the first ticks", async || live(&clients[0].arrivals()).count() > 5).await;
        // The replica has opened the file, and no other process can open it.
        let oldest = if self.place == Place::File { scene.oldest } else { scene.oldest().await };
        let counted = Instant::now();
        scene.clock.shift(self.ahead.0 * 1000);
        let began = Instant::now();
        let is_long = self.lasts > Duration::from_secs(2);
        while began.elapsed() < self.lasts {
            measured.is_told = measured.is_told || scene.is_told().await;
            sleep(Duration::from_millis(100)).await;
        }
        scene.clock.shift(0);
        sleep(Duration::from_secs(3)).await;
        self.judge(&clients, &mut measured);
        // The oldest id increases no faster than time passes.
        if self.place == Place::File {
            scene.replicas[0].signal(Signal::TERM);
            scene.replicas[0].exit().await;
        }
        let expired = scene.oldest().await.saturating_sub(oldest);
        // The file has a history of a few seconds, so all of it may have expired.
        let is_short = self.place == Place::File && self.place.dates(self.from_start) == Dates::Wrong;
        if !is_short && expired > counted.elapsed().as_millis() as u64 + 1500 {
            measured.violations.push(format!("{expired} ms of the history are gone"));
        }
        if is_long && !measured.is_told && self.place.dates(self.from_start) == Dates::Right {
            measured.violations.push("no replica reports that clocks differ".to_owned());
        }
        if !measured.violations.is_empty() {
            eprintln!("==== {self}: {:#?}", measured.violations);
            if std::env::var_os("BTCFEED_FAULTS_LOGS").is_some() {
                for replica in &scene.replicas {
                    eprintln!("----\n{}", replica.log().join("\n"));
                }
            }
        }
        drop(scene.directory);
        measured
    }

    fn judge(&self, [full, throttled]: &[Watcher; 2], measured: &mut Measured) {
        let arrivals = full.arrivals();
        measured.ticks = live(&arrivals).count();
        for (at, tick) in live(&arrivals) {
            let error = tick["id"].as_u64().unwrap() as i64 - *at as i64;
            measured.error_ms = if error.abs() > measured.error_ms.abs() { error } else { measured.error_ms };
        }
        let mut last = None::<(u64, &Value)>;
        for (at, message) in &arrivals {
            // A gap at the start is allowed, because nothing was written while the replicas started. If times are
            // wrong, every gap is allowed, because ids may jump by hours.
            let is_of_the_start = self.from_start && *at < arrivals[0].0 + REPLAY_MS;
            if message["type"] == "gap" && !is_of_the_start && self.place.dates(self.from_start) == Dates::Right {
                measured.violations.push(format!("a client got {message}"));
            }
            if message["type"] == "gap" {
                continue;
            }
            if let Some((before, other)) = last {
                if message["prev"] != other["id"] || message["id"].as_u64() <= other["id"].as_u64() {
                    measured.violations.push(format!("{message} follows {other}"));
                }
                measured.pause_ms = measured.pause_ms.max(at - before);
            }
            last = Some((*at, message));
        }
        let end = arrivals.last().map_or(0, |(at, _)| *at);
        let throttled: Vec<_> =
            throttled.arrivals().iter().map(|(at, _)| *at).filter(|at| *at >= arrivals[0].0).collect();
        let starved = throttled.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        let starved = starved.max(end.saturating_sub(throttled.last().copied().unwrap_or_default()));
        if measured.pause_ms > PAUSE_MS || starved > PAUSE_MS + 2000 {
            measured.violations.push(format!("no entry for {} ms; with every=1s, for {starved} ms", measured.pause_ms));
        }
        let limit = match self.place.dates(self.from_start) {
            Dates::Right => RIGHT_MS,
            // If the clock is behind the newest tick, ids run at half speed, so they become wrong only slowly.
            Dates::Wrong => RIGHT_MS + self.ahead.0.max(12) * 1000,
        };
        if measured.error_ms.abs() > limit {
            measured.violations.push(format!("an id is {} ms from the true time", measured.error_ms));
        }
    }
}

/// Returns the ticks that came after the history.
fn live(arrivals: &[(u64, Value)]) -> impl Iterator<Item = &(u64, Value)> {
    let begin = arrivals.first().map_or(0, |(at, _)| *at) + REPLAY_MS;
    arrivals.iter().filter(move |(at, message)| message["type"] == "tick" && *at >= begin)
}

impl Scene {
    /// Returns the oldest id.
    async fn oldest(&self) -> u64 {
        if let Some(redis) = &self.redis {
            let answer = redis.command(&["ZRANGE", "{btcfeed}:ticks", "0", "0", "WITHSCORES"]).await;
            let found: Vec<(String, u64)> = redis::from_redis_value(answer).unwrap();
            return found[0].1;
        }
        let store = Disk::open(self.directory.path(), OPTIONS).unwrap();
        store.range(TickId::ZERO, EVERYTHING, 1).await.unwrap()[0].id.ms()
    }

    /// Returns true if a replica says in `/v1/status` and in its metrics that clocks differ.
    async fn is_told(&self) -> bool {
        for replica in &self.replicas {
            let url = format!("http://{}/v1/status", replica.address);
            let Ok(response) = http().get(url).send().await else { continue };
            let report: Value = response.json().await.unwrap();
            let warnings = report["warnings"].as_array().map_or(0, Vec::len);
            let rejected = replica.metric("btcfeed_clock_rejected_total").await;
            let ahead = replica.metric("btcfeed_clock_ahead_seconds{of=\"store\"}").await;
            if warnings > 0 && (rejected > 0.0 || ahead.abs() > 2.0) {
                return true;
            }
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_matrix() {
    let wanted = std::env::var("BTCFEED_FAULTS").unwrap_or_default();
    let step = std::env::var("BTCFEED_CLOCK_STEP").map_or(1, |step| step.parse().unwrap());
    let (permits, mut running) = (Arc::new(Semaphore::new(CONCURRENT)), Vec::new());
    let cases = ClockCase::all().filter(|case| wanted.split(',').any(|word| case.to_string().contains(word)));
    for case in cases.step_by(step) {
        let permit = permits.clone().acquire_owned().await.unwrap();
        let run = spawn_blocking(move || {
            let _permit = permit;
            Handle::current().block_on(async { timeout(CASE_DEADLINE, case.run()).await })
        });
        running.push((case, run));
    }
    println!("\n| case | ticks | greatest error | longest pause | reported | |\n|---|---|---|---|---|---|");
    let mut broken = Vec::new();
    for (case, run) in running {
        let failed = |reason: String| Measured { violations: vec![reason], ..Measured::default() };
        let measured = match run.await {
            Ok(Ok(measured)) => measured,
            Ok(Err(_)) => failed("the case did not end".to_owned()),
            Err(error) => failed(error.to_string()),
        };
        let verdict = if measured.violations.is_empty() { "ok" } else { "BROKEN" };
        let Measured { ticks, error_ms, pause_ms, is_told, violations } = measured;
        println!("| {case} | {ticks} | {error_ms} ms | {pause_ms} ms | {is_told} | {verdict} |");
        if !violations.is_empty() {
            broken.push(format!("{case}: {}", violations.join("; ")));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
