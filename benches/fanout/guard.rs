//! Guard of the cost: fails if an update costs too much, in plain text or over TLS, compared with the baseline.

use super::measure::{self, FanOut};
use crate::shared::connection::Transport;
use crate::shared::deliveries::Faults;
use crate::shared::endpoint::Certificate;
use crate::shared::machine;
use crate::shared::server::Server;
use crate::{Plan, TICK_EVERY};
use anyhow::ensure;
use std::time::Duration;

/// Processor time per update as a multiple of the baseline, as it was measured with a release build of the replica, a
/// debug build of the baseline and 2000 clients. It is higher than in the reports with 10,000 clients, because more of
/// it is the work of a tick.
const PLAIN: f64 = 1.3;
/// The same over TLS. The debug build of the baseline encrypts a little more slowly.
const TLS: f64 = 1.2;
/// How much of a ratio may be lost.
const MAX_LOSS: f64 = 1.25;

/// Measures both ratios.
///
/// # Errors
/// If the median of a ratio is too high, or an update did not reach every client exactly once.
pub(crate) fn run(plan: Plan) -> anyhow::Result<()> {
    println!("{}.\n", machine::describe());
    println!("| | ratio in each round | median | limit |\n|---|---|---|---|");
    let certificate = Certificate::generate()?;
    let plain = ratio("plain text", PLAIN, None, plan)?;
    let tls = ratio("TLS", TLS, Some(&certificate), plan)?;
    ensure!(plain && tls, "an update costs more than before: a median is over its limit");
    Ok(())
}

/// Measures and prints a ratio. Returns true if it is within its limit.
fn ratio(name: &str, expected: f64, certificate: Option<&Certificate>, plan: Plan) -> anyhow::Result<bool> {
    let processor = |server: &Server| -> anyhow::Result<Duration> {
        let FanOut { processor, faults, .. } = measure::fan_out(server, Transport::WebSocket, plan)?;
        ensure!(faults == Faults::default(), "not every update reached every client exactly once: {faults:?}");
        Ok(processor)
    };
    let mut ratios = Vec::new();
    for _ in 0..plan.rounds {
        let baseline = processor(&Server::baseline(TICK_EVERY, certificate)?)?;
        let replica = processor(&Server::btcfeed(TICK_EVERY, certificate)?)?;
        ratios.push(replica.as_secs_f64() / baseline.as_secs_f64());
    }
    let rounds: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    ratios.sort_by(f64::total_cmp);
    let (median, limit) = (ratios[ratios.len() / 2], expected * MAX_LOSS);
    println!("| {name} | {} | {median:.2} | {limit:.2} |", rounds.join(", "));
    Ok(median <= limit)
}
