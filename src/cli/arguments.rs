//! The arguments that several subcommands share, and parsers of values. clap prints the error of a parser after
//! `invalid value 'x' for '--flag <VALUE>': `.

use crate::client::Transport;
use crate::session::{EVERY, every_range};
use crate::text::parse_duration;
use crate::tick::{Currencies, Currency, TickId};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, ArgMatches};
use secrecy::SecretString;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The default feed.
pub(super) const FEED: &str = "http://localhost:8080";

/// The first line of a certificate in PEM.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Examples of durations, for errors.
const DURATIONS: &str = "such as 500ms, 30s, 10m or 1h30m";

/// The transports, each with its names.
const TRANSPORTS: [(&[&str], Transport); 3] =
    [(&["ws", "websocket"], Transport::WebSocket), (&["sse"], Transport::Sse), (&["grpc"], Transport::Grpc)];

/// Returns the argument with the address of the feed.
pub(super) fn feed_argument() -> Arg {
    Arg::new("url")
        .value_name("URL")
        .default_value(FEED)
        .help("Address of the feed: HOST:PORT, or a URL with http, https, ws or wss")
}

/// Returns the flag for [`currencies`].
pub(super) fn currency_flag() -> Arg {
    Arg::new("currency")
        .long("currency")
        .value_name("CODES")
        .help("Currencies of the feed, such as USD or USD,EUR [default: the feed's first]")
        .value_parser(|text: &str| text.parse::<Currency>().map_err(|_| format!("expected {}", Currencies::all())))
        .value_delimiter(',')
        .action(ArgAction::Append)
}

/// Returns the chosen currencies. An empty set means that the server chooses.
pub(super) fn currencies(flags: &ArgMatches) -> Currencies {
    flags.get_many::<Currency>("currency").into_iter().flatten().copied().collect()
}

/// Returns the flag for [`transport`].
pub(super) fn transport_flag() -> Arg {
    Arg::new("transport")
        .long("transport")
        .value_name("NAME")
        .help("Protocol of the connection")
        .value_parser(PossibleValuesParser::new(
            TRANSPORTS.map(|(names, _)| PossibleValue::new(names[0]).aliases(names[1..].iter().copied())),
        ))
        .default_value("ws")
}

/// Returns the chosen transport.
pub(super) fn transport(flags: &ArgMatches) -> Transport {
    let chosen = flags.get_one::<String>("transport");
    let known = TRANSPORTS.iter().find(|(names, _)| chosen.is_some_and(|chosen| names.contains(&chosen.as_str())));
    known.map(|(_, transport)| *transport).unwrap_or_default()
}

/// Returns the flag for [`authorities`].
pub(super) fn authority_flag() -> Arg {
    Arg::new("ca")
        .long("ca")
        .value_name("FILE")
        .help("PEM file with the certificate authorities to trust [default: those of the system]")
        .value_parser(|path: &str| read_authorities(path))
}

/// Returns the PEM text of the chosen certificate authorities.
pub(super) fn authorities(flags: &ArgMatches) -> Option<Vec<u8>> {
    flags.get_one("ca").cloned()
}

/// Returns the flag for [`key`].
pub(super) fn key_flag() -> Arg {
    Arg::new("key-file")
        .long("key-file")
        .value_name("FILE")
        .help("File with the API key, if the feed needs one")
        .value_parser(|path: &str| read_key(path))
}

/// Returns the API key.
pub(super) fn key(flags: &ArgMatches) -> Option<SecretString> {
    flags.get_one("key-file").cloned()
}

/// Reads a key from a file. A flag with the key itself would show it to all users of this machine.
fn read_key(path: &str) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read the file: {error}"))?;
    let key = text.trim();
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    is_key.then(|| key.into()).ok_or_else(|| "expected a file with one API key and nothing else".to_owned())
}

fn read_authorities(path: &str) -> Result<Vec<u8>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("cannot read the file: {error}"))?;
    let is_pem = pem.windows(CERTIFICATE.len()).any(|text| text == CERTIFICATE.as_bytes());
    is_pem.then_some(pem).ok_or_else(|| format!("expected a PEM file with a certificate ({CERTIFICATE})"))
}

/// Returns a flag for a number or a time. Its value may begin with a dash, so that `-5m` causes an error about the
/// value and not about an unknown flag.
pub(super) fn amount(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).allow_hyphen_values(true)
}

/// Parses a moment in a format that a server accepts.
pub(super) fn moment(text: &str) -> Result<TickId, String> {
    TickId::parse_requested("--since", text).map_err(|error| format!("expected {}", error.expected))
}

/// Parses the id of an update.
pub(super) fn id(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected the id of an update such as 1795166431075".to_owned())
}

/// Parses a number above zero.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "expected a whole number above 0".to_owned())
}

/// Returns a parser of numbers between bounds.
pub(super) fn number(allowed: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| allowed.contains(number));
        number.ok_or_else(|| format!("expected a whole number from {} to {}", allowed.start(), allowed.end()))
    }
}

/// Parses the minimum time between two updates.
pub(super) fn every(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text).filter(|every| EVERY.contains(every));
    every.ok_or_else(|| format!("expected {}, {DURATIONS}", every_range()))
}

/// Parses a duration that is not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| format!("expected a duration above 0, {DURATIONS}"))
}
