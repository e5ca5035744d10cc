//! `btcfeed load`: as many clients as one machine has room for, to see what a deployment can serve. Each is a stream of the SDK, so it
//! reads every transport, resumes as users' programs do, and knows whether anything is missing; here it is only counted and timed.

mod crowd;
mod plan;
mod progress;
mod reader;
mod report;
mod tally;
mod times;

use super::arguments;
use crate::client::Client;
use crate::shutdown;
use clap::{ArgMatches, Command};
use crowd::{Crowd, Failure};
use plan::Plan;
use progress::Progress;
use report::Report;
use std::io::{self, Write};
use std::process::ExitCode;

const ABOUT: &str = "Load a feed with many clients, and tell how fast updates come and whether any is lost";

const MEANING: &str = "\
Clients come at --rate, replay if --since says so, and when all are in sync their updates are measured for --duration. Ctrl-C ends it early.

age      from an update's id, which is its time by the feed's clock, to its arrival. What the clocks of two machines differ by is in it; \
an id ahead of this machine's clock counts as 0
spread   from an update's arrival at the first of these clients to its arrival at each other. It needs no clocks, and this program's own \
work is in it
connect  from a client's beginning to its first message, with every further try
in sync  from a client's beginning to the end of its replay
back     from the loss of a connection to the first message of the next, with the pause that the client makes

lost are gaps that nothing explains, or of which the feed says that it lost something (history_lost); doubled are updates that came again. Both count \
from a client's first message on. Other gaps, as of an outage of the exchanges, are told with their reason.

Exit codes: 0 every client got everything once, also where no update came while it was measured, which the result says; 1 something was lost or doubled, a client was not served or lacks the newest update, or there \
is no feed; 2 an argument is wrong, or the server refused one, or this machine has too few open files for so many clients.";

/// The command.
pub(super) fn command() -> Command {
    Command::new("load").about(ABOUT).after_help(MEANING).args(plan::arguments())
}

/// Runs until all is measured, or it is stopped.
pub(super) fn run(flags: &ArgMatches) -> ExitCode {
    let plan = Plan::read(flags);
    let clients = match plan.clients() {
        Ok(clients) => clients,
        Err(error) => return ended(arguments::exit_code(&error), &error.to_string()),
    };
    let too_many = || super::serve::raise_file_limit().and_then(|files| plan.beyond(files));
    if let Some(problem) = plan.foreign_address().or_else(too_many) {
        return ended(super::USAGE, &problem);
    }
    match super::block_on(load(&plan, clients, flags.get_flag("json"))) {
        Ok(code) => code,
        Err(error) => ended(1, &format!("{error:#}")),
    }
}

fn ended(code: u8, said: &str) -> ExitCode {
    eprintln!("btcfeed: {said}");
    ExitCode::from(code)
}

async fn load(plan: &Plan, clients: Vec<Client>, json: bool) -> anyhow::Result<ExitCode> {
    let stop = shutdown::on_signal()?;
    let mut progress = Progress::open();
    plan::ports().and_then(|ports| plan.short_of_ports(ports)).inspect(|problem| progress.tell(problem));
    let outcome = Crowd::new(plan, clients, stop).run(&mut progress).await;
    // The terminal is as it was before the result is shown on it.
    progress.close();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(Failure::Refused(error)) => return Ok(ended(arguments::exit_code(&error), &error.to_string())),
        Err(Failure::Unreachable(why)) => {
            return Ok(ended(1, &format!("{} cannot be reached: {why}", plan.urls.join(", "))));
        }
    };
    let report = Report::of(plan, &outcome);
    let shown = if json { report.json() + "\n" } else { report.to_string() };
    // Whether anybody reads it changes nothing about what was measured.
    io::stdout().lock().write_all(shown.as_bytes()).ok();
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
