//! A client that follows the feed on any replica, and records every tick, status and gap. It reads messages without the
//! server's code.

use crate::support::tls::{Authority, connect_to};
use futures_util::StreamExt;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// The time without a message after which a connection is replaced. A ping counts as a message, but a replica waits at
/// least as long between two pings. So pings alone do not keep a connection open.
const SILENCE: Duration = Duration::from_secs(20);

/// A replica's port for clients.
#[derive(Clone)]
pub struct Port {
    pub address: String,
    /// The issuer of its certificate, if it has TLS.
    pub authority: Option<Arc<Authority>>,
}

impl From<&str> for Port {
    fn from(address: &str) -> Port {
        Port { address: address.to_owned(), authority: None }
    }
}

/// The ticks, statuses and gaps that a client got, in order.
pub struct Watcher {
    messages: Arc<Mutex<Vec<Value>>>,
    /// The moment in Unix milliseconds at which each message arrived.
    moments: Arc<Mutex<Vec<u64>>>,
    longest_wait: Arc<Mutex<Duration>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    /// Follows the feed from its beginning. The client connects to the first of these ports, and to the next one when a
    /// connection fails or ends.
    pub fn start(ports: Vec<Port>) -> Watcher {
        Watcher::start_with(ports, "format=full")
    }

    /// Follows the feed with this query.
    pub fn start_with(ports: Vec<Port>, query: &'static str) -> Watcher {
        let (messages, longest_wait): (Arc<Mutex<Vec<Value>>>, Arc<Mutex<Duration>>) = Default::default();
        let moments: Arc<Mutex<Vec<u64>>> = Arc::default();
        let task = tokio::spawn(follow(ports, query, messages.clone(), moments.clone(), longest_wait.clone()));
        Watcher { messages, moments, longest_wait, task }
    }

    /// Returns the messages so far, each with the moment in Unix milliseconds at which it arrived.
    pub fn arrivals(&self) -> Vec<(u64, Value)> {
        let messages = self.messages.lock().unwrap();
        self.moments.lock().unwrap().iter().copied().zip(messages.iter().cloned()).collect()
    }

    /// Returns the messages so far.
    pub fn messages(&self) -> Vec<Value> {
        self.messages.lock().unwrap().clone()
    }

    /// Returns the longest time between two messages.
    pub fn longest_wait(&self) -> Duration {
        *self.longest_wait.lock().unwrap()
    }

    /// Returns the id of the last entry.
    pub fn last(&self) -> u64 {
        last_id(&self.messages.lock().unwrap()).unwrap_or_default()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn last_id(messages: &[Value]) -> Option<u64> {
    messages.iter().rev().find_map(|message| message["id"].as_u64())
}

async fn follow(
    ports: Vec<Port>,
    query: &str,
    messages: Arc<Mutex<Vec<Value>>>,
    moments: Arc<Mutex<Vec<u64>>>,
    longest_wait: Arc<Mutex<Duration>>,
) {
    let mut waited_since = None::<Instant>;
    for port in ports.iter().cycle() {
        let last = last_id(&messages.lock().unwrap());
        let from = last.map_or("since=0".to_owned(), |id| format!("after={id}"));
        let url = format!("ws://{}/v1/ws?{query}&{from}", port.address);
        let connect = async {
            let connection = connect_to(&port.address, port.authority.as_deref()).await.ok()?;
            Some(client_async(url, connection).await.ok()?.0)
        };
        if let Ok(Some(mut socket)) = timeout(Duration::from_secs(2), connect).await {
            while let Ok(Some(Ok(message))) = timeout(SILENCE, socket.next()).await {
                let Message::Text(text) = message else { continue };
                let message: Value = serde_json::from_str(&text).unwrap();
                if matches!(message["type"].as_str(), Some("tick" | "status" | "gap")) {
                    moments.lock().unwrap().push(btcfeed::tick::TickId::now().ms());
                    messages.lock().unwrap().push(message);
                    let mut longest = longest_wait.lock().unwrap();
                    let waited = waited_since.replace(Instant::now()).map(|since| since.elapsed()).unwrap_or_default();
                    *longest = waited.max(*longest);
                }
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}
