//! A rolling restart of three replicas behind nginx, with thousands of clients that resume after their last entry. The
//! test prints the table of docs/operations.md:
//!
//! ```sh
//! tests/setup cargo test --locked --test soak -- rolling --nocapture
//! ```

use crate::support::client::Client;
use crate::support::nginx::Nginx;
use crate::support::ports::free_address;
use crate::support::replica::Replica;
use crate::support::{TestCluster, soon, until};
use btcfeed::tick::TickId;
use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

const CLIENTS: usize = 3000;
const REPLICAS: usize = 3;
const INTERVAL: Duration = Duration::from_secs(1);
const DELAY: Duration = Duration::from_secs(1);
const SPREAD: Duration = Duration::from_secs(5);
/// Maximum share of the attempts to connect that fail because a replica begins to stop at that moment. The client then
/// waits for as long as the answer says.
const MAX_FAILED: f64 = 0.001;
/// Maximum number of clients that make their first connection at the same time.
const CONNECTING: usize = 100;
/// Maximum number of reconnects in a second, as a multiple of the even share: the clients of a replica divided by the
/// spread in seconds. On a busy machine clients reconnect late, and then several at once.
const TOLERANCE: f64 = 2.0;

/// What all clients share.
struct Clients {
    url: String,
    /// A client holds a permit until it has an entry.
    connecting: Semaphore,
    /// Moments at which clients were connected again.
    reconnects: Mutex<Vec<Instant>>,
    /// Number of clients that have an entry.
    following: watch::Sender<usize>,
    /// The id at which the clients stop.
    end: watch::Sender<u64>,
}

/// What one client has seen.
#[derive(Default)]
struct Seen {
    entries: usize,
    /// The last id.
    last: u64,
    /// The highest age of an entry at its arrival.
    latest: Duration,
    lost: usize,
    doubled: usize,
    /// Attempts to connect that failed.
    failed: usize,
}

impl Seen {
    /// Adds a message. Only the beginning of the text is read, because 3,000 clients in a build without optimisation
    /// would otherwise keep the processors busy after each tick.
    fn add(&mut self, message: &str) {
        if message.starts_with(r#"{"type":"gap""#) {
            self.lost += 1;
        }
        let entry = message.strip_prefix(r#"{"type":"tick","#).or(message.strip_prefix(r#"{"type":"status","#));
        let Some(entry) = entry else { return };
        let (id, prev) = (number(entry, r#""id":"#), number(entry, r#""prev":"#));
        if id <= self.last {
            self.doubled += 1;
            return;
        }
        // The first entry may be old, because it is the latest one when the client connects.
        if self.entries > 0 {
            self.lost += usize::from(prev != self.last);
            self.latest = self.latest.max(Duration::from_millis(TickId::now().ms().saturating_sub(id)));
        }
        self.entries += 1;
        self.last = id;
    }
}

/// Returns the number after `name`.
fn number(text: &str, name: &str) -> u64 {
    let (_, value) = text.split_once(name).unwrap_or_else(|| panic!("no {name} in {text}"));
    value[..value.find(|c: char| !c.is_ascii_digit()).unwrap()].parse().unwrap()
}

/// Follows the feed up to the id [`Clients::end`]. Reconnects at once when a connection ends.
async fn follow(clients: Arc<Clients>) -> Seen {
    let mut seen = Seen::default();
    let mut permit = Some(clients.connecting.acquire().await.unwrap());
    let mut connected_before = false;
    loop {
        let after = if seen.entries > 0 { format!("&after={}", seen.last) } else { String::new() };
        let url = format!("{}{after}", clients.url);
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let (socket, _) = match soon("a handshake", connect_async_with_config(&url, Some(config), false)).await {
            Ok(connected) => connected,
            Err(error) => {
                seen.failed += 1;
                let Error::Http(answer) = error else { panic!("{error}") };
                println!(
                    "{}: {}",
                    answer.status(),
                    String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default())
                );
                let wait = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                sleep(Duration::from_secs(wait)).await;
                continue;
            }
        };
        if connected_before {
            clients.reconnects.lock().unwrap().push(Instant::now());
        }
        connected_before = true;
        let mut client = Client::over(socket);
        while let Some(message) = client.next().await {
            let Message::Text(text) = message else { continue };
            seen.add(&text);
            if seen.entries == 1 && permit.take().is_some() {
                clients.following.send_modify(|count| *count += 1);
            }
            if seen.last >= *clients.end.borrow() {
                return seen;
            }
        }
    }
}

/// Returns the largest number of moments within a second.
fn most_in_a_second(moments: &[Instant]) -> usize {
    let within = |(number, begin): (usize, &Instant)| {
        moments[number..].iter().take_while(|moment| **moment - *begin < Duration::from_secs(1)).count()
    };
    moments.iter().enumerate().map(within).max().unwrap_or(0)
}

/// Returns the number of clients that a replica counts.
async fn clients_of(replica: &Replica) -> usize {
    replica.metric("btcfeed_clients{transport=\"websocket\"}").await as usize
}

/// Raises the limit on open files. Each client needs a file here and two in nginx.
fn raise_file_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let files = maximum.unwrap_or(u64::MAX);
    assert!(files > 2 * CLIENTS as u64 + 500, "the limit on open files is too low: {files}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restart_moves_three_thousand_clients() {
    raise_file_limit();
    let cluster = TestCluster::new().await;
    let addresses: Vec<_> = (0..REPLICAS).map(|_| free_address()).collect();
    let milliseconds = |time: Duration| format!("{}ms", time.as_millis());
    let (interval, delay, spread) = (milliseconds(INTERVAL), milliseconds(DELAY), milliseconds(SPREAD));
    let start = async |number: usize| {
        let settings = [
            ("BTCFEED_LISTEN", addresses[number].as_str()),
            ("BTCFEED_INTERVAL", &interval),
            ("BTCFEED_DRAIN_DELAY", &delay),
            ("BTCFEED_DRAIN_SPREAD", &spread),
        ];
        cluster.replica(&format!("r{}", number + 1), &settings).await
    };
    let mut replicas = join_all((0..REPLICAS).map(start)).await;
    replicas[0].priced().await;
    // With `max_fails=0`, nginx does not avoid a replica that was away for a few seconds. The nginx in `deploy` does
    // not either, because it resolves a name for each request, and so remembers no failures of an address.
    let upstream: Vec<_> = addresses.iter().map(|address| format!("{address} max_fails=0")).collect();
    let nginx = Nginx::start(&upstream.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let clients = Arc::new(Clients {
        url: format!("ws://{}/v1/ws?format=full", nginx.address),
        connecting: Semaphore::new(CONNECTING),
        reconnects: Mutex::default(),
        following: watch::Sender::new(0),
        end: watch::Sender::new(u64::MAX),
    });
    let following: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(follow(clients.clone()))).collect();
    soon("all clients", clients.following.subscribe().wait_for(|count| *count == CLIENTS)).await.unwrap();

    println!("| replica | clients | reconnects in a second, at most | its clients ÷ the spread in seconds |");
    println!("|---|---|---|---|");
    let mut moved = 0;
    for (number, replica) in replicas.iter_mut().enumerate() {
        let count = clients_of(replica).await;
        let before = clients.reconnects.lock().unwrap().len();
        replica.signal(Signal::TERM);
        assert!(replica.exit().await.success());
        *replica = start(number).await;
        moved += count;
        until("all clients to be back", async || clients.reconnects.lock().unwrap().len() >= moved).await;
        let most = most_in_a_second(&clients.reconnects.lock().unwrap()[before..]);
        let share = count as f64 / SPREAD.as_secs_f64();
        println!("| r{} | {count} | {most} | {share:.0} |", number + 1);
        assert!(count > CLIENTS / 10, "r{} had only {count} clients", number + 1);
        assert!(most as f64 <= share * TOLERANCE, "{most} reconnects in a second, the even share is {share:.0}");
    }
    // Each client stops at the first entry after this history.
    let history = replicas[0].history().await;
    clients.end.send_replace(history.last().unwrap()["id"].as_u64().unwrap() + 1);
    let seen: Vec<_> = soon("all clients to stop", join_all(following)).await;
    let seen: Vec<_> = seen.into_iter().map(Result::unwrap).collect();
    let sum = |count: fn(&Seen) -> usize| seen.iter().map(count).sum::<usize>();
    let (entries, failed) = (sum(|seen| seen.entries), sum(|seen| seen.failed));
    let (lost, doubled) = (sum(|seen| seen.lost), sum(|seen| seen.doubled));
    let latest = seen.iter().filter(|seen| seen.failed == 0).map(|seen| seen.latest).max().unwrap();
    let reconnects = clients.reconnects.lock().unwrap().len();
    println!(
        "{CLIENTS} clients got {entries} entries over {reconnects} reconnects ({failed} attempts failed): {lost} lost, \
         {doubled} doubled, the longest delay is {} ms",
        latest.as_millis()
    );
    assert_eq!((lost, doubled, reconnects), (0, 0, moved));
    assert!(failed as f64 <= reconnects as f64 * MAX_FAILED, "{failed} attempts failed");
    assert!(latest <= INTERVAL, "an entry arrived after {latest:?}");
}
