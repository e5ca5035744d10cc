//! Growth of the cost with the number of clients, the length of a replay and the rate of ticks. Each row of the table
//! is one measurement.

use super::measure;
use crate::shared::connection::Transport;
use crate::shared::deliveries::Faults;
use crate::shared::machine;
use crate::shared::redis::Redis;
use crate::shared::server::Server;
use crate::{NEVER, Plan, SPARE_DESCRIPTORS, TICK_EVERY};
use btcfeed::tick::TickId;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

/// Quantity that is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    Clients,
    History,
    Rate,
}

impl Growth {
    pub(crate) const NAMES: [&str; 3] = ["clients", "history", "rate"];

    pub(crate) fn from_name(name: &str) -> Growth {
        match name {
            "clients" => Growth::Clients,
            "history" => Growth::History,
            _ => Growth::Rate,
        }
    }
}

const CLIENTS: [usize; 4] = [1000, 5000, 10_000, 19_000];
/// Ticks that a client replays. Every client gets at least the latest one.
const HISTORY: [usize; 4] = [1, 100, 720, 5000];
const INTERVALS: [Duration; 3] = [Duration::from_secs(5), TICK_EVERY, Duration::from_millis(100)];
/// Maximum time in which the ticks of one row of `rate` are sent.
const MAX_TIME: Duration = Duration::from_secs(30);

/// Measures all rows. Returns the table and the faults.
pub(crate) fn run(growth: Growth, plan: Plan) -> anyhow::Result<(String, Faults)> {
    let (mut table, mut faults) = (format!("{}.\n\n", machine::describe()), Faults::default());
    match growth {
        Growth::Clients => {
            writeln!(table, "A tick every {TICK_EVERY:?}, WebSocket.\n\n| clients {HEAD}")?;
            let max = machine::max_clients(SPARE_DESCRIPTORS)?;
            for clients in CLIENTS.into_iter().filter(|clients| *clients <= max) {
                let plan = Plan { connections: clients, ..plan };
                faults = faults.and(fan_out(&mut table, &clients.to_string(), TICK_EVERY, plan)?);
            }
        }
        Growth::Rate => {
            writeln!(table, "{} clients, WebSocket.\n\n| a tick every {HEAD}", plan.connections)?;
            for interval in INTERVALS {
                let max = MAX_TIME.as_millis() / interval.as_millis();
                let plan = Plan { ticks: usize::try_from(max)?.clamp(2, 100), ..plan };
                faults = faults.and(fan_out(&mut table, &format!("{interval:?}"), interval, plan)?);
            }
        }
        Growth::History => {
            writeln!(table, "{} clients at once, WebSocket, the history in Redis.\n", plan.herd)?;
            writeln!(
                table,
                "| ticks that each client replays | all in sync after, s | µs per replayed update |\n|---|---|---|"
            )?;
            for history in HISTORY {
                let redis = Redis::start()?;
                fill(&redis, history)?;
                let server = Server::replica(NEVER, &[("REDIS_URL", redis.url())], None)?;
                let herd = measure::herd(&server, Plan { history, ..plan })?;
                let (seconds, micros_per_update) = (herd.in_sync.as_secs_f64(), herd.processor.as_secs_f64() * 1e6);
                writeln!(table, "| {history} | {seconds:.2} | {micros_per_update:.2} |")?;
                faults = faults.and(herd.faults);
            }
        }
    }
    Ok((table, faults))
}

const HEAD: &str =
    "| µs per update | first to last client, p50 / longest, ms | memory per connection, KiB |\n|---|---|---|---|";

fn fan_out(table: &mut String, name: &str, interval: Duration, plan: Plan) -> anyhow::Result<Faults> {
    eprintln!("{name}");
    let mut measured = measure::fan_out(&Server::btcfeed(interval, None)?, Transport::WebSocket, plan)?;
    measured.spreads.sort();
    let millis = |spread: Option<&Duration>| spread.map_or(f64::NAN, |spread| spread.as_secs_f64() * 1e3);
    let (median, longest) = (measured.spreads.get(measured.spreads.len() / 2), measured.spreads.last());
    let (median, longest) = (millis(median), millis(longest));
    let micros_per_update = measured.processor.as_secs_f64() * 1e6;
    writeln!(table, "| {name} | {micros_per_update:.2} | {median:.1} / {longest:.1} | {:.2} |", measured.kib)?;
    Ok(measured.faults)
}

/// Writes a history of `ticks` ticks up to now, five seconds apart, in the format of a leader.
fn fill(redis: &Redis, ticks: usize) -> anyhow::Result<()> {
    let mut connection = redis.client()?.get_connection()?;
    let (mut commands, mut prev) = (redis::pipe(), 0);
    let newest = TickId::now().ms();
    for age in (0..ticks).rev() {
        let id = newest - age as u64 * 5000;
        let entry = json!({
            "id": id, "prev": prev, "type": "tick",
            "prices": {"USD": "97116.17", "EUR": "89423.50"},
            "sources": {"USD": ["simulated"], "EUR": ["simulated"]},
        });
        commands.cmd("ZADD").arg("{btcfeed}:ticks").arg(id).arg(entry.to_string()).ignore();
        prev = id;
    }
    Ok(commands.query(&mut connection)?)
}
