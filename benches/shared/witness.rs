//! Witness: a client that knows all ids of the feed. It reads the `full` format, in which each entry has the id of the
//! one before it. The updates of all other clients are compared with it.

use super::connection::{Connection, Transport};
use super::deliveries::Id;
use super::endpoint::Endpoint;
use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

/// Deadline of each wait.
const DEADLINE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Witness, and the ids that it has received.
#[derive(Debug)]
pub(crate) struct Witness {
    connection: Connection,
    /// Id of the newest entry, a tick or a status.
    newest: Option<u64>,
    /// Ids of all ticks.
    ids: Vec<Id>,
}

impl Witness {
    /// Connects, and reads the feed from its first entry until it has `ticks` ticks.
    pub(crate) fn connect(server: &Endpoint, ticks: usize) -> anyhow::Result<Witness> {
        let mut connection = Connection::begin(server, Transport::WebSocket)?;
        wait(&connection, PollFlags::OUT)?;
        connection.request("format=full&since=0")?;
        let mut witness = Witness { connection, newest: None, ids: Vec::new() };
        let mut buffer = vec![0; 64 * 1024];
        while witness.ids.len() < ticks {
            wait(&witness.connection, PollFlags::IN)?;
            witness.read(&mut buffer)?;
        }
        Ok(witness)
    }

    /// Reads what has arrived.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        let Witness { connection, newest, ids } = self;
        let mut result = Ok(());
        connection.read(buffer, &mut |message| {
            if result.is_ok() {
                result = record(message, newest, ids);
            }
        })?;
        result
    }

    /// Returns the ids of all ticks so far.
    pub(crate) fn ids(&self) -> &[Id] {
        &self.ids
    }
}

/// Waits until a connection can be read or written to.
fn wait(connection: &Connection, what: PollFlags) -> anyhow::Result<()> {
    let ready = poll(&mut [PollFd::new(connection, what)], Some(&DEADLINE))?;
    ensure!(ready > 0, "the connection was not ready for {} s", DEADLINE.tv_sec);
    Ok(())
}

/// Records an entry. Other messages are ignored.
fn record(message: &[u8], newest: &mut Option<u64>, ids: &mut Vec<Id>) -> anyhow::Result<()> {
    let entry: Value = serde_json::from_slice(message)?;
    if !matches!(entry["type"].as_str(), Some("tick" | "status")) {
        return Ok(());
    }
    let (id, prev) = (entry["id"].as_u64().context("an entry without id")?, entry["prev"].as_u64());
    ensure!(newest.is_none() || *newest == prev, "entry {id} follows {newest:?}, but its prev is {prev:?}");
    *newest = Some(id);
    if let Some(timedate) = entry["timedate"].as_str() {
        let invalid = || format!("invalid timedate {timedate:?}: expected a text such as 2026-11-20T09:20:31.075Z");
        ids.push(timedate.as_bytes().try_into().with_context(invalid)?);
    }
    Ok(())
}
