//! `btcfeed at`: prints the price at a moment.

use super::runtime::block_on;
use super::{arguments, exit};
use crate::cli::format::brief_duration;
use crate::client::{Client, Error, PriceAt};
use crate::text::format_duration;
use crate::tick::TickId;
use clap::{Arg, ArgMatches, Command};
use secrecy::ExposeSecret;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

const AFTER_HELP: &str = "\
It prints a line for each currency: the price of the last tick at or before the moment, and the time and id of that \
tick. With --window, another line for each currency has the average over the window, which ends at the moment. In the \
average, each price is weighted by the time in which it was in force.

Examples:
  btcfeed at 2026-11-20T09:20:33Z                     at a moment, of the feed on this machine
  btcfeed at 10m https://feed.example.org             ten minutes ago
  btcfeed at 1795166431 --window 60s --currency EUR   with the average of the minute before

Exit codes: 0 printed; 1 the feed had no price then, or does not answer; 2 an argument is invalid.";

/// The arguments.
pub(super) fn command() -> Command {
    Command::new("at").about("Print the price at a moment").after_long_help(AFTER_HELP).args([
        Arg::new("time")
            .value_name("TIME")
            .required(true)
            .value_parser(arguments::moment)
            .help("A time before now (10m), a date, RFC 3339 (2026-11-20T09:20:33Z) or a Unix time"),
        arguments::feed_argument(),
        Arg::new("window")
            .long("window")
            .value_name("TIME")
            .value_parser(arguments::positive_duration)
            .help("Print also the average over a window of this length that ends at the moment: 1s to 1h"),
        arguments::currency_flag(),
        arguments::authority_flag(),
        arguments::key_flag(),
    ])
}

/// Prints the prices.
pub(super) fn run(flags: &ArgMatches) -> ExitCode {
    let time = flags.get_one::<TickId>("time").copied();
    let window = flags.get_one::<Duration>("window").copied();
    let read = async { Ok(read(flags, time, window).await) };
    match block_on(read) {
        Ok(Ok(prices)) => {
            let printed = write!(io::stdout(), "{}", text(&prices, window));
            exit::with_result(exit::unless_closed(printed))
        }
        // The server explains what is wrong.
        Ok(Err(Error::Refused { status: status @ (400 | 404), detail })) => {
            exit::with_message(if status == 400 { exit::USAGE } else { 1 }, &detail)
        }
        Ok(Err(error)) => exit::with_message(exit::client_error_code(&error), &error.to_string()),
        Err(error) => exit::with_message(1, &format!("{error:#}")),
    }
}

async fn read(flags: &ArgMatches, time: Option<TickId>, window: Option<Duration>) -> Result<Vec<PriceAt>, Error> {
    let address = flags.get_one::<String>("url").map_or("", String::as_str);
    let client = Client::builder(address).currencies(arguments::currencies(flags).iter());
    let client = arguments::authorities(flags).map_or(client.clone(), |pem| client.authority(pem));
    let client = arguments::key(flags).map_or(client.clone(), |key| client.key(key.expose_secret()));
    client.build()?.prices_at(time, window).await
}

/// Returns a line for each currency, and with a window another one for its average.
fn text(prices: &[PriceAt], window: Option<Duration>) -> String {
    let mut text = String::new();
    for PriceAt { currency, price, id, age, average, covered, .. } in prices {
        if let (Some(price), Some(id), Some(age)) = (price, id, age) {
            let (moment, age) = (id.timedate(), brief_duration(*age));
            writeln!(text, "{currency} {price} at {moment} (id {id}, {age} before)").ok();
        }
        if let (Some(average), Some(covered), Some(window)) = (average, covered, window) {
            let (window, share) = (format_duration(window), covered * 100.0);
            writeln!(text, "{currency} {average} on average over {window}, of which {share:.4} % had a price").ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::parse_prices_at;

    #[test]
    fn each_currency_has_a_line_and_an_average() {
        let json = concat!(
            r#"{"time":"2026-11-20T09:20:33.000Z","window_ms":60000,"prices":["#,
            r#"{"currency":"USD","price":97116.170,"id":1795166431075,"age_ms":1925,"average":97110.205,"covered":0.5},"#,
            r#"{"currency":"EUR","average":89348.2,"covered":0.25}]}"#
        );
        let prices = parse_prices_at(json).unwrap();
        let lines = text(&prices, Some(Duration::from_secs(60)));
        let expected = [
            "USD 97116.170 at 2026-11-20T09:20:31.075Z (id 1795166431075, 1.9 s before)",
            "USD 97110.205 on average over 1m, of which 50.0000 % had a price",
            "EUR 89348.2 on average over 1m, of which 25.0000 % had a price",
        ];
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    }
}
