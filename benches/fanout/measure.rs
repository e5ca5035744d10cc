//! The measurements, each of one server that was started for it.

use crate::Plan;
use crate::shared::book::{Book, Faults};
use crate::shared::connection::Door;
use crate::shared::crowd::Crowd;
use crate::shared::machine::{memory_kib, processor_time};
use crate::shared::server::Server;
use crate::shared::witness::Witness;
use std::time::{Duration, Instant};

/// Clients that make a server set up everything that it sets up once, before its memory is measured.
const FIRST_CLIENTS: usize = 64;
/// How long clients are idle before memory is measured.
const IDLE: Duration = Duration::from_secs(2);

/// What a server costs while updates go out to all clients.
#[derive(Debug)]
pub(crate) struct FanOut {
    /// Processor time per update that was delivered to a client.
    pub(crate) processor: Duration,
    /// Memory per connection.
    pub(crate) kib: f64,
    /// The time from the first to the last client, update by update.
    pub(crate) spreads: Vec<Duration>,
    /// Updates delivered since the first client came.
    pub(crate) delivered: u32,
    pub(crate) faults: Faults,
}

/// What a server costs while nothing happens.
#[derive(Debug)]
pub(crate) struct Idle {
    /// Memory per connection.
    pub(crate) kib: f64,
    /// Processor time per connection that was set up, its first update included.
    pub(crate) set_up: Duration,
    pub(crate) delivered: u32,
    pub(crate) faults: Faults,
}

/// How a server does when many clients want the history at once.
#[derive(Debug)]
pub(crate) struct Herd {
    /// From the first client's first packet until all had everything.
    pub(crate) in_sync: Duration,
    /// Processor time per replayed update, setting the connections up included.
    pub(crate) processor: Duration,
    pub(crate) delivered: u32,
    pub(crate) faults: Faults,
}

/// Measures while every client gets every tick.
pub(crate) fn fan_out(server: &Server, door: Door, plan: Plan) -> anyhow::Result<FanOut> {
    let (pid, clients) = (server.pid(), plan.connections);
    // The floor knows one format only.
    let witness = if server.is_floor() { None } else { Some(Witness::connect(server.address(), 1)?) };
    let mut crowd = Crowd::new(&[server.address()], door, witness)?;
    let few = FIRST_CLIENTS.min(clients / 2);
    crowd.grow(few)?;
    let ticks = crowd.book.len();
    crowd.until("a first tick", |crowd| crowd.book.len() > ticks)?;
    let before = memory_kib(pid)?;
    crowd.grow(clients)?;
    // Between two ticks everything is quiet, so a wave begins and ends inside.
    let first = crowd.book.len();
    crowd.until("the first tick for all", |crowd| crowd.book.is_settled(first, clients))?;
    let (processor, delivered) = (processor_time(pid)?, crowd.book.delivered());
    let last = first + plan.ticks;
    crowd.until("the last tick for all", |crowd| crowd.book.is_settled(last, clients))?;
    let (processor, delivered) = (processor_time(pid)?.saturating_sub(processor), crowd.book.delivered() - delivered);
    let after = memory_kib(pid)?;
    Ok(FanOut {
        processor: processor / delivered.max(1),
        kib: per_connection(before, after, clients - few),
        spreads: crowd.book.spreads(first + 1..last + 1),
        faults: crowd.faults(last)?,
        delivered: crowd.book.delivered(),
    })
}

/// Measures while clients have nothing to do but to be there.
pub(crate) fn idle(server: &Server, door: Door, plan: Plan) -> anyhow::Result<Idle> {
    let (pid, clients) = (server.pid(), plan.connections);
    let mut crowd = Crowd::new(&[server.address()], door, Some(Witness::connect(server.address(), 1)?))?;
    let few = FIRST_CLIENTS.min(clients / 2);
    crowd.grow(few)?;
    crowd.during(IDLE)?;
    let (before, processor) = (memory_kib(pid)?, processor_time(pid)?);
    crowd.grow(clients)?;
    crowd.until("the tick for all", |crowd| crowd.book.is_settled(0, clients))?;
    let processor = processor_time(pid)?.saturating_sub(processor);
    crowd.during(IDLE)?;
    let new = clients - few;
    Ok(Idle {
        kib: per_connection(before, memory_kib(pid)?, new),
        set_up: processor / u32::try_from(new)?,
        delivered: crowd.book.delivered(),
        faults: crowd.faults(0)?,
    })
}

/// Measures how long it takes until many clients who come at once have the same part of the history.
pub(crate) fn herd(server: &Server, plan: Plan) -> anyhow::Result<Herd> {
    let (pid, Plan { herd, history, .. }) = (server.pid(), plan);
    let witness = Witness::connect(server.address(), history)?;
    let ids = witness.ids().to_vec();
    let since = String::from_utf8_lossy(&ids[ids.len() - history]).into_owned();
    let mut crowd = Crowd::new(&[server.address()], Door::WebSocket, Some(witness))?;
    crowd.replay_since(&since);
    crowd.book = Book::of_history(&ids, herd, history);
    let processor = processor_time(pid)?;
    let began = Instant::now();
    for _ in 0..herd {
        crowd.begin()?;
    }
    let newest = ids.len() - 1;
    crowd.until("the history for all", |crowd| crowd.book.is_settled(newest, herd))?;
    let in_sync = began.elapsed();
    let (processor, delivered) = (processor_time(pid)?.saturating_sub(processor), crowd.book.delivered());
    Ok(Herd { in_sync, processor: processor / delivered.max(1), delivered, faults: crowd.faults(newest)? })
}

fn per_connection(before_kib: u32, after_kib: u32, connections: usize) -> f64 {
    let connections = u32::try_from(connections).expect("there are not so many ports");
    (f64::from(after_kib) - f64::from(before_kib)) / f64::from(connections)
}
