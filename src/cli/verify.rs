//! `btcfeed verify`: computes every price of an audit stream again, and checks the chain of its entries.

mod checker;
mod lines;

use super::runtime::block_on;
use super::{arguments, exit};
use crate::client::{Client, Connected, Error, GapUpdate, Start, Update};
use crate::tick::{Currencies, TickId};
use anyhow::anyhow;
use checker::{Checker, Failure};
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
counted and not computed again. If the input is a feed, all its currencies are verified unless
--currency is given.

Exit codes: 0 everything fits; 1 an entry does not fit (its id is printed); 2 an argument is
invalid; 3 the input cannot be read, the feed does not answer, or there is no price to compute
again.";

/// The exit code if the input cannot be read, or if nothing in it can be verified.
const UNREAD: u8 = 3;
/// The number of disconnects in a row, without an entry between them, after which `verify` gives up.
const MAX_DISCONNECTS: u32 = 5;

/// The arguments.
pub(super) fn command() -> Command {
    let input = Arg::new("input").value_name("FILE|URL").default_value("-");
    Command::new("verify")
        .about("Compute the prices of an audit stream again, and check its chain")
        .after_long_help(EXAMPLES)
        .arg(input.help("JSON lines in the format audit, - for standard input, or the http or https URL of a feed"))
        .arg(arguments::currency_flag().help("Currencies to verify, if the input is the URL of a feed [default: all]"))
        .arg(arguments::authority_flag())
        .arg(arguments::key_flag())
}

/// Verifies the input.
pub(super) fn run(flags: &ArgMatches) -> ExitCode {
    let input = flags.get_one::<String>("input").map_or("-", String::as_str);
    let mut checker = Checker::default();
    let verified = if input.starts_with("http://") || input.starts_with("https://") {
        let follow = async { Ok(follow(&mut checker, input, flags).await) };
        block_on(follow).unwrap_or_else(|error| Err(Failure::Unread(error)))
    } else {
        read(&mut checker, input)
    };
    let (code, error) = match verified.and_then(|()| checker.finish()) {
        Ok(()) => {
            let printed = writeln!(io::stdout(), "{checker}");
            return exit::with_result(exit::unless_closed(printed));
        }
        Err(Failure::Invalid(error)) => return exit::with_message(exit::USAGE, &format!("{error:#}")),
        Err(Failure::Wrong(error)) => (1, error),
        Err(Failure::Unread(error)) => (UNREAD, error),
    };
    exit::with_message(code, &format!("{error:#}\nbefore that: {checker}"))
}

fn read(checker: &mut Checker, input: &str) -> Result<(), Failure> {
    let reader: Box<dyn BufRead> = match input {
        "-" => Box::new(io::stdin().lock()),
        path => match File::open(path) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) => return Err(Failure::Unread(anyhow!("cannot open {path}: {error}"))),
        },
    };
    lines::check(checker, reader)
}

fn client(url: &str, flags: &ArgMatches, currencies: Currencies, start: Start) -> Result<Client, Failure> {
    let mut client = Client::builder(url).audit(true).start(start);
    client = client.currencies(currencies.iter());
    client = arguments::authorities(flags).map_or(client.clone(), |pem| client.authority(pem));
    client = arguments::key(flags).map_or(client.clone(), |key| client.key(key.expose_secret()));
    client.build().map_err(failure)
}

fn failure(error: Error) -> Failure {
    let is_usage = exit::client_error_code(&error) == exit::USAGE;
    if is_usage { Failure::Invalid(error.into()) } else { Failure::Unread(error.into()) }
}

/// Reads everything that a feed keeps, until the stream is live. If the connection ends, the SDK opens another one and
/// continues.
async fn follow(checker: &mut Checker, url: &str, flags: &ArgMatches) -> Result<(), Failure> {
    let (chosen, everything) = (arguments::currencies(flags), Start::After(TickId::ZERO));
    // A feed names its currencies at the start of a stream. To learn them, a stream from the latest tick is opened
    // first.
    let mut is_asking = chosen.is_empty();
    let start = if is_asking { Start::Latest } else { everything };
    let (mut updates, mut disconnects) = (client(url, flags, chosen, start)?.subscribe(), 0);
    loop {
        let before = checker.entries();
        let checked = match updates.next().await {
            Some(Ok(Update::Connected(Connected { currencies, .. }))) if is_asking => {
                is_asking = false;
                updates = client(url, flags, currencies, everything)?.subscribe();
                Ok(())
            }
            Some(Ok(Update::Tick(tick))) => checker.tick(&tick),
            Some(Ok(Update::Status(status))) => checker.entry(status.id, status.prev),
            Some(Ok(Update::Gap(GapUpdate { after, before, reason, .. }))) => {
                checker.gap(after, before, &reason);
                Ok(())
            }
            Some(Ok(Update::Synced { .. })) | None => return Ok(()),
            Some(Ok(Update::Disconnected { why, .. })) => {
                disconnects += 1;
                if disconnects == MAX_DISCONNECTS {
                    return Err(Failure::Unread(anyhow!("{why}")));
                }
                Ok(())
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => return Err(failure(error)),
        };
        checked.map_err(Failure::Wrong)?;
        disconnects = if checker.entries() > before { 0 } else { disconnects };
    }
}
