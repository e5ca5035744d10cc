//! Latency of a tick from the exchange's answer to the last client, stage by stage: with one replica without Redis,
//! with one replica and Redis, and with three replicas and Redis.
//!
//! The bench is the exchange, so it knows the time of each answer. The times of the other stages are from the replicas'
//! logs, from Redis' channel and from the clients, all on one machine. If there are at least two cores, the servers
//! share one and the clients have another.

mod shared;

mod latency {
    pub(crate) mod exchange;
    pub(crate) mod timeline;
}

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, Command, value_parser};
use latency::exchange::Exchange;
use latency::timeline::{STAGES, StageTimes, Timeline, subscribe};
use shared::client_pool::ClientPool;
use shared::connection::Transport;
use shared::deliveries::Faults;
use shared::machine;
use shared::redis::Redis;
use shared::server::Server;
use shared::witness::Witness;
use std::fmt::Write;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// Time between two ticks.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// Pause of the clients' thread if there is nothing to read. It is part of the measured time.
const PAUSE: Duration = Duration::from_micros(50);
/// Upper bound for the delay of a log line.
const LOG_DELAY: Duration = Duration::from_millis(200);
/// Descriptors that this process needs in addition to those of the clients.
const SPARE_DESCRIPTORS: u64 = 300;

/// Parameters of one measurement.
#[derive(Clone, Copy, Debug)]
struct Setup {
    replicas: usize,
    redis: bool,
    clients: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments().get_matches();
    let trial = !arguments.get_flag("bench");
    machine::stay_on_load_core();
    let max = machine::max_clients(SPARE_DESCRIPTORS)?;
    let ticks = arguments.get_one("ticks").copied().unwrap_or(if trial { 2 } else { 30 });
    let given = arguments.get_many::<usize>("clients").map(|given| given.copied().collect());
    let sizes: Vec<usize> = given.unwrap_or_else(|| if trial { vec![50] } else { vec![1000, 10_000] });
    let exchange = Exchange::open()?;
    let mut measured = Vec::new();
    for clients in sizes {
        ensure!(clients <= max, "the limit on open files leaves room for {max} clients");
        for (replicas, redis) in [(1, false), (1, true), (3, true)] {
            if redis && !Redis::is_installed() {
                eprintln!("redis-server is not installed: skipping the measurements that need it");
                continue;
            }
            let setup = Setup { replicas, redis, clients };
            eprintln!("{setup:?}");
            measured.push((setup, measure(setup, ticks, &exchange).with_context(|| format!("{setup:?}"))?));
        }
    }
    let table = table(&measured, ticks)?;
    println!("\n{table}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("latency.md");
    std::fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))
}

fn arguments() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).value_name("N").value_parser(value_parser!(usize))
    };
    Command::new("latency")
        .about("Latency of a tick from an exchange's answer to the last client")
        .arg(
            number(
                "clients",
                "Number of clients; several numbers, separated by commas, are measured one after the other",
            )
            .value_delimiter(','),
        )
        .arg(number("ticks", "Ticks to measure"))
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
}

fn measure(setup: Setup, ticks: usize, exchange: &Exchange) -> anyhow::Result<Vec<Timeline>> {
    let redis = if setup.redis { Some(Redis::start()?) } else { None };
    let url = exchange.url();
    let mut settings = vec![
        ("BTCFEED_SOURCES", "coinbase"),
        ("BTCFEED_SOURCE_COINBASE_URL", url.as_str()),
        ("BTCFEED_SOURCE_MIN_INTERVAL", "0s"),
        ("BTCFEED_CURRENCIES", "USD"),
        ("RUST_LOG", "info,btcfeed::leader=debug,btcfeed::hub=trace"),
    ];
    settings.extend(redis.iter().map(|redis| ("REDIS_URL", redis.url())));
    let channel = redis.as_ref().map(|redis| subscribe(&redis.client()?)).transpose()?;
    let (log, logged) = mpsc::channel();
    let replicas: Vec<_> = (0..setup.replicas)
        .map(|_| Server::replica(TICK_EVERY, &settings, Some(log.clone())))
        .collect::<Result<_, _>>()?;
    let servers: Vec<_> = replicas.iter().map(|replica| replica.endpoint().clone()).collect();
    let witness = Witness::connect(servers.last().context("no replica")?, 1)?;
    let mut pool = ClientPool::new(&servers, Transport::WebSocket, Some(witness))?;
    pool.pause = PAUSE;
    pool.grow(setup.clients)?;
    let first = pool.deliveries.len();
    let last = first + ticks;
    pool.until("the last tick for all", |pool| pool.deliveries.is_settled(last, setup.clients))?;
    let faults = pool.faults(last)?;
    ensure!(faults == Faults::default(), "not every update reached every client exactly once: {faults:?}");
    pool.during(LOG_DELAY)?;
    let mut times = StageTimes::default();
    logged.try_iter().try_for_each(|line| times.record(&line))?;
    for (id, at) in channel.iter().flat_map(|channel| channel.try_iter()) {
        times.record_stored(id, at);
    }
    let answers = exchange.answers();
    // The first update may have arrived while clients were connecting, so it is not counted.
    let updates = &pool.deliveries.updates()[first + 1..=last];
    updates.iter().map(|update| times.timeline(update, &answers)).collect()
}

fn table(measured: &[(Setup, Vec<Timeline>)], ticks: usize) -> anyhow::Result<String> {
    let mut table = format!("{}.\n", machine::describe());
    writeln!(
        table,
        "Medians of {ticks} ticks, one every {TICK_EVERY:?}: ms since the answer, and the stage's share of the total.\n"
    )?;
    let mut row = |name: &str, cells: &mut dyn Iterator<Item = String>| {
        write!(table, "| {name} |")?;
        for cell in cells {
            write!(table, " {cell} |")?;
        }
        writeln!(table)
    };
    row("", &mut measured.iter().map(|(setup, _)| setup.to_string()))?;
    row("---", &mut measured.iter().map(|_| "---".to_owned()))?;
    for (stage, name) in STAGES.iter().enumerate().skip(1) {
        row(
            name,
            &mut measured.iter().map(|(_, timelines)| {
                let since = |from: usize, to: usize| millis(timelines, from, to);
                let steps: f64 = (1..STAGES.len()).map(|to| since(to - 1, to)).sum();
                format!("{:.2} ({:.0} %)", since(0, stage), since(stage - 1, stage) / steps * 100.0)
            }),
        )?;
    }
    Ok(table)
}

impl std::fmt::Display for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Setup { replicas, redis, clients } = self;
        let store = if *redis { "Redis" } else { "no Redis" };
        write!(f, "{replicas} replica{}, {store}, {clients} clients", if *replicas == 1 { "" } else { "s" })
    }
}

/// Returns the median time from one stage to another.
fn millis(timelines: &[Timeline], from: usize, to: usize) -> f64 {
    let time = |timeline: &Timeline| Duration::from_nanos(timeline[to].saturating_sub(timeline[from]));
    let mut times: Vec<_> = timelines.iter().map(time).collect();
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
