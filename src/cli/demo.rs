//! `btcfeed demo`: the whole feed in one process, for a look at it. Real prices if an exchange can be reached, else a
//! simulated market, said loudly. What to open or paste is printed, and then the prices themselves.

use crate::app::App;
use crate::config::Config;
use crate::encode::{Format, Framing, View};
use crate::hub::{Hub, Read};
use crate::tick::Currency;
use crate::{app, shutdown, telemetry};
use std::io::Write;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// Runs the demo. `program` is how this one was called.
pub(super) fn run(mut config: Config, given: &dyn Fn(&str) -> Option<String>, program: &str) -> anyhow::Result<()> {
    if given("RUST_LOG").is_none_or(|filter| filter.trim().is_empty()) {
        "warn,btcfeed::aggregate=off".clone_into(&mut config.telemetry.filter);
    }
    telemetry::init(&config.telemetry);
    super::warn_of_unknown_variables();
    config.redis = None;
    super::block_on(async {
        let stop = shutdown::on_signal()?;
        super::serve::raise_file_limit();
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        say(&format!("Asking {} for a price …", names.join(", ")));
        let real = app::sources_answer(&config).await?;
        let market = if real { format!("REAL prices from {}", names.join(", ")) } else { SIMULATED.to_owned() };
        let config = if real { config } else { config.simulated() };
        let app = App::bind(&config)?;
        if let Some(address) = app.address() {
            say(&invitation(&market, address, program));
        }
        let (hub, printing) = (app.hub(), CancellationToken::new());
        let print = async {
            printing.run_until_cancelled(print(&hub)).await;
        };
        let run = async {
            let ended = app.run(stop).await;
            printing.cancel();
            ended
        };
        tokio::join!(run, print).0
    })
}

const SIMULATED: &str = "SIMULATED prices: no exchange could be reached from here, so these are made up";

fn invitation(market: &str, address: SocketAddr, program: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    // To be pasted into a shell.
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

/// Prints a line. Nobody reading is no reason to stop serving, which `println!` would.
fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Prints every update as a client would get it.
async fn print(hub: &Hub) {
    let currencies = Currency::Usd.into();
    let view = hub.view(View { format: Format::Timedate, currencies, framing: Framing::Line });
    let (mut head, mut cursor) = (hub.watch_head(), crate::tick::TickId::ZERO);
    loop {
        while let Read::Batch { items: bytes, last, .. } = hub.read(&view, cursor) {
            let mut out = std::io::stdout().lock();
            bytes.iter().try_for_each(|bytes| out.write_all(bytes)).and_then(|()| out.flush()).ok();
            cursor = last;
        }
        if head.changed().await.is_err() {
            return;
        }
    }
}
