//! Many replicas on one Redis with very many clients: the cost of sending every tick to every client, and the failover
//! of the clients of a replica that is killed.
//!
//! `cargo bench --bench scale -- --replicas 6 --clients 100000 --interval 5s` starts `redis-server`, the replicas, and
//! several processes with clients, because one process has too few descriptors. In each process, a witness reads the
//! feed in the `full` format, and the updates of all clients are compared with it. Then one replica is killed, and its
//! clients reconnect to the others with their last ids. All processes share all cores of the machine.
//!
//! `--replicas 1,2,3,6` measures these numbers one after the other, and prints how the cost grows.

mod shared;

mod scale {
    pub(crate) mod load;
    pub(crate) mod report;
    pub(crate) mod stack;
}

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use scale::load;
use scale::report::{Failover, Outcome, Report};
use scale::stack::{Stack, waves};
use shared::deliveries::Faults;
use shared::machine::{self, kernel_kib, memory_kib, monotonic_ns, sleep};
use shared::redis::Redis;
use std::path::Path;
use std::time::{Duration, Instant};

/// Maximum number of clients in one process, so that the common limit of 20,000 open files is enough.
const PER_PROCESS: usize = 17_000;
/// Descriptors that a process with clients needs in addition to those of its clients.
const SPARE_DESCRIPTORS: u64 = 300;
/// Number of a replica's descriptors that are not for the measured clients. It includes those for the witnesses.
const REPLICA_SPARE: usize = 256 + 24;
/// Time between the kill of a replica and the next tick. The replica's clients miss that tick.
const KILL_BEFORE_TICK: Duration = Duration::from_millis(200);
/// Shortest interval with which a failover is measured. With a shorter one, clients that reconnect cannot be
/// distinguished from clients that are late.
const MIN_FAILOVER_INTERVAL: Duration = Duration::from_secs(1);

/// Parameters of one measurement.
#[derive(Clone, Debug)]
struct Plan {
    replicas: usize,
    clients: usize,
    interval: Duration,
    /// Ticks to measure.
    ticks: usize,
    /// True if a replica is killed at the end.
    failover: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments().get_matches();
    machine::share_cores();
    if let Some(task) = arguments.get_one::<String>("load") {
        return load::run(&serde_json::from_str(task)?);
    }
    let trial = !arguments.get_flag("bench");
    if trial && !Redis::is_installed() {
        eprintln!("redis-server is not installed: skipping");
        return Ok(());
    }
    let files = machine::max_clients(0)?;
    let mut outcomes = Vec::new();
    for plan in plans(&arguments, trial) {
        let max = plan.replicas * files.saturating_sub(REPLICA_SPARE);
        ensure!(
            plan.clients <= max,
            "invalid number of clients {}: {} replicas have descriptors for at most {max}",
            plan.clients,
            plan.replicas
        );
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
        failover: !arguments.get_flag("no-failover") && replicas > 1 && interval >= MIN_FAILOVER_INTERVAL,
    };
    replicas.into_iter().map(plan).collect()
}

fn arguments() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).value_name("N").value_parser(value_parser!(usize))
    };
    Command::new("scale")
        .about("Many replicas on one Redis with very many clients")
        .arg(
            number(
                "replicas",
                "Number of replicas; several numbers, separated by commas, are measured one after the other",
            )
            .value_delimiter(','),
        )
        .arg(number("clients", "Number of clients of all replicas together"))
        .arg(number("ticks", "Ticks to measure"))
        .arg(
            Arg::new("interval")
                .long("interval")
                .help("Time between two ticks, such as 5s or 100ms")
                .value_parser(duration),
        )
        .arg(Arg::new("no-failover").long("no-failover").help("Do not kill a replica").action(ArgAction::SetTrue))
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
        .arg(Arg::new("load").long("load").hide(true))
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    match (number.parse(), unit) {
        (Ok(number), "s") => Ok(Duration::from_secs(number)),
        (Ok(number), "ms") => Ok(Duration::from_millis(number)),
        _ => Err(format!("invalid interval {text:?}: expected a duration such as 5s or 100ms")),
    }
}

fn run(plan: &Plan, files: usize) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let mut stack = Stack::start(plan)?;
    let connected = started.elapsed();
    // All clients are connected, so all get the next tick. The measurement begins one tick later.
    let (first, _) = stack.ticks(2)?;
    let before = stack.used()?;
    let (last, _) = stack.ticks(plan.ticks)?;
    let (used, time) = stack.used()?.since(&before);
    let kib = stack.replicas.iter().map(|replica| memory_kib(replica.pid())).collect::<Result<Vec<_>, _>>()?;
    let kernel_kib = kernel_kib()?.saturating_sub(stack.empty_kernel_kib);
    let mut reports = stack.report(&last)?;
    let waves = waves(&reports);
    let spreads: Vec<_> = waves
        .range(first.as_str()..=last.as_str())
        .map(|(_, wave)| Duration::from_nanos(wave.last_ns.saturating_sub(wave.first_ns)))
        .collect();
    let partly = waves.range(first.as_str()..=last.as_str()).filter(|(_, wave)| wave.processes < stack.loads.len());
    // If no client of a process received a tick, the report of that process does not contain it.
    let unseen = partly.count() * plan.clients;
    let failover = if plan.failover {
        let (failover, after) = fail_over(plan, &mut stack, files)?;
        reports = after;
        Some(failover)
    } else {
        None
    };
    let faults = reports.iter().fold(Faults::default(), |all, report| all.and(report.faults));
    Ok(Outcome {
        plan: plan.clone(),
        connected,
        empty_kib: stack.empty_kib.clone(),
        kib,
        kernel_kib,
        used,
        time,
        spreads,
        delivered: reports.iter().map(|report| u64::from(report.delivered)).sum(),
        faults: Faults { lost: faults.lost + unseen, ..faults },
        failover,
    })
}

/// Kills a replica right before a tick, and measures the time until all of its clients have that tick from other
/// replicas.
fn fail_over(plan: &Plan, stack: &mut Stack, files: usize) -> anyhow::Result<(Failover, Vec<load::Report>)> {
    let room = (plan.replicas - 1) * files.saturating_sub(REPLICA_SPARE);
    let clients = plan.clients.min(room / 1000 * 1000).min(room);
    stack.keep(clients)?;
    // The victim is not the last replica, which has the witnesses. If possible, it is not the leader either: after the
    // death of the leader, all clients have to wait until its lease expires.
    let leader = stack.leader()?;
    let victim = (0..plan.replicas).find(|number| *number != leader && *number != plan.replicas - 1);
    let victim = victim.unwrap_or(0);
    for load in &mut stack.loads {
        load.expect_failure_of(victim)?;
    }
    let (_, tick) = stack.ticks(1)?;
    sleep(plan.interval.saturating_sub(KILL_BEFORE_TICK + tick.elapsed()));
    eprintln!("replica {} is killed", victim + 1);
    let (seen, killed_ns) = (stack.seen(), monotonic_ns(Instant::now()));
    // Before the process ends, the kernel closes its sockets one after the other. The next tick may arrive in this
    // time, so the number of the tick is determined before the kill.
    stack.replicas[victim].kill()?;
    let (missed, _) = stack.until(seen + 1)?;
    let (last, _) = stack.ticks(2)?;
    let reports = stack.report(&last)?;
    let wave = *waves(&reports).get(missed.as_str()).context("no client received the tick after the kill")?;
    let since = |ns: u64| Duration::from_nanos(ns.saturating_sub(killed_ns));
    let reconnected = reports.iter().filter_map(|report| report.reconnected_ns).max();
    let failover = Failover {
        clients: stack.clients(),
        was_leader: victim == leader,
        reconnected: reports.iter().map(|report| report.reconnected).sum(),
        connected: since(reconnected.context("no client had to reconnect")?),
        in_sync: since(wave.last_ns.max(reconnected.unwrap_or_default())),
    };
    Ok((failover, reports))
}
