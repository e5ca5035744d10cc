//! A client that takes the feed at its word: it reads the `full` format, where each entry names the one before, so that it
//! knows all ids there are. Clients of the other formats are checked against it.

use super::book::Id;
use super::connection::{Connection, Door};
use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use std::net::SocketAddr;

/// How long it may take until something happens.
const DEADLINE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// The witness, and what it has seen.
#[derive(Debug)]
pub(crate) struct Witness {
    connection: Connection,
    /// The id of the newest entry: ticks and statuses stand in one chain.
    newest: Option<u64>,
    /// The ticks' ids.
    ids: Vec<Id>,
}

impl Witness {
    /// A client that reads the feed from its beginning, and has seen so many ticks.
    pub(crate) fn connect(server: SocketAddr, ticks: usize) -> anyhow::Result<Witness> {
        let mut connection = Connection::begin(server, Door::WebSocket)?;
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

    /// Reads what has come.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        let Witness { connection, newest, ids } = self;
        let mut result = Ok(());
        connection.read(buffer, &mut |message| {
            if result.is_ok() {
                result = note(message, newest, ids);
            }
        })?;
        result
    }

    /// The ids of all ticks so far.
    pub(crate) fn ids(&self) -> &[Id] {
        &self.ids
    }
}

/// Waits until a connection can be read or written to.
fn wait(connection: &Connection, what: PollFlags) -> anyhow::Result<()> {
    let ready = poll(&mut [PollFd::new(connection, what)], Some(&DEADLINE))?;
    ensure!(ready > 0, "nothing came for {} s", DEADLINE.tv_sec);
    Ok(())
}

/// Notes an entry; what else the format has is no part of the chain.
fn note(message: &[u8], newest: &mut Option<u64>, ids: &mut Vec<Id>) -> anyhow::Result<()> {
    let entry: Value = serde_json::from_slice(message)?;
    if !matches!(entry["type"].as_str(), Some("tick" | "status")) {
        return Ok(());
    }
    let (id, prev) = (entry["id"].as_u64().context("an entry without id")?, entry["prev"].as_u64());
    ensure!(newest.is_none() || *newest == prev, "{id} comes after {newest:?} but names {prev:?} before it");
    *newest = Some(id);
    if let Some(timedate) = entry["timedate"].as_str() {
        ids.push(timedate.as_bytes().try_into().with_context(|| format!("a timedate like {timedate}"))?);
    }
    Ok(())
}
