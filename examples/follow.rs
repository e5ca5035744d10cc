//! Follows a feed and prints its updates. After a disconnect, it connects again and continues. To run it:
//!
//! ```sh
//! cargo run --example follow                                        # http://localhost:8080, from the latest price
//! cargo run --example follow http://localhost:8080 1795166431075    # from the entry after an id
//! ```
//!
//! When you stop it, it prints the command that continues where it stopped.

use anyhow::Context;
use btcfeed::client::{Client, Start, Update, Updates};
use btcfeed::tick::{Currency, TickId};
use std::io::{self, ErrorKind, Write};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "http://localhost:8080".to_owned());
    let start = match arguments.next() {
        Some(id) => {
            let invalid = || format!("invalid id {id:?}: expected the id of an update, such as 1795166431075");
            Start::After(TickId::from_ms(id.parse().ok().with_context(invalid)?))
        }
        None => Start::Latest,
    };
    let client = Client::builder(&address).currencies([Currency::Usd, Currency::Eur]).start(start).build()?;
    let mut updates = client.subscribe();
    match follow(&mut updates).await {
        // The reader has closed the output, as `| head` does.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) => {}
        ended => ended?,
    }
    if let Some(id) = updates.last_id() {
        eprintln!("to continue: cargo run --example follow {address} {id}");
    }
    Ok(())
}

/// Prints updates until Ctrl-C.
async fn follow(updates: &mut Updates) -> anyhow::Result<()> {
    loop {
        // Nothing is lost if `next` is dropped before it returns.
        let update = tokio::select! {
            update = updates.next() => update,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let Some(update) = update else { return Ok(()) };
        let mut out = io::stdout().lock();
        match update? {
            Update::Tick(tick) => {
                let prices: Vec<_> =
                    tick.prices.iter().map(|(currency, price)| format!("{currency} {price}")).collect();
                writeln!(out, "{}  {}", tick.id.timedate(), prices.join("  "))?;
            }
            Update::Status(status) => writeln!(out, "the feed is {}: {}", status.state.as_str(), status.reason)?,
            Update::Gap(gap) => {
                writeln!(out, "updates are missing between {} and {}: {}", gap.after, gap.before, gap.reason)?;
            }
            Update::Disconnected { why, retry_in } => eprintln!("not connected: {why}; next attempt in {retry_in:?}"),
            // `Connected` and `Synced` are not printed. A newer version may have more kinds of updates.
            _ => {}
        }
    }
}
