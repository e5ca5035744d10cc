//! A replica with its feed in a file, killed at random moments.

use super::ports::free_address;
use super::replica::serve_command;
use super::{FAST, http, soon, until};
use futures_util::StreamExt;
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

/// The maximum time from the start of a replica to its kill.
const LIFE_MS: u64 = 500;

/// A replica that is started again and again with the same directory, and its client.
pub struct CrashTest {
    settings: Vec<(String, String)>,
    address: String,
    /// The entries that the client was sent, in order.
    pub received: Vec<Value>,
}

impl CrashTest {
    /// A test with this data directory. The replica makes a tick every 10 ms.
    pub fn new(data: &Path) -> CrashTest {
        let (address, ops) = (free_address(), free_address());
        let own = [
            ("BTCFEED_DATA", data.to_str().unwrap()),
            ("BTCFEED_LISTEN", &address),
            ("BTCFEED_OPS_LISTEN", &ops),
            // On a busy disk, a restart may take longer than the default of `BTCFEED_STALE_AFTER`. The feed then has an
            // outage, which clients see as a gap. This test expects no gap.
            ("BTCFEED_STALE_AFTER", "2m"),
            ("BTCFEED_DOWN_AFTER", "3m"),
        ];
        let settings = FAST.iter().chain(&own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        CrashTest { settings, address, received: Vec::new() }
    }

    /// Starts the replica.
    fn start(&self) -> Child {
        serve_command(&self.settings).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts the replica, follows its feed and kills it at a random moment. Returns the number of entries that the
    /// client was sent.
    pub async fn crash(&mut self) -> usize {
        let mut replica = self.start();
        let before = self.received.len();
        let life = Duration::from_millis(fastrand::u64(..LIFE_MS));
        timeout(life, self.follow(usize::MAX)).await.ok();
        super::signal(&replica, Signal::KILL);
        soon("the end of the replica", replica.wait()).await.unwrap();
        self.received.len() - before
    }

    /// Starts the replica, waits until its client has some new entries, and asserts that the history has every entry
    /// that the client was sent. Then kills the replica.
    pub async fn check(&mut self) {
        let mut replica = self.start();
        let wanted = self.received.len() + 3;
        until("new entries", async || {
            timeout(Duration::from_secs(5), self.follow(wanted)).await.ok();
            self.received.len() >= wanted
        })
        .await;
        let mut after = 0;
        let mut kept = Vec::new();
        while kept.len() < self.received.len() {
            let url = format!("http://{}/v1/prices?format=full&limit=1000&after={after}", self.address);
            let mut page: Value = soon("a page", http().get(url).send()).await.unwrap().json().await.unwrap();
            let page: Vec<Value> = serde_json::from_value(page["prices"].take()).unwrap();
            after = page
                .last()
                .map_or_else(|| panic!("some of {} entries are lost", self.received.len()), |entry| id(entry, "id"));
            kept.extend(page.into_iter().filter(|entry| self.received[0]["id"].as_u64() <= entry["id"].as_u64()));
        }
        assert_eq!(kept[..self.received.len()], self.received, "the history has what the client was sent");
        super::signal(&replica, Signal::KILL);
        soon("the end of the replica", replica.wait()).await.unwrap();
    }

    /// Follows the feed after the last entry, until the client has `wanted` entries or the connection ends. Asserts
    /// that each entry continues the one before it.
    async fn follow(&mut self, wanted: usize) {
        let after = self.received.last().map_or(0, |entry| id(entry, "id"));
        let url = format!("http://{}/v1/prices/stream?format=full&after={after}", self.address);
        let response = loop {
            match http().get(&url).send().await {
                Ok(response) if response.status() == 200 => break response,
                _ => sleep(Duration::from_millis(5)).await,
            }
        };
        let (mut chunks, mut text) = (response.bytes_stream(), String::new());
        while self.received.len() < wanted
            && let Some(Ok(chunk)) = chunks.next().await
        {
            text += std::str::from_utf8(&chunk).unwrap();
            while let Some(end) = text.find('\n') {
                let line: String = text.drain(..=end).collect();
                if let Some(data) = line.strip_prefix("data: ") {
                    self.receive(serde_json::from_str(data).unwrap());
                }
            }
        }
    }

    fn receive(&mut self, message: Value) {
        match message["type"].as_str() {
            Some("tick" | "status") => {
                if let Some(last) = self.received.last() {
                    assert_eq!(id(&message, "prev"), id(last, "id"), "entry {} was lost", self.received.len());
                }
                self.received.push(message);
            }
            Some("gap") => panic!("{message} after {:?}", self.received.last()),
            _ => {}
        }
    }
}

fn id(entry: &Value, field: &str) -> u64 {
    entry[field].as_u64().unwrap_or_else(|| panic!("{entry}"))
}
