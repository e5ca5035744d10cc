//! How long a tick takes from the moment that a poll was answered until the last client has it, and which step takes how
//! much: on one replica without Redis and with it, and across three.
//!
//! The bench plays the exchange, so it knows when it has answered. What happens then is read off the replicas' logs and Redis's
//! channel, and the clients' part off their own clock, all on one machine. Where there are two cores, the servers share one
//! and the clients have the other.

mod exchange;
mod journey;
#[path = "../shared/mod.rs"]
mod shared;

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, Command, value_parser};
use exchange::Exchange;
use journey::{Journey, STATIONS, Sightings, listen};
use shared::book::Faults;
use shared::connection::Door;
use shared::crowd::Crowd;
use shared::machine;
use shared::redis::Redis;
use shared::server::Server;
use shared::witness::Witness;
use std::fmt::Write;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// The time between two ticks.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// How long the clients' thread rests when there is nothing to read: it is part of what is measured.
const REST: Duration = Duration::from_micros(50);
/// How long a log may take to say what happened.
const LOG_DELAY: Duration = Duration::from_millis(200);
/// Descriptors that we need beside those of the clients.
const SPARE_DESCRIPTORS: u64 = 300;

/// What is measured.
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
    let most = machine::most_clients(SPARE_DESCRIPTORS)?;
    let ticks = arguments.get_one("ticks").copied().unwrap_or(if trial { 2 } else { 30 });
    let given = arguments.get_many::<usize>("clients").map(|given| given.copied().collect());
    let sizes: Vec<usize> = given.unwrap_or_else(|| if trial { vec![50] } else { vec![1000, 10_000] });
    let exchange = Exchange::open()?;
    let mut measured = Vec::new();
    for clients in sizes {
        ensure!(clients <= most, "the limit on open files leaves room for {most} clients");
        for (replicas, redis) in [(1, false), (1, true), (3, true)] {
            if redis && !Redis::is_here() {
                eprintln!("redis-server is not here, so what needs it was left out");
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
        .about("From the answer of an exchange to the last client")
        .arg(
            number("clients", "Clients; several numbers with commas are measured one after the other")
                .value_delimiter(','),
        )
        .arg(number("ticks", "Ticks of which the medians are taken"))
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
}

fn measure(setup: Setup, ticks: usize, exchange: &Exchange) -> anyhow::Result<Vec<Journey>> {
    let redis = if setup.redis { Some(Redis::start()?) } else { None };
    let url = exchange.url();
    let mut settings = vec![
        ("BTCFEED_SOURCES", "coinbase"),
        ("BTCFEED_SOURCE_COINBASE_URL", url.as_str()),
        ("BTCFEED_CURRENCIES", "USD"),
        ("RUST_LOG", "info,btcfeed::leader=debug,btcfeed::hub=trace"),
    ];
    settings.extend(redis.iter().map(|redis| ("REDIS_URL", redis.url())));
    let channel = redis.as_ref().map(|redis| listen(&redis.client()?)).transpose()?;
    let (log, logged) = mpsc::channel();
    let replicas: Vec<_> = (0..setup.replicas)
        .map(|_| Server::replica(TICK_EVERY, &settings, Some(log.clone())))
        .collect::<Result<_, _>>()?;
    let servers: Vec<_> = replicas.iter().map(Server::address).collect();
    let witness = Witness::connect(*servers.last().context("no replica")?, 1)?;
    let mut crowd = Crowd::new(&servers, Door::WebSocket, Some(witness))?;
    crowd.rest = REST;
    crowd.grow(setup.clients)?;
    let first = crowd.book.len();
    let last = first + ticks;
    crowd.until("the last tick for all", |crowd| crowd.book.is_settled(last, setup.clients))?;
    let faults = crowd.faults(last)?;
    ensure!(faults == Faults::default(), "not every update reached every client exactly once: {faults:?}");
    crowd.during(LOG_DELAY)?;
    let mut sightings = Sightings::default();
    logged.try_iter().try_for_each(|line| sightings.read(&line))?;
    for (id, at) in channel.iter().flat_map(|channel| channel.try_iter()) {
        sightings.note_stored(id, at);
    }
    let answers = exchange.answers();
    // The first may have come while clients still did.
    let updates = &crowd.book.updates()[first + 1..=last];
    updates.iter().map(|update| sightings.journey(update, &answers)).collect()
}

fn table(measured: &[(Setup, Vec<Journey>)], ticks: usize) -> anyhow::Result<String> {
    let mut table = format!("{}.\n", machine::describe());
    writeln!(
        table,
        "Medians of {ticks} ticks, one every {TICK_EVERY:?}: ms since the answer, and the step's share of all.\n"
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
    for (station, name) in STATIONS.iter().enumerate().skip(1) {
        row(
            name,
            &mut measured.iter().map(|(_, journeys)| {
                let since = |from: usize, to: usize| millis(journeys, from, to);
                let steps: f64 = (1..STATIONS.len()).map(|to| since(to - 1, to)).sum();
                format!("{:.2} ({:.0} %)", since(0, station), since(station - 1, station) / steps * 100.0)
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

/// The median time from one station to another.
fn millis(journeys: &[Journey], from: usize, to: usize) -> f64 {
    let time = |journey: &Journey| Duration::from_nanos(journey[to].saturating_sub(journey[from]));
    let mut times: Vec<_> = journeys.iter().map(time).collect();
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
