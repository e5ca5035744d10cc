//! `btcfeed check`: finds faults and risks of a feed, and says what to do.

mod finding;
mod machine;
mod peers;
mod redis;
mod sources;

use super::runtime::block_on;
use super::settings::{flags, lookup};
use super::{arguments, exit};
use crate::config::{Config, ConfigErrors, Lookup, unknown_variables};
use clap::{Arg, ArgAction, ArgMatches, Command};
use finding::{Finding, Outcome, worst};
use peers::Peers;
use std::io;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  btcfeed check                                     this machine, and the Redis and the sources of the settings
  btcfeed check --peer r1:8080 --peer r2:8080       also two running replicas
  btcfeed check --json | jq '.checks[].outcome'     for programs

It takes less than 5 s, unless BTCFEED_REDIS_TIMEOUT is longer than 1s. It asks each source once. It writes only
test keys in Redis, or a test file if the feed is in a file, and deletes what it has written.

Exit codes: 0 if nothing is wrong, 1 if there is a warning, 2 if a check failed or an argument is invalid.";

/// The arguments.
pub(super) fn command() -> Command {
    let peer = Arg::new("peer").long("peer").value_name("ADDRESS").action(ArgAction::Append);
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    Command::new("check")
        .about("Find faults of a feed: settings, Redis, sources, this machine, replicas")
        .after_long_help(EXAMPLES)
        .arg(peer.help("A replica to ask for its status, HOST:PORT or a URL; may be repeated"))
        .arg(json.help("Print one JSON object"))
        .arg(
            arguments::authority_flag()
                .help("PEM file with the certificate authorities of --peer [default: those of the system]"),
        )
        .arg(arguments::key_flag().help("File with the API key for --peer, if the feed needs one"))
        .args(flags(|_| true))
}

/// Runs all checks, prints the findings, and returns the exit code.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let lookup = lookup(matches);
    let peers = Peers {
        addresses: matches.get_many("peer").unwrap_or_default().cloned().collect(),
        authorities: arguments::authorities(matches),
        key: arguments::key(matches),
    };
    let findings = match block_on(async { Ok(check(&lookup, &peers).await) }) {
        Ok(findings) => findings,
        Err(error) => return exit::with_result(Err(error)),
    };
    let written = finding::print(&findings, matches.get_flag("json"), &mut io::stdout().lock());
    if let Err(error) = exit::unless_closed(written) {
        return exit::with_result(Err(error));
    }
    match worst(&findings) {
        Outcome::Ok => ExitCode::SUCCESS,
        Outcome::Warn => ExitCode::from(1),
        Outcome::Fail => ExitCode::from(2),
    }
}

async fn check(lookup: &Lookup, peers: &Peers) -> Vec<Finding> {
    let unknown = unknown_variables(lookup)
        .into_iter()
        .map(|unknown| Finding::warn("configuration", unknown.to_string(), "Correct or remove the variable."));
    let mut findings: Vec<_> = unknown.collect();
    let config = match Config::read(lookup) {
        Ok(config) => config,
        Err(ConfigErrors(errors)) => {
            let remedy = "Correct the setting: docs/configuration.md lists all settings.";
            findings.extend(errors.into_iter().map(|error| Finding::fail("configuration", error, remedy)));
            return findings;
        }
    };
    if findings.is_empty() {
        findings.push(Finding::ok("configuration", "every setting is valid"));
    }
    let (redis, sources, peers) =
        tokio::join!(redis::check(&config), sources::check(&config), peers.check(config.leader.interval));
    [findings, redis, sources, machine::check(&config), peers].concat()
}
