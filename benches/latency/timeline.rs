//! Timeline of a tick from an exchange's answer to the last client. Its times are from the exchange, the replicas'
//! logs, Redis' channel and the clients.

use anyhow::Context;
use btcfeed::tick::TickId;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::shared::deliveries::Update;
use crate::shared::machine::unix_ns;

/// Stages of a tick.
pub(crate) const STAGES: [&str; 7] = [
    "the exchange has answered",
    "the price is aggregated",
    "the tick is in the store",
    "the first replica has it",
    "the last replica has it",
    "the first client has it",
    "the last client has it",
];

/// Times at which a tick reached each stage, in nanoseconds since 1970.
pub(crate) type Timeline = [u64; STAGES.len()];

/// Times from the logs and from Redis, in nanoseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct StageTimes {
    /// Times at which polls ended.
    polled: Vec<u64>,
    /// Time at which each entry was known to be in the store.
    stored: HashMap<String, u64>,
    /// Times at which the replicas received each entry.
    received: HashMap<String, Vec<u64>>,
}

impl StageTimes {
    /// Records a line of a log if it is about a stage.
    pub(crate) fn record(&mut self, line: &Value) -> anyhow::Result<()> {
        let message = line["message"].as_str().unwrap_or_default();
        if !matches!(message, "polled" | "written" | "received") {
            return Ok(());
        }
        let at: Timestamp = line["timestamp"].as_str().context("a line without a time")?.parse()?;
        let at = u64::try_from(at.as_nanosecond())?;
        let id = || Ok::<_, anyhow::Error>(line["id"].as_str().context("a line without an id")?.to_owned());
        match message {
            "polled" => self.polled.push(at),
            "written" => self.record_stored(id()?, at),
            _ => self.received.entry(id()?).or_default().push(at),
        }
        Ok(())
    }

    /// Records that an entry was in the store at the time `at`. The earliest time counts.
    pub(crate) fn record_stored(&mut self, id: String, at: u64) {
        let first = self.stored.entry(id).or_insert(at);
        *first = at.min(*first);
    }

    /// Returns the timeline of an update.
    pub(crate) fn timeline(&self, update: &Update, answers: &[u64]) -> anyhow::Result<Timeline> {
        let id = TickId::parse_moment("timedate", std::str::from_utf8(&update.id)?)?.to_string();
        let received = self.received.get(&id).context("no replica has received the tick")?;
        let first_received = received.iter().min().copied().unwrap_or_default();
        let last_received = received.iter().max().copied().unwrap_or_default();
        // A replica may receive the entry before the leader gets the answer to its write.
        let stored = self.stored.get(&id).copied().context("the tick was not written")?.min(first_received);
        let last_before = |times: &[u64], moment: u64| times.iter().rfind(|time| **time <= moment).copied();
        let agreed = last_before(&self.polled, stored).context("no poll before the write")?;
        let answered = last_before(answers, agreed).context("no answer before the poll")?;
        Ok([answered, agreed, stored, first_received, last_received, unix_ns(update.first), unix_ns(update.last)])
    }
}

/// Subscribes to Redis' channel. The receiver gets the id of each entry and the time at which it arrived.
pub(crate) fn subscribe(client: &redis::Client) -> anyhow::Result<Receiver<(String, u64)>> {
    let mut connection = client.get_connection()?;
    let (to, entries) = mpsc::channel();
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
    Ok(entries)
}
