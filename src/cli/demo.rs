//! `btcfeed demo`: the whole feed in one process, for a first look. The prices are real if the exchanges give a valid
//! one, and simulated otherwise. It prints which of the two they are, then the addresses to open and the commands to
//! paste, and then the prices.

use super::runtime::{block_on, raise_file_limit};
use super::settings::warn_of_unknown_variables;
use crate::app::{self, App};
use crate::config::{Config, Lookup};
use crate::encode::{Format, Framing, View};
use crate::hub::{Hub, Read};
use crate::source::SIMULATED;
use crate::tick::{Currencies, Currency, Tick, TickId};
use crate::{shutdown, telemetry};
use std::io::{self, Write};
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// The log filter of a demo. Failures of exchanges are left out, because the demo itself prints whether its prices are
/// real.
const LOG_FILTER: &str = "warn,btcfeed::aggregate=off";

/// Runs the demo. `program` is the name under which this program was called.
///
/// # Errors
/// If it cannot start, or if a critical task fails.
pub(super) fn run(config: Config, lookup: &Lookup, program: &str) -> anyhow::Result<()> {
    let mut config = config.in_memory();
    if lookup.value("RUST_LOG").is_none() {
        LOG_FILTER.clone_into(&mut config.telemetry.filter);
    }
    telemetry::init(&config.telemetry);
    warn_of_unknown_variables(lookup);
    block_on(async {
        let stop = shutdown::on_signal()?;
        raise_file_limit();
        let mut app = App::bind(&config)?;
        let names = config.source_names().collect::<Vec<_>>().join(", ");
        print_line(&format!("Asking {names} for a price …"));
        let tick = app::poll_once(&config).await?;
        let prices = origin(&config, tick.as_ref());
        let (currencies, default_currency) = (config.server.currencies, config.server.default_currency);
        if tick.is_none() {
            app.lead_with(&config.simulated())?;
        }
        if let Some(address) = app.address() {
            print_line(&instructions(&prices, address, currencies, program));
        }
        let (hub, printing) = (app.hub(), CancellationToken::new());
        let print = async {
            printing.run_until_cancelled(print_prices(&hub, default_currency)).await;
        };
        let run = async {
            let result = app.run(stop).await;
            printing.cancel();
            result
        };
        tokio::join!(run, print).0
    })
}

/// Returns where the prices come from. `tick` is the result of the first poll.
fn origin(config: &Config, tick: Option<&Tick>) -> String {
    let Some(tick) = tick else {
        return "SIMULATED prices: the exchanges gave no valid price".to_owned();
    };
    let contributed = |name: &&str| tick.sources.values().flatten().any(|source| source == name);
    let names: Vec<_> = config.source_names().filter(contributed).collect();
    if names == [SIMULATED] { "SIMULATED prices".to_owned() } else { format!("REAL prices from {}", names.join(", ")) }
}

fn instructions(prices: &str, address: SocketAddr, currencies: Currencies, program: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    // The name is quoted if necessary, so that the command can be pasted into a shell.
    let program = if program.chars().all(is_plain) {
        program.to_owned()
    } else {
        format!("'{}'", program.replace('\'', r"'\''"))
    };
    let all = currencies.iter().map(Currency::code).collect::<Vec<_>>().join(",");
    let host =
        if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
    format!(
        "\n  btcfeed demo: {prices}\n\n  \
         the page         http://{host}/\n  \
         latest price     curl 'http://{host}/v1/prices/latest'\n  \
         all currencies   curl 'http://{host}/v1/prices/latest?currency={all}'\n  \
         history          curl 'http://{host}/v1/prices?order=desc&limit=10'\n  \
         live events      curl -N 'http://{host}/v1/prices/stream'\n  \
         live WebSocket   websocat 'ws://{host}/v1/ws'\n  \
         with replay      websocat 'ws://{host}/v1/ws?since=0&currency={all}&format=full'\n  \
         in a terminal    {program} watch {host} --currency {all}\n  \
         how to read it   http://{host}/docs\n\n  \
         stop with Ctrl-C\n"
    )
}

/// Prints a line. Unlike `println!`, it does not panic if the output is closed.
fn print_line(line: &str) {
    writeln!(io::stdout(), "{line}").ok();
}

/// Prints all updates of one currency as a client would get them.
async fn print_prices(hub: &Hub, currency: Currency) {
    let view = hub.view(View::new(Format::Timedate, currency.into(), Framing::Line));
    let (mut head, mut cursor) = (hub.watch_head(), TickId::ZERO);
    loop {
        cursor = loop {
            match hub.read(&view, cursor) {
                Read::Batch { items: bytes, last, .. } => {
                    let mut out = io::stdout().lock();
                    bytes.iter().try_for_each(|bytes| out.write_all(bytes)).and_then(|()| out.flush()).ok();
                    cursor = last;
                }
                // The output was blocked for so long that entries have left the window. They are not printed.
                Read::Older { before } => cursor = before.prev,
                Read::Nothing => break cursor,
            }
        };
        if head.changed().await.is_err() {
            return;
        }
    }
}
