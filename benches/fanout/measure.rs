//! Measurements. Each of them has its own server.

use crate::Plan;
use crate::shared::client_pool::ClientPool;
use crate::shared::connection::Transport;
use crate::shared::deliveries::{Deliveries, Faults};
use crate::shared::machine::{memory_kib, processor_time};
use crate::shared::server::Server;
use crate::shared::witness::Witness;
use std::time::{Duration, Instant};

/// Number of clients that connect before the first measurement of memory. So memory that a server allocates only once
/// is not counted.
const FIRST_CLIENTS: usize = 64;
/// Idle time before memory is measured.
const IDLE: Duration = Duration::from_secs(2);

/// Cost of a server while it sends updates to all clients.
#[derive(Debug)]
pub(crate) struct FanOut {
    /// Processor time per update and client.
    pub(crate) processor: Duration,
    /// Memory per connection.
    pub(crate) kib: f64,
    /// Time from the first to the last client, for each update.
    pub(crate) spreads: Vec<Duration>,
    /// Updates delivered since the first client connected.
    pub(crate) delivered: u32,
    pub(crate) faults: Faults,
}

/// Cost of an idle server.
#[derive(Debug)]
pub(crate) struct Idle {
    /// Memory per connection.
    pub(crate) kib: f64,
    /// Processor time for setting up a connection and for its first update.
    pub(crate) set_up: Duration,
    pub(crate) delivered: u32,
    pub(crate) faults: Faults,
}

/// Result of many clients that request the history at once.
#[derive(Debug)]
pub(crate) struct Herd {
    /// Time from the first client's first packet until all clients have the whole history.
    pub(crate) in_sync: Duration,
    /// Processor time per replayed update, including the set-up of connections.
    pub(crate) processor: Duration,
    pub(crate) delivered: u32,
    pub(crate) faults: Faults,
}

/// Measures a server that sends every tick to every client.
pub(crate) fn fan_out(server: &Server, transport: Transport, plan: Plan) -> anyhow::Result<FanOut> {
    let (pid, clients) = (server.pid(), plan.connections);
    // A witness needs the format `full`, which the baseline does not have.
    let witness = if server.is_baseline() { None } else { Some(Witness::connect(server.endpoint(), 1)?) };
    let mut pool = ClientPool::new(&[server.endpoint().clone()], transport, witness)?;
    let few = FIRST_CLIENTS.min(clients / 2);
    pool.grow(few)?;
    let ticks = pool.deliveries.len();
    pool.until("a first tick", |pool| pool.deliveries.len() > ticks)?;
    let before = memory_kib(pid)?;
    pool.grow(clients)?;
    // The processor time is read twice, each time after a tick has reached all clients and before the next tick. So
    // each client gets the same number of ticks between the two readings.
    let first = pool.deliveries.len();
    pool.until("the first tick for all", |pool| pool.deliveries.is_settled(first, clients))?;
    let (processor, delivered) = (processor_time(pid)?, pool.deliveries.delivered());
    let last = first + plan.ticks;
    pool.until("the last tick for all", |pool| pool.deliveries.is_settled(last, clients))?;
    let (processor, delivered) =
        (processor_time(pid)?.saturating_sub(processor), pool.deliveries.delivered() - delivered);
    let after = memory_kib(pid)?;
    Ok(FanOut {
        processor: processor / delivered.max(1),
        kib: per_connection(before, after, clients - few),
        spreads: pool.deliveries.spreads(first + 1..last + 1),
        faults: pool.faults(last)?,
        delivered: pool.deliveries.delivered(),
    })
}

/// Measures a server with idle clients.
pub(crate) fn idle(server: &Server, transport: Transport, plan: Plan) -> anyhow::Result<Idle> {
    let (pid, clients) = (server.pid(), plan.connections);
    let mut pool =
        ClientPool::new(&[server.endpoint().clone()], transport, Some(Witness::connect(server.endpoint(), 1)?))?;
    let few = FIRST_CLIENTS.min(clients / 2);
    pool.grow(few)?;
    pool.during(IDLE)?;
    let (before, processor) = (memory_kib(pid)?, processor_time(pid)?);
    pool.grow(clients)?;
    pool.until("the tick for all", |pool| pool.deliveries.is_settled(0, clients))?;
    let processor = processor_time(pid)?.saturating_sub(processor);
    pool.during(IDLE)?;
    let new = clients - few;
    Ok(Idle {
        kib: per_connection(before, memory_kib(pid)?, new),
        set_up: processor / u32::try_from(new)?,
        delivered: pool.deliveries.delivered(),
        faults: pool.faults(0)?,
    })
}

/// Measures many clients that connect at once and replay the same part of the history.
pub(crate) fn herd(server: &Server, plan: Plan) -> anyhow::Result<Herd> {
    let (pid, Plan { herd, history, .. }) = (server.pid(), plan);
    let witness = Witness::connect(server.endpoint(), history)?;
    let ids = witness.ids().to_vec();
    let since = String::from_utf8_lossy(&ids[ids.len() - history]).into_owned();
    let mut pool = ClientPool::new(&[server.endpoint().clone()], Transport::WebSocket, Some(witness))?;
    pool.replay_since(&since);
    pool.deliveries = Deliveries::of_history(&ids, herd, history);
    let processor = processor_time(pid)?;
    let started = Instant::now();
    for _ in 0..herd {
        pool.begin()?;
    }
    let newest = ids.len() - 1;
    pool.until("the history for all", |pool| pool.deliveries.is_settled(newest, herd))?;
    let in_sync = started.elapsed();
    let (processor, delivered) = (processor_time(pid)?.saturating_sub(processor), pool.deliveries.delivered());
    Ok(Herd { in_sync, processor: processor / delivered.max(1), delivered, faults: pool.faults(newest)? })
}

fn per_connection(before_kib: u32, after_kib: u32, connections: usize) -> f64 {
    let connections = u32::try_from(connections).expect("a machine has fewer ports than 2^32");
    (f64::from(after_kib) - f64::from(before_kib)) / f64::from(connections)
}
