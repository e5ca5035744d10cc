//! `btcfeed load`: a load test with many clients. Each client is a stream of the SDK: it can use each transport,
//! resumes as other programs do, and detects gaps. The load test only counts and measures.

mod latencies;
mod load_test;
mod plan;
mod progress;
mod reader;
mod report;
mod stats;

use super::exit;
use super::runtime::{block_on, raise_file_limit};
use crate::client::Client;
use crate::shutdown;
use clap::{ArgMatches, Command};
use load_test::{LoadError, LoadTest};
use plan::Plan;
use progress::ProgressDisplay;
use report::Report;
use std::io::{self, Write};
use std::process::ExitCode;

const ABOUT: &str = "Test a feed with many clients: latencies, lost and doubled updates";

const AFTER_HELP: &str = "\
Clients start at --rate. With --since, each client first reads a replay. The measurement begins when all clients are in sync, or \
when no further client has got in sync for 20 s, and takes --duration. Ctrl-C ends the test early.

age        time from an update's id, which is its time by the clock of the feed, to its arrival. It includes the difference \
between that clock and the clock of this machine. It is 0 if the id is in the future
spread     time from an update's arrival at the first client to its arrival at each other client. It does not depend on clocks, but \
includes the time that this program needs
connect    time from a client's start to its first message, including retries
in sync    time from a client's start to the end of its replay
reconnect  time from the loss of a connection to the first message of the next connection, including the client's pause

lost       gaps without a reason, or with the reason history_lost
doubled    updates that a client received twice
Both are counted from each client's start. Other gaps, for example because of an outage of the exchanges, are counted by their \
reasons.

Examples:
  btcfeed load localhost:8080 --connections 5000 --duration 1m
  btcfeed load http://replica-1:8080 http://replica-2:8080 --transport sse --json

Exit codes: 0 every client was served, and got each update once if there was any; 1 an update was lost \
or arrived twice, a client was not served or does not have the newest update, or there is no feed; 2 an argument is invalid, or \
this machine allows too few open files for this number of clients.";

/// The arguments.
pub(super) fn command() -> Command {
    Command::new("load").about(ABOUT).after_long_help(AFTER_HELP).args(plan::arguments())
}

/// Runs the load test.
pub(super) fn run(flags: &ArgMatches) -> ExitCode {
    let plan = Plan::read(flags);
    let clients = match plan.clients() {
        Ok(clients) => clients,
        Err(error) => return exit::with_message(exit::client_error_code(&error), &error.to_string()),
    };
    let too_many = || raise_file_limit().and_then(|files| plan.exceeds_files(files));
    if let Some(problem) = plan.foreign_address().or_else(too_many) {
        return exit::with_message(exit::USAGE, &problem);
    }
    match block_on(load(&plan, clients, flags.get_flag("json"))) {
        Ok(code) => code,
        Err(error) => exit::with_message(1, &format!("{error:#}")),
    }
}

async fn load(plan: &Plan, clients: Vec<Client>, json: bool) -> anyhow::Result<ExitCode> {
    let stop = shutdown::on_signal()?;
    let mut progress = ProgressDisplay::open();
    plan::local_ports().and_then(|ports| plan.exceeds_ports(ports)).inspect(|problem| progress.print(problem));
    let outcome = LoadTest::new(plan, clients, stop).run(&mut progress).await;
    // Erases the bar before the result is printed.
    progress.close();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(LoadError::Rejected(error)) => {
            return Ok(exit::with_message(exit::client_error_code(&error), &error.to_string()));
        }
        Err(LoadError::Unreachable(why)) => {
            return Ok(exit::with_message(1, &format!("cannot connect to {}: {why}", plan.urls.join(", "))));
        }
    };
    let report = Report::of(plan, &outcome);
    let text = if json { report.json() + "\n" } else { report.to_string() };
    // If the output is closed, the exit code is still that of the result.
    io::stdout().lock().write_all(text.as_bytes()).ok();
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
