//! What the subcommands that read a feed have in common on the command line.

use crate::client::{Error, Transport};
use crate::tick::{Currencies, Currency, TickId};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use jiff::SignedDuration;
use std::time::Duration;

/// The feed that is read where no other is named.
pub(super) const FEED: &str = "http://localhost:8080";

const TRANSPORTS: [(&str, Transport); 3] =
    [("ws", Transport::WebSocket), ("sse", Transport::Sse), ("grpc", Transport::Grpc)];

/// `--currency`, for [`currencies`].
pub(super) fn currency() -> Arg {
    Arg::new("currency")
        .long("currency")
        .value_name("CODES")
        .help("USD, EUR or USD,EUR; the feed's own first if not said")
        .value_parser(value_parser!(Currency))
        .value_delimiter(',')
        .action(ArgAction::Append)
}

/// The currencies that were chosen; none if the feed is to choose.
pub(super) fn currencies(flags: &ArgMatches) -> Currencies {
    flags.get_many::<Currency>("currency").into_iter().flatten().copied().collect()
}

/// `--transport`, for [`transport`].
pub(super) fn how() -> Arg {
    Arg::new("transport")
        .long("transport")
        .value_name("HOW")
        .help("How the updates come")
        .value_parser(PossibleValuesParser::new(TRANSPORTS.map(|(name, _)| name)))
        .default_value("ws")
}

/// The transport that was chosen.
pub(super) fn transport(flags: &ArgMatches) -> Transport {
    let chosen = flags.get_one::<String>("transport");
    let known = TRANSPORTS.iter().find(|(name, _)| chosen.is_some_and(|chosen| chosen == name));
    known.map(|(_, transport)| *transport).unwrap_or_default()
}

/// A time before now, or a moment as a server reads it.
pub(super) fn moment(text: &str) -> Result<TickId, String> {
    if let Ok(ago) = duration(text) {
        return Ok(TickId::now().minus(ago));
    }
    TickId::parse_moment("--since", text)
        .map_err(|error| error.to_string().replace("reads ", "reads a duration (10m), "))
}

/// A length of time.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| format!("a duration reads 500ms, 30s, 10m or 1h30m, got {text:?}"))
}

/// How a program ends that a feed does not serve: as with a wrong argument where it is one.
pub(super) fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Address { .. } | Error::Refused { status: 400, .. } => super::USAGE,
        _ => 1,
    }
}
