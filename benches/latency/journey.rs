//! A tick's way from the answer of an exchange to the last client, put together of what was seen from outside: the exchange's
//! own clock, the replicas' logs, Redis's channel, and the clients.

use anyhow::Context;
use btcfeed::tick::TickId;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::shared::book::Update;
use crate::shared::machine::unix_ns;

/// The stations of the way.
pub(crate) const STATIONS: [&str; 7] = [
    "the exchange has answered",
    "the price is agreed on",
    "the tick is in the store",
    "the first replica has it",
    "the last replica has it",
    "the first client has it",
    "the last client has it",
];

/// When a tick was at each station, in nanoseconds since 1970.
pub(crate) type Journey = [u64; STATIONS.len()];

/// What the replicas and Redis said, and when, in nanoseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    /// When each poll was over.
    polled: Vec<u64>,
    /// When an entry was first seen to be in the store.
    stored: HashMap<String, u64>,
    /// When each replica had it.
    received: HashMap<String, Vec<u64>>,
}

impl Sightings {
    /// Notes a line of a log, if it tells anything.
    pub(crate) fn read(&mut self, line: &Value) -> anyhow::Result<()> {
        let message = line["message"].as_str().unwrap_or_default();
        if !matches!(message, "polled" | "written" | "received") {
            return Ok(());
        }
        let at: Timestamp = line["timestamp"].as_str().context("a line without a time")?.parse()?;
        let at = u64::try_from(at.as_nanosecond())?;
        let id = || Ok::<_, anyhow::Error>(line["id"].as_str().context("a line without an id")?.to_owned());
        match message {
            "polled" => self.polled.push(at),
            "written" => self.note_stored(id()?, at),
            _ => self.received.entry(id()?).or_default().push(at),
        }
        Ok(())
    }

    /// Notes that an entry was in the store at this time.
    pub(crate) fn note_stored(&mut self, id: String, at: u64) {
        let first = self.stored.entry(id).or_insert(at);
        *first = at.min(*first);
    }

    /// The way of an update.
    pub(crate) fn journey(&self, update: &Update, answers: &[u64]) -> anyhow::Result<Journey> {
        let id = TickId::parse_moment("timedate", std::str::from_utf8(&update.id)?)?.to_string();
        let received = self.received.get(&id).context("no replica had it")?;
        let first_received = received.iter().min().copied().unwrap_or_default();
        let last_received = received.iter().max().copied().unwrap_or_default();
        // A replica, or a subscriber, may have it before its writer has heard that it is written.
        let stored = self.stored.get(&id).copied().context("it was not written")?.min(first_received);
        let last_before = |times: &[u64], moment: u64| times.iter().rfind(|time| **time <= moment).copied();
        let agreed = last_before(&self.polled, stored).context("nobody has polled")?;
        let answered = last_before(answers, agreed).context("nobody has answered")?;
        Ok([answered, agreed, stored, first_received, last_received, unix_ns(update.first), unix_ns(update.last)])
    }
}

/// Listens to what Redis tells the replicas: the ids of entries, and when they came, until this is dropped.
pub(crate) fn listen(client: &redis::Client) -> anyhow::Result<Receiver<(String, u64)>> {
    let mut connection = client.get_connection()?;
    let (to, heard) = mpsc::channel();
    let (subscribed, ready) = mpsc::channel();
    std::thread::spawn(move || {
        let mut channel = connection.as_pubsub();
        let subscribing = channel.subscribe("{btcfeed}:live");
        subscribed.send(subscribing).ok();
        while let Ok(message) = channel.get_message() {
            let at = unix_ns(Instant::now());
            let entry: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap_or_default();
            if to.send((entry["id"].to_string(), at)).is_err() {
                return;
            }
        }
    });
    ready.recv_timeout(Duration::from_secs(5)).context("Redis does not answer")??;
    Ok(heard)
}
