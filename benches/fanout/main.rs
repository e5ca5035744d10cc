//! What one replica costs when it serves many clients, beside the least that any server could do on the same machine.
//!
//! `cargo bench --bench fanout` needs nothing but this repository. It starts `btcfeed serve` on the embedded store with a
//! simulated market, opens 10,000 connections, and measures in rounds: a [`floor`] that only writes, and over WebSocket and
//! events the replica with idle clients and the replica with ticks. At last a herd of clients replays the history, all at once. Every update is checked to
//! reach every client exactly once and in order, or a server that drops would look fast.
//!
//! Only what was measured side by side compares: machines differ, and so does one machine from day to day. Where there
//! are two cores, the server has one and the clients the other.

mod floor;
mod growth;
mod measure;
mod report;
#[path = "../shared/mod.rs"]
mod shared;

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, Command, value_parser};
use growth::Growth;
use report::Report;
use shared::book::Faults;
use shared::connection::Door;
use shared::machine;
use shared::server::Server;
use std::path::Path;
use std::time::Duration;

/// The time between two ticks while updates are counted.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// The same where clients are to be idle: there is one tick at the start, and no other.
const NEVER: Duration = Duration::from_secs(3600);
/// The same while the history for the herd is made.
const HISTORY_EVERY: Duration = Duration::from_millis(100);
/// Descriptors that a process needs beside those of its clients.
const SPARE_DESCRIPTORS: u64 = 300;

/// What is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Clients that are connected at a time.
    connections: usize,
    /// How often everything but the herd is measured.
    rounds: usize,
    /// Ticks over which a round counts.
    ticks: usize,
    /// Clients that replay at once, and how many ticks each of them wants.
    herd: usize,
    history: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments().get_matches();
    if let Some(period_ms) = arguments.get_one::<u64>("floor") {
        return floor::run(Duration::from_millis(*period_ms));
    }
    // Without --bench it is `cargo test --all-targets`, which only wants to know whether this works.
    let trial = !arguments.get_flag("bench");
    let wanted = arguments.get_one("connections").copied().unwrap_or(if trial { 100 } else { 10_000 });
    let connections = machine::most_clients(SPARE_DESCRIPTORS)?.min(wanted);
    if connections < wanted {
        eprintln!("the limit on open files (ulimit -Hn) leaves room for {connections} clients, not {wanted}");
    }
    let full = Plan { connections, rounds: 3, ticks: 12, herd: connections.div_ceil(2), history: 720 };
    let plan = if trial { Plan { rounds: 1, ticks: 2, history: 20, ..full } } else { full };
    if let Some(growth) = arguments.get_one::<String>("grow") {
        machine::stay_on_load_core();
        let (table, faults) = growth::run(Growth::named(growth), plan)?;
        println!("\n{table}");
        ensure!(faults == Faults::default(), "not every update reached every client exactly once: {faults:?}");
        return Ok(());
    }
    let report = run(plan).with_context(|| format!("with {connections} clients"))?;
    println!("\n{report}");
    // Beside cargo's directory for scratch, which is in the target directory wherever that is.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("fanout.md");
    std::fs::write(&path, report.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let (_, faults) = report.delivered();
    ensure!(faults == Faults::default(), "not every update reached every client exactly once: {faults:?}");
    Ok(())
}

fn arguments() -> Command {
    Command::new("fanout")
        .about("What one replica costs when it serves many clients")
        .arg(
            Arg::new("connections")
                .long("connections")
                .help("Clients that are connected at a time")
                .value_name("N")
                .value_parser(value_parser!(usize)),
        )
        .arg(
            Arg::new("grow")
                .long("grow")
                .help("Measure how the cost grows with one of these, in place of everything else")
                .value_parser(Growth::NAMES),
        )
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
        .arg(Arg::new("floor").long("floor").value_parser(value_parser!(u64)).hide(true))
}

fn run(plan: Plan) -> anyhow::Result<Report> {
    machine::stay_on_load_core();
    // Its history grows while the rest is measured, ten ticks a second and nobody to send them to.
    let herd_server = Server::btcfeed(HISTORY_EVERY)?;
    let mut report = Report::new(plan);
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        report.floor.push(measure::fan_out(&Server::floor(TICK_EVERY)?, Door::WebSocket, plan)?);
        for (door, results) in [(Door::WebSocket, &mut report.websocket), (Door::Events, &mut report.events)] {
            results.idle.push(measure::idle(&Server::btcfeed(NEVER)?, door, plan)?);
            results.fan_out.push(measure::fan_out(&Server::btcfeed(TICK_EVERY)?, door, plan)?);
        }
    }
    eprintln!("the herd");
    report.herd = Some(measure::herd(&herd_server, plan)?);
    Ok(report)
}
