//! Cost of one replica with many clients, compared with the minimum that any server would need on the same machine.
//!
//! `cargo bench --bench fanout` starts `btcfeed serve` with the feed in memory and a simulated market, opens 10,000
//! connections, and measures in rounds: a [`baseline`](fanout::baseline) that only writes, then the replica with idle
//! clients and with ticks, over WebSocket and over events. At the end, many clients connect at once and replay the
//! history (the herd). The bench checks that every update reaches every client exactly once and in order. Otherwise a
//! server that drops updates would look fast.
//!
//! Compare only results that were measured side by side: machines differ, and one machine differs from day to day. If
//! there are at least two cores, the server has one and the clients have another.

mod shared;

mod fanout {
    pub(crate) mod baseline;
    pub(crate) mod growth;
    pub(crate) mod guard;
    pub(crate) mod measure;
    pub(crate) mod report;
    pub(crate) mod sealer;
}

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, Command, value_parser};
use fanout::growth::Growth;
use fanout::report::Report;
use fanout::{baseline, growth, guard, measure};
use shared::connection::Transport;
use shared::deliveries::Faults;
use shared::machine;
use shared::server::Server;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two ticks while updates are counted.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// Time between two ticks for idle clients: there is one tick at the start and no other.
const NEVER: Duration = Duration::from_secs(3600);
/// Time between two ticks while the history for the herd is written.
const HISTORY_EVERY: Duration = Duration::from_millis(100);
/// Number of clients of the guard.
const GUARD_CLIENTS: usize = 2000;
/// Descriptors that a process needs in addition to those of its clients.
const SPARE_DESCRIPTORS: u64 = 300;

/// Parameters of the measurement.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Number of concurrent clients.
    connections: usize,
    /// Number of rounds. The herd is measured once.
    rounds: usize,
    /// Ticks that are counted in each round.
    ticks: usize,
    /// Number of clients that replay the history at once.
    herd: usize,
    /// Number of ticks that each of these clients replays.
    history: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments().get_matches();
    if let Some(period_ms) = arguments.get_one::<u64>("baseline") {
        let files: Vec<_> = arguments.get_many::<PathBuf>("certificate").into_iter().flatten().collect();
        return baseline::run(Duration::from_millis(*period_ms), &files);
    }
    // Without --bench, this program is a test. It only checks that the bench works.
    let trial = !arguments.get_flag("bench");
    let default = if arguments.get_flag("guard") {
        GUARD_CLIENTS
    } else if trial {
        100
    } else {
        10_000
    };
    let wanted = arguments.get_one("connections").copied().unwrap_or(default);
    let connections = machine::max_clients(SPARE_DESCRIPTORS)?.min(wanted);
    if connections < wanted {
        eprintln!("the limit on open files (ulimit -Hn) leaves room for {connections} clients, not {wanted}");
    }
    let full = Plan { connections, rounds: 3, ticks: 12, herd: connections.div_ceil(2), history: 720 };
    let plan = if trial { Plan { rounds: 1, ticks: 2, history: 20, ..full } } else { full };
    if arguments.get_flag("guard") {
        machine::stay_on_load_core();
        return guard::run(Plan { rounds: 3, ticks: 12, ..plan });
    }
    if let Some(growth) = arguments.get_one::<String>("grow") {
        machine::stay_on_load_core();
        let (table, faults) = growth::run(Growth::from_name(growth), plan)?;
        println!("\n{table}");
        ensure!(faults == Faults::default(), "not every update reached every client exactly once: {faults:?}");
        return Ok(());
    }
    let report = run(plan).with_context(|| format!("with {connections} clients"))?;
    println!("\n{report}");
    // The report is in the target directory, next to cargo's directory for temporary files.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("fanout.md");
    std::fs::write(&path, report.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let (_, faults) = report.delivered();
    ensure!(faults == Faults::default(), "not every update reached every client exactly once: {faults:?}");
    Ok(())
}

fn arguments() -> Command {
    Command::new("fanout")
        .about("Cost of one replica with many clients")
        .arg(
            Arg::new("connections")
                .long("connections")
                .help("Number of concurrent clients")
                .value_name("N")
                .value_parser(value_parser!(usize)),
        )
        .arg(
            Arg::new("grow")
                .long("grow")
                .help("Measure only how the cost grows with this quantity")
                .value_parser(Growth::NAMES),
        )
        .arg(
            Arg::new("guard")
                .long("guard")
                .help("Only check that an update costs at most 25 % more than recorded, in plain text and over TLS")
                .action(ArgAction::SetTrue),
        )
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
        .arg(Arg::new("baseline").long("baseline").value_parser(value_parser!(u64)).hide(true))
        .arg(Arg::new("certificate").num_args(2).value_parser(value_parser!(PathBuf)).requires("baseline").hide(true))
}

fn run(plan: Plan) -> anyhow::Result<Report> {
    machine::stay_on_load_core();
    // The history for the herd is written while the rest is measured: ten ticks a second, without clients.
    let herd_server = Server::btcfeed(HISTORY_EVERY, None)?;
    let mut report = Report::new(plan);
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        report.baseline.push(measure::fan_out(&Server::baseline(TICK_EVERY, None)?, Transport::WebSocket, plan)?);
        for (transport, results) in
            [(Transport::WebSocket, &mut report.websocket), (Transport::Events, &mut report.events)]
        {
            results.idle.push(measure::idle(&Server::btcfeed(NEVER, None)?, transport, plan)?);
            results.fan_out.push(measure::fan_out(&Server::btcfeed(TICK_EVERY, None)?, transport, plan)?);
        }
    }
    eprintln!("the herd");
    report.herd = Some(measure::herd(&herd_server, plan)?);
    Ok(report)
}
