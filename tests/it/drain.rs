//! Stops of a replica: its streams end one after the other, and a rolling restart loses nothing.

use crate::support::client::Client;
use crate::support::exchange::Exchange;
use crate::support::ports::free_address;
use crate::support::replica::Replica;
use crate::support::socket::unread;
use crate::support::{TestCluster, embedded, soon, tick, unbroken, until};
use btcfeed::tick::TickId;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

const CLIENTS: usize = 100;
const DELAY: Duration = Duration::from_secs(1);
/// Time over which the streams end. The replica would shorten it if it were more than 20 ms for each client.
const SPREAD: Duration = Duration::from_millis(1600);
/// Settings with the two times above.
const SETTINGS: [(&str, &str); 2] = [("BTCFEED_DRAIN_DELAY", "1s"), ("BTCFEED_DRAIN_SPREAD", "1600ms")];

/// Reads a stream to its close frame. Returns the moment at which the frame arrived.
async fn read_to_close(client: &mut Client) -> Instant {
    loop {
        match client.next().await {
            Some(Message::Close(Some(close))) => {
                assert_eq!(u16::from(close.code), 1001);
                return Instant::now();
            }
            Some(_) => {}
            None => panic!("the stream ended without a close frame"),
        }
    }
}

/// Returns the largest number of moments within a period.
fn most_within(period: Duration, moments: &mut [Instant]) -> usize {
    moments.sort();
    let within = |(number, begin): (usize, &Instant)| {
        moments[number..].iter().take_while(|moment| **moment - *begin < period).count()
    };
    moments.iter().enumerate().map(within).max().unwrap_or(0)
}

#[tokio::test]
async fn stream_on_a_closing_port_is_rejected() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_DRAIN_SPREAD", "10s")]).await;
    replica.priced().await;
    // With these clients, the drain takes about 2 s. The port closes when it begins. The last bytes of the request
    // below are sent only then.
    let _clients = join_all((0..CLIENTS).map(|_| replica.connect(""))).await;
    let mut socket = TcpStream::connect(&replica.address).await.unwrap();
    socket.write_all(b"GET /v1/prices/stream HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    until("the head to be read", async || unread(&socket) == Some(0)).await;
    // The replica accepts connections in order, so it has accepted `socket` before this one. A port that closes drops
    // connections that are not accepted yet.
    let _later = replica.connect("").await;
    replica.signal(Signal::TERM);
    until("the port to be closed", async || TcpStream::connect(&replica.address).await.is_err()).await;
    socket.write_all(b"Connection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("an answer", socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
}

#[tokio::test]
async fn streams_end_one_after_the_other() {
    let exchange = Exchange::start().await;
    let mut replica = embedded(&exchange, &SETTINGS).await;
    replica.priced().await;
    let mut clients = join_all((0..CLIENTS).map(|_| replica.connect("format=full"))).await;
    for client in &mut clients {
        tick(client).await;
    }
    let stopped = Instant::now();
    replica.signal(Signal::TERM);
    let observe = async {
        until("the replica to be unready", async || !replica.is_ready().await).await;
        // A load balancer that has not noticed this yet may still send clients.
        replica.connect("").await.text().await;
        assert!(stopped.elapsed() < DELAY, "the machine is too busy for this test");
        until("the port to be closed", async || TcpStream::connect(&replica.address).await.is_err()).await;
        stopped.elapsed()
    };
    let (mut ends, closed_after) = tokio::join!(join_all(clients.iter_mut().map(read_to_close)), observe);
    assert!(closed_after >= DELAY, "{closed_after:?}");
    let share = most_within(SPREAD / 4, &mut ends);
    let (first, last) = (ends[0] - stopped, ends[CLIENTS - 1] - stopped);
    eprintln!(
        "{CLIENTS} streams ended {first:?} to {last:?} after SIGTERM, at most {share} within a quarter of the spread"
    );
    assert!(first >= DELAY && last - first >= SPREAD.mul_f64(0.6), "from {first:?} to {last:?}");
    assert!(share <= CLIENTS / 2, "{share} of {CLIENTS} ended within a quarter of the spread");
    assert!(replica.exit().await.success());
}

#[tokio::test]
async fn second_signal_ends_the_replica_at_once() {
    let exchange = Exchange::start().await;
    let mut replica = embedded(&exchange, &[("BTCFEED_DRAIN_DELAY", "1h")]).await;
    replica.priced().await;
    replica.signal(Signal::TERM);
    until("the replica to be unready", async || !replica.is_ready().await).await;
    let signalled = Instant::now();
    replica.signal(Signal::INT);
    assert_eq!(replica.exit().await.code(), Some(130));
    assert!(signalled.elapsed() < Duration::from_secs(2), "{:?}", signalled.elapsed());
}

/// Follows the feed on any replica that accepts, until `stop`, and counts the connections. Returns the entries, and the
/// highest age of an entry at its arrival, in milliseconds.
async fn follow(first: usize, replicas: &[String], stop: &AtomicBool, reconnects: &AtomicUsize) -> (Vec<Value>, u64) {
    let (mut seen, mut oldest_ms, mut at) = (Vec::<Value>::new(), 0, first);
    loop {
        let after = seen.last().map(|entry| format!("&after={}", entry["id"])).unwrap_or_default();
        let url = format!("ws://{}/v1/ws?format=full{after}", replicas[at % replicas.len()]);
        if let Ok((socket, _)) = tokio_tungstenite::connect_async(&url).await {
            let mut client = Client::over(socket);
            let mut is_open = true;
            while is_open && !stop.load(Ordering::Relaxed) {
                match client.next().await {
                    Some(Message::Text(text)) => {
                        let message: Value = serde_json::from_str(&text).unwrap();
                        assert_ne!(message["type"], "gap", "{message}");
                        if message["type"] == "tick" || message["type"] == "status" {
                            let age = TickId::now().ms().saturating_sub(message["id"].as_u64().unwrap());
                            oldest_ms = oldest_ms.max(age);
                            seen.push(message);
                        }
                    }
                    Some(Message::Close(_)) | None => is_open = false,
                    Some(_) => {}
                }
            }
            reconnects.fetch_add(1, Ordering::Relaxed);
        }
        if stop.load(Ordering::Relaxed) {
            return (seen, oldest_ms);
        }
        at += 1;
    }
}

#[tokio::test]
async fn rolling_restart_loses_nothing() {
    let cluster = TestCluster::new().await;
    let addresses: Vec<_> = (0..3).map(|_| free_address()).collect();
    let start = async |number: usize| -> Replica {
        let name = format!("r{number}");
        let settings = [SETTINGS[1], ("BTCFEED_LISTEN", addresses[number].as_str())];
        cluster.replica(&name, &settings).await
    };
    let mut replicas = join_all((0..3).map(start)).await;
    until("a price", async || replicas[0].get("/v1/prices/latest").await.0 == 200).await;
    let (stop, reconnects) = (AtomicBool::new(false), AtomicUsize::new(0));
    let restart = async {
        for (number, replica) in replicas.iter_mut().enumerate() {
            replica.signal(Signal::TERM);
            assert!(replica.exit().await.success());
            *replica = start(number).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let clients = join_all((0..CLIENTS).map(|number| follow(number, &addresses, &stop, &reconnects)));
    let ((), clients) = soon("the restart", async { tokio::join!(restart, clients) }).await;
    let oldest_ms = clients.iter().map(|(_, oldest_ms)| *oldest_ms).max().unwrap();
    let fewest = clients.iter().map(|(seen, _)| unbroken(seen).len()).min().unwrap();
    let reconnects = reconnects.load(Ordering::Relaxed) - CLIENTS;
    eprintln!(
        "{reconnects} reconnects of {CLIENTS} clients, at least {fewest} entries each, none older than {oldest_ms} ms"
    );
    assert!(fewest > 10 && reconnects >= CLIENTS, "{fewest} entries, {reconnects} reconnects");
    assert!(oldest_ms < 2000, "an entry was {oldest_ms} ms old when it arrived");
}
