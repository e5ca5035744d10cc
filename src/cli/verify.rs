//! `btcfeed verify`: computes every price of an audit stream again, and checks that no entry is missing.

mod checker;
mod lines;

use super::runtime::block_on;
use super::{arguments, exit};
use crate::client::{Client, Error, Start, Update};
use crate::tick::TickId;
use checker::Checker;
use clap::{Arg, ArgMatches, Command};
use secrecy::ExposeSecret;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  btcfeed verify http://localhost:8080                      everything that a feed keeps
  btcfeed watch --format audit --since 1h > audit.ndjson    record, and
  btcfeed verify audit.ndjson                               verify the recording
  curl -s 'localhost:8080/v1/prices?format=audit,ndjson' | btcfeed verify -

Ticks from before version 1 of the method, and ticks whose inputs the feed has not kept, are
counted and not computed again.

Exit codes: 0 everything fits; 1 an entry does not fit (its id is printed), or the input cannot be
read; 2 an argument is invalid.";

/// The arguments.
pub(super) fn command() -> Command {
    let input = Arg::new("input").value_name("FILE|URL").default_value("-");
    Command::new("verify")
        .about("Compute the prices of an audit stream again, and check its chain")
        .after_long_help(EXAMPLES)
        .arg(input.help("JSON lines in the format audit, - for standard input, or the http or https URL of a feed"))
        .arg(arguments::currency_flag())
        .arg(arguments::authority_flag())
        .arg(arguments::key_flag())
}

/// Verifies the input.
pub(super) fn run(flags: &ArgMatches) -> ExitCode {
    let input = flags.get_one::<String>("input").map_or("-", String::as_str);
    let mut checker = Checker::default();
    let verified = if input.starts_with("http://") || input.starts_with("https://") {
        match follow(&mut checker, input, flags) {
            Ok(verified) => verified,
            Err(error) => return exit::with_message(exit::client_error_code(&error), &error.to_string()),
        }
    } else {
        read(&mut checker, input)
    };
    match verified {
        Ok(()) => {
            let printed = writeln!(io::stdout(), "{checker}");
            exit::with_result(exit::unless_closed(printed))
        }
        Err(error) => exit::with_message(1, &format!("{error:#}\nbefore that: {checker}")),
    }
}

fn read(checker: &mut Checker, input: &str) -> anyhow::Result<()> {
    let reader: Box<dyn BufRead> = match input {
        "-" => Box::new(io::stdin().lock()),
        path => {
            let file = File::open(path).map_err(|error| anyhow::anyhow!("cannot open {path}: {error}"))?;
            Box::new(BufReader::new(file))
        }
    };
    lines::check(checker, reader)
}

/// Reads everything that a feed keeps, until the stream is live.
fn follow(checker: &mut Checker, url: &str, flags: &ArgMatches) -> Result<anyhow::Result<()>, Error> {
    let mut client = Client::builder(url).audit(true).start(Start::After(TickId::ZERO));
    client = client.currencies(arguments::currencies(flags).iter());
    client = arguments::authorities(flags).map_or(client.clone(), |pem| client.authority(pem));
    client = arguments::key(flags).map_or(client.clone(), |key| client.key(key.expose_secret()));
    let mut updates = client.build()?.subscribe();
    let all = block_on(async {
        loop {
            let checked = match updates.next().await {
                Some(Ok(Update::Tick(tick))) => checker.tick(&tick),
                Some(Ok(Update::Status(status))) => checker.entry(status.id, status.prev),
                Some(Ok(Update::Gap(gap))) => {
                    checker.gap(gap.before);
                    Ok(())
                }
                Some(Ok(Update::Synced { .. })) | None => return Ok(Ok(Ok(()))),
                Some(Ok(Update::Disconnected { why, .. })) => Err(anyhow::anyhow!("{why}")),
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => return Ok(Err(error)),
            };
            if checked.is_err() {
                return Ok(Ok(checked));
            }
        }
    });
    all.unwrap_or_else(|error| Ok(Err(error)))
}
