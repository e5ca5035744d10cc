//! Prints the id of each tick and the time at which it came. `sdk/measure.py` runs it. For example, with two
//! connections at once:
//!
//! ```sh
//! cargo run --example print 2 http://localhost:8080 http://localhost:8081
//! ```

use anyhow::Context;
use btcfeed::client::{Client, Update};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let redundancy = arguments.next().context("missing number of connections")?.parse()?;
    let address = arguments.next().context("missing address")?;
    let client = Client::builder(&address).redundancy(redundancy);
    let client = arguments.fold(client, |client, address| client.also_at(&address)).build()?;
    let mut updates = client.subscribe();
    let (mut input, mut byte) = (tokio::io::stdin(), [0]);
    loop {
        let update = tokio::select! {
            update = updates.next() => update,
            // Any byte of input, or the end of the input, ends the program.
            _ = input.read(&mut byte) => break,
        };
        let mut out = std::io::stdout().lock();
        match update.transpose()? {
            Some(Update::Tick(tick)) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
                writeln!(out, "{} {}", tick.id, now.as_secs_f64() * 1000.0)?;
            }
            Some(Update::Gap(gap)) => writeln!(out, "gap {} {} {}", gap.after, gap.before, gap.reason)?,
            Some(_) => {}
            None => break,
        }
    }
    let statistics = updates.statistics();
    println!(r#"{{"taken":{},"doubled":{},"healed":{}}}"#, statistics.taken, statistics.doubled, statistics.healed);
    Ok(())
}
