//! `btcfeed key new`: creates an API key and its line for the file of keys.

use crate::access::{KeyName, generate, parse_expires, parse_streams};
use anyhow::{Context, anyhow};
use clap::{Arg, ArgMatches, Command};
use jiff::Timestamp;
use std::io::{self, Write};

const AFTER_HELP: &str = "\
`btcfeed key new` prints two lines: the key, which is not shown again, and the line for the file in BTCFEED_KEYS_FILE. That \
line has only a hash of the key. Replicas notice a change of the file within 2 s. To revoke a key, delete its line.

Examples:
  btcfeed key new alice
  btcfeed key new bob --streams 10 --expires 2027-06-30T00:00:00Z

Exit codes: 0 printed; 1 cannot print; 2 an argument is invalid.";

/// The arguments.
pub(super) fn command() -> Command {
    let new = Command::new("new").about("Make an API key").after_long_help(AFTER_HELP).args([
        Arg::new("name")
            .value_name("NAME")
            .required(true)
            .help("Name of the key's user. Several keys may have the same name")
            .value_parser(|text: &str| text.parse::<KeyName>()),
        Arg::new("streams")
            .long("streams")
            .value_name("N")
            .help("Maximum number of concurrent streams on each replica [default: no limit]")
            .value_parser(|text: &str| parse_streams(text)),
        Arg::new("expires")
            .long("expires")
            .value_name("MOMENT")
            .help("Moment at which the key expires (2027-06-30T00:00:00Z) [default: never]")
            .value_parser(|text: &str| parse_expires(text)),
    ]);
    Command::new("key").about("Make API keys").after_long_help(AFTER_HELP).subcommand_required(true).subcommand(new)
}

/// Prints a key and its line.
///
/// # Errors
/// If the system has no random numbers, or the output cannot be written.
pub(super) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let (_, flags) = flags.subcommand().context("no subcommand")?;
    let name = flags.get_one::<KeyName>("name").context("no name")?;
    let (key, mut line) = generate(name).map_err(|error| anyhow!(error))?;
    line.streams = flags.get_one::<usize>("streams").copied();
    line.expires = flags.get_one::<Timestamp>("expires").copied();
    writeln!(io::stdout().lock(), "{key}\n{line}")?;
    Ok(())
}
