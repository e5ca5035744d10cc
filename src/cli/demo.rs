//! `btcfeed demo`: the whole feed in one process, for a first look. The prices are real if an exchange can be reached, and
//! simulated otherwise, which is said clearly. It prints what to open or paste, and then the prices.

use super::runtime::{block_on, raise_file_limit};
use super::settings::warn_of_unknown_variables;
use crate::app::{self, App};
use crate::config::{Config, Lookup};
use crate::encode::{Format, Framing, View};
use crate::hub::{Hub, Read};
use crate::tick::{Currency, TickId};
use crate::{shutdown, telemetry};
use std::io::{self, Write};
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// The log of a demo. Failures of exchanges are left out, because the demo says itself whether its prices are real.
const LOG: &str = "warn,btcfeed::aggregate=off";

/// Runs the demo. `program` is the name under which this program was called.
///
/// # Errors
/// If it cannot start, or if a critical task fails.
pub(super) fn run(mut config: Config, lookup: &Lookup, program: &str) -> anyhow::Result<()> {
    if lookup.value("RUST_LOG").is_none() {
        LOG.clone_into(&mut config.telemetry.filter);
    }
    telemetry::init(&config.telemetry);
    warn_of_unknown_variables(lookup);
    block_on(async {
        let stop = shutdown::on_signal()?;
        raise_file_limit();
        let mut app = App::bind(&config)?;
        let names = config.source_names().collect::<Vec<_>>().join(", ");
        print_line(&format!("Asking {names} for a price …"));
        let is_real = app::has_price(&config).await?;
        let market = if is_real { format!("REAL prices from {names}") } else { SIMULATED.to_owned() };
        if !is_real {
            app.lead_with(&config.simulated())?;
        }
        if let Some(address) = app.address() {
            print_line(&instructions(&market, address, program));
        }
        let (hub, printing) = (app.hub(), CancellationToken::new());
        let print = async {
            printing.run_until_cancelled(print_prices(&hub)).await;
        };
        let run = async {
            let result = app.run(stop).await;
            printing.cancel();
            result
        };
        tokio::join!(run, print).0
    })
}

const SIMULATED: &str = "SIMULATED prices: no exchange could be reached from here";

fn instructions(market: &str, address: SocketAddr, program: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    // Quoted if necessary, so that it can be pasted into a shell.
    let program = if program.chars().all(is_plain) {
        program.to_owned()
    } else {
        format!("'{}'", program.replace('\'', r"'\''"))
    };
    let host =
        if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
    format!(
        "\n  btcfeed demo: {market}\n\n  \
         the page         http://{host}/\n  \
         latest price     curl 'http://{host}/v1/prices/latest'\n  \
         both currencies  curl 'http://{host}/v1/prices/latest?currency=USD,EUR'\n  \
         history          curl 'http://{host}/v1/prices?limit=10&format=full'\n  \
         live events      curl -N 'http://{host}/v1/prices/stream'\n  \
         live WebSocket   ws://{host}/v1/ws          (websocat, wscat, or a browser's)\n  \
         with replay      ws://{host}/v1/ws?since=0&currency=USD,EUR&format=full\n  \
         in a terminal    {program} watch {host} --currency USD,EUR\n  \
         how to read it   http://{host}/docs\n\n  \
         stop with Ctrl-C\n"
    )
}

/// Prints a line. A closed output does not stop the demo, as it would with `println!`.
fn print_line(line: &str) {
    writeln!(io::stdout(), "{line}").ok();
}

/// Prints all updates as a client would get them.
async fn print_prices(hub: &Hub) {
    let currencies = Currency::Usd.into();
    let view = hub.view(View { format: Format::Timedate, currencies, framing: Framing::Line });
    let (mut head, mut cursor) = (hub.watch_head(), TickId::ZERO);
    loop {
        while let Read::Batch { items: bytes, last, .. } = hub.read(&view, cursor) {
            let mut out = io::stdout().lock();
            bytes.iter().try_for_each(|bytes| out.write_all(bytes)).and_then(|()| out.flush()).ok();
            cursor = last;
        }
        if head.changed().await.is_err() {
            return;
        }
    }
}
