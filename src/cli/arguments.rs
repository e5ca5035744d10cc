//! What the subcommands that read a feed have in common on the command line.

use crate::client::{Error, Transport};
use crate::session::{EVERY, every_range};
use crate::text::parse_duration;
use crate::tick::{Currencies, Currency, MOMENTS, TickId};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The feed that is read where no other is named.
pub(super) const FEED: &str = "http://localhost:8080";

/// How a duration is written.
const DURATIONS: &str = "as 500ms, 30s, 10m or 1h30m";

const TRANSPORTS: [(&str, Transport); 3] =
    [("ws", Transport::WebSocket), ("sse", Transport::Sse), ("grpc", Transport::Grpc)];

/// `--currency`, for [`currencies`].
pub(super) fn currency() -> Arg {
    Arg::new("currency")
        .long("currency")
        .value_name("CODES")
        .help("USD, EUR or USD,EUR; the feed's own first if not said")
        .value_parser(|text: &str| text.parse::<Currency>().map_err(|_| format!("it reads {}", Currencies::all())))
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

/// An option for a number or a time. What begins with a dash is its value too, so that it is told what is wrong with `-5m`.
///
/// Its name and what was given stand before each error of a parser below.
pub(super) fn amount(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).allow_hyphen_values(true)
}

/// A time before now, or a moment as a server reads it.
pub(super) fn moment(text: &str) -> Result<TickId, String> {
    if let Some(ago) = parse_duration(text) {
        return Ok(TickId::now().minus(ago));
    }
    TickId::parse_moment("--since", text).map_err(|_| format!("it reads a time before now (10m), {MOMENTS}"))
}

/// The id of an update.
pub(super) fn id(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it reads the id of an update (1795166431075)".to_owned())
}

/// A number of things, at least one.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "it reads a whole number from 1 on".to_owned())
}

/// A number between bounds.
pub(super) fn number(allowed: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| allowed.contains(number));
        number.ok_or_else(|| format!("it reads a whole number from {} to {}", allowed.start(), allowed.end()))
    }
}

/// How far apart updates can be asked to be.
pub(super) fn every(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text).filter(|every| EVERY.contains(every));
    every.ok_or_else(|| format!("it reads {}, {DURATIONS}", every_range()))
}

/// A length of time that is not nothing.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| format!("it reads a time longer than nothing, {DURATIONS}"))
}

/// How a program ends that a feed does not serve: as with a wrong argument where it is one.
pub(super) fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Address { .. } | Error::Refused { status: 400, .. } => super::USAGE,
        _ => 1,
    }
}
