//! Many replicas on one Redis, and very many clients: every tick to every client, and what becomes of the clients of a replica
//! that dies.
//!
//! `cargo bench --bench scale -- --replicas 6 --clients 100000 --interval 5s` starts `redis-server` and the replicas, and
//! several processes of clients, for one has too few descriptors. In each process every client's updates are checked against
//! what a witness of its own read in the `full` format. Then one replica is killed: its clients go to the others with the
//! last id that they have. Everything shares all cores, as it would on one machine.
//!
//! `--replicas 1,2,3,6` measures one after the other, and prints how it grows.

mod load;
mod report;
#[path = "../shared/mod.rs"]
mod shared;
mod stack;

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use report::{Death, Outcome, Report};
use shared::book::Faults;
use shared::machine::{self, memory_kib, monotonic_ns, rest};
use shared::redis::Redis;
use stack::{Stack, waves};
use std::path::Path;
use std::time::{Duration, Instant};

/// Clients in one process, where it may have 20,000 descriptors.
const PER_PROCESS: usize = 17_000;
/// Descriptors that a process of clients needs beside those of its clients.
const SPARE_DESCRIPTORS: u64 = 300;
/// Descriptors that a replica keeps for other things than clients, and connections of our witnesses.
const REPLICA_SPARE: usize = 256 + 24;
/// How long before a tick a replica dies, so that its clients miss that one.
const BEFORE_A_TICK: Duration = Duration::from_millis(200);
/// With ticks more often than this, those who come back cannot be told from those who are only late.
const DEATH_FROM: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Clone, Debug)]
struct Plan {
    replicas: usize,
    clients: usize,
    interval: Duration,
    /// Ticks over which everything is measured.
    ticks: usize,
    /// Whether a replica is killed.
    death: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments().get_matches();
    machine::share_cores();
    if let Some(task) = arguments.get_one::<String>("load") {
        return load::run(&serde_json::from_str(task)?);
    }
    let trial = !arguments.get_flag("bench");
    if trial && !Redis::is_here() {
        eprintln!("redis-server is not here, so nothing was tried");
        return Ok(());
    }
    let files = machine::most_clients(0)?;
    let mut outcomes = Vec::new();
    for plan in plans(&arguments, trial) {
        let most = plan.replicas * files.saturating_sub(REPLICA_SPARE);
        ensure!(plan.clients <= most, "{} replicas have descriptors for {most} clients", plan.replicas);
        eprintln!("{plan:?}");
        outcomes.push(run(&plan, files)?);
    }
    let report = Report { outcomes };
    println!("\n{report}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("scale.md");
    std::fs::write(&path, report.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let faults = report.faults();
    ensure!(faults == Faults::default(), "not every update reached every client exactly once: {faults:?}");
    Ok(())
}

fn plans(arguments: &ArgMatches, trial: bool) -> Vec<Plan> {
    let number = |name: &str| arguments.get_one::<usize>(name).copied();
    let default = if trial { 2 } else { 6 };
    let replicas = arguments.get_many::<usize>("replicas").map_or(vec![default], |given| given.copied().collect());
    let interval = arguments.get_one("interval").copied();
    let interval = interval.unwrap_or(Duration::from_secs(if trial { 1 } else { 5 }));
    let plan = |replicas| Plan {
        replicas,
        clients: number("clients").unwrap_or(if trial { 200 } else { 100_000 }),
        interval,
        ticks: number("ticks").unwrap_or(if trial { 2 } else { 6 }),
        death: !arguments.get_flag("no-death") && replicas > 1 && interval >= DEATH_FROM,
    };
    replicas.into_iter().map(plan).collect()
}

fn arguments() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).value_name("N").value_parser(value_parser!(usize))
    };
    Command::new("scale")
        .about("Many replicas on one Redis, and very many clients")
        .arg(
            number("replicas", "Replicas; several numbers with commas are measured one after the other")
                .value_delimiter(','),
        )
        .arg(number("clients", "Clients of all replicas together"))
        .arg(number("ticks", "Ticks over which everything is measured"))
        .arg(Arg::new("interval").long("interval").help("The time between two ticks: 5s, 100ms").value_parser(duration))
        .arg(Arg::new("no-death").long("no-death").help("Kill no replica").action(ArgAction::SetTrue))
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
        .arg(Arg::new("load").long("load").hide(true))
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    match (number.parse(), unit) {
        (Ok(number), "s") => Ok(Duration::from_secs(number)),
        (Ok(number), "ms") => Ok(Duration::from_millis(number)),
        _ => Err(format!("an interval reads 5s or 100ms, got {text:?}")),
    }
}

fn run(plan: &Plan, files: usize) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let mut stack = Stack::start(plan)?;
    let connected = began.elapsed();
    // From the next tick on everybody is there.
    let (first, _) = stack.ticks(2)?;
    let before = stack.used()?;
    let (last, _) = stack.ticks(plan.ticks)?;
    let (used, time) = stack.used()?.since(&before);
    let kib = stack.replicas.iter().map(|replica| memory_kib(replica.pid())).collect::<Result<Vec<_>, _>>()?;
    let mut reports = stack.report(&last)?;
    let waves = waves(&reports);
    let spreads: Vec<_> = waves
        .range(first.as_str()..=last.as_str())
        .map(|(_, wave)| Duration::from_nanos(wave.last_ns.saturating_sub(wave.first_ns)))
        .collect();
    let partly = waves.range(first.as_str()..=last.as_str()).filter(|(_, wave)| wave.processes < stack.loads.len());
    // A tick that no client of a process got at all is not in its book.
    let unseen = partly.count() * plan.clients;
    let death = if plan.death {
        let (death, after) = die(plan, &mut stack, files)?;
        reports = after;
        Some(death)
    } else {
        None
    };
    let faults = reports.iter().fold(Faults::default(), |all, report| all.and(report.faults));
    Ok(Outcome {
        plan: plan.clone(),
        connected,
        empty_kib: stack.empty_kib.clone(),
        kib,
        used,
        time,
        spreads,
        delivered: reports.iter().map(|report| u64::from(report.delivered)).sum(),
        faults: Faults { lost: faults.lost + unseen, ..faults },
        death,
    })
}

/// Kills a replica right before a tick: how long it takes until all of its clients have that tick from the others.
fn die(plan: &Plan, stack: &mut Stack, files: usize) -> anyhow::Result<(Death, Vec<load::Report>)> {
    let room = (plan.replicas - 1) * files.saturating_sub(REPLICA_SPARE);
    let clients = plan.clients.min(room / 1000 * 1000).min(room);
    stack.keep(clients)?;
    // The last one has the witnesses, and a leader's clients would wait for its lease to run out as everybody does.
    let leader = stack.leader()?;
    let victim = (0..plan.replicas).find(|number| *number != leader && *number != plan.replicas - 1);
    let victim = victim.unwrap_or(0);
    for load in &mut stack.loads {
        load.expect_death_of(victim)?;
    }
    let (_, tick) = stack.ticks(1)?;
    rest(plan.interval.saturating_sub(BEFORE_A_TICK + tick.elapsed()));
    eprintln!("replica {} is killed", victim + 1);
    let (seen, killed_ns) = (stack.seen(), monotonic_ns(Instant::now()));
    // Its sockets are closed one after the other, so the tick may be here before it is gone.
    stack.replicas[victim].kill()?;
    let (missed, _) = stack.until(seen + 1)?;
    let (last, _) = stack.ticks(2)?;
    let reports = stack.report(&last)?;
    let wave = *waves(&reports).get(missed.as_str()).context("nobody got the tick after the death")?;
    let since = |ns: u64| Duration::from_nanos(ns.saturating_sub(killed_ns));
    let returned = reports.iter().filter_map(|report| report.returned_ns).max();
    let death = Death {
        clients: stack.clients(),
        victim_led: victim == leader,
        returned: reports.iter().map(|report| report.returned).sum(),
        connected: since(returned.context("nobody had to come back")?),
        in_sync: since(wave.last_ns.max(returned.unwrap_or_default())),
    };
    Ok((death, reports))
}
