//! Guard of the cost: fails if an update costs too much, in plain text or over TLS, compared with the baseline.

use super::measure::{self, FanOut};
use crate::shared::connection::Transport;
use crate::shared::deliveries::Faults;
use crate::shared::endpoint::Certificate;
use crate::shared::machine;
use crate::shared::server::Server;
use crate::{Plan, TICK_EVERY};
use anyhow::ensure;

/// Processor time per update as a multiple of the baseline, as it was measured with a release build of the replica, a
/// debug build of the baseline and 2000 clients. It is higher than in the reports with 10,000 clients, because the work
/// that is done once for each tick is divided among fewer updates.
const PLAIN: f64 = 1.3;
/// The same over TLS. The debug build of the baseline encrypts a little more slowly than a release build, which makes
/// this ratio a little lower.
const TLS: f64 = 1.2;
/// Factor by which a median may exceed [`PLAIN`] or [`TLS`].
const MAX_LOSS: f64 = 1.25;
/// Number of medians that must all be over the limit before the guard fails. A virtual machine that has to wait for its
/// processor counts some of that time as work, so one median proves nothing.
const ATTEMPTS: usize = 3;

/// Measures both ratios.
///
/// # Errors
/// If all medians of a ratio are too high, or an update did not reach every client exactly once.
pub(crate) fn run(plan: Plan) -> anyhow::Result<()> {
    println!("{}.\n", machine::describe());
    println!("| | ratio in each round | median | limit |\n|---|---|---|---|");
    let certificate = Certificate::generate()?;
    let plain = ratio("plain text", PLAIN, None, plan)?;
    let tls = ratio("TLS", TLS, Some(&certificate), plan)?;
    ensure!(plain && tls, "an update costs too much: all medians of a ratio are over the limit");
    Ok(())
}

/// Measures and prints a ratio until its median is within the limit, up to [`ATTEMPTS`] times. Returns true if it is.
fn ratio(name: &str, expected: f64, certificate: Option<&Certificate>, plan: Plan) -> anyhow::Result<bool> {
    let limit = expected * MAX_LOSS;
    for _ in 0..ATTEMPTS {
        let mut ratios = ratios(certificate, plan)?;
        let rounds: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        println!("| {name} | {} | {median:.2} | {limit:.2} |", rounds.join(", "));
        if median <= limit {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Measures a ratio in each round.
fn ratios(certificate: Option<&Certificate>, plan: Plan) -> anyhow::Result<Vec<f64>> {
    let processor = |server: &Server| -> anyhow::Result<f64> {
        let FanOut { processor, faults, .. } = measure::fan_out(server, Transport::WebSocket, plan)?;
        ensure!(faults == Faults::default(), "not every update reached every client exactly once: {faults:?}");
        Ok(processor.as_secs_f64())
    };
    let ratio = |_| {
        let baseline = processor(&Server::baseline(TICK_EVERY, certificate)?)?;
        Ok(processor(&Server::btcfeed(TICK_EVERY, certificate)?)? / baseline)
    };
    (0..plan.rounds).map(ratio).collect()
}
