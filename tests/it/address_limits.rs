//! Limits of each client address. An attacker uses one address and honest clients use others, directly and through
//! nginx.

use crate::support::client::Client;
use crate::support::events::Events;
use crate::support::exchange::Exchange;
use crate::support::grpc::{Subscriber, client, pb, request};
use crate::support::nginx::Nginx;
use crate::support::replica::Replica;
use crate::support::tls::Authority;
use crate::support::{SERVE, TestCluster, embedded, http_from, soon, tick, until};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;

const ATTACKER: &str = "127.0.0.2";
const HONEST: &str = "127.0.0.1";

fn stream(replica: &Replica) -> String {
    format!("ws://{}/v1/ws", replica.address)
}

#[tokio::test]
async fn one_address_leaves_places_for_others() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_MAX_CONNECTIONS", "9"), ("BTCFEED_ADDRESS_CONNECTIONS", "4")];
    let replica = embedded(&exchange, &settings).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(Client::try_from(ATTACKER, &stream(&replica)).await.unwrap());
    }
    // The attacker cannot open another stream, and each kind of client gets the reason.
    let message = "too many open connections and requests from your address";
    let (status, problem) = Client::try_from(ATTACKER, &stream(&replica)).await.map(drop).unwrap_err();
    assert!(status == 429 && problem.contains(message), "{status} {problem}");
    let url = format!("http://{}/v1/prices/stream", replica.address);
    let answer = soon("an answer", http_from(ATTACKER).get(&url).send()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    let events = http_from(ATTACKER).get(&url).header("Accept", "text/event-stream");
    let answer = soon("an answer", events.send()).await.unwrap();
    assert_eq!(answer.status(), 200, "an EventSource gives up after any other status");
    let text = soon("a goodbye", answer.text()).await.unwrap();
    assert!(text.contains("event: goodbye") && text.contains(message), "{text}");
    // Meanwhile, clients at other addresses can open streams over each transport.
    Client::try_from(HONEST, &stream(&replica)).await.unwrap().text().await;
    Events::connect(&url, &[]).await.update().await;
    Subscriber::connect(&replica.address, request(&["USD"], None)).await;
    // When one of the attacker's streams has ended, the attacker can open another one.
    held.pop();
    until("a free place", async || Client::try_from(ATTACKER, &stream(&replica)).await.is_ok()).await;
}

/// Opens a socket from this address.
async fn socket_from(from: &str, replica: &Replica) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(replica.socket_address()).await.unwrap()
}

#[tokio::test]
async fn limits_count_clients_with_tls() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let [(cert, cert_path), (key, key_path)] = &authority.settings();
    let settings = [("BTCFEED_ADDRESS_CONNECTIONS", "4"), (*cert, cert_path.as_str()), (*key, key_path.as_str())];
    let replica = embedded(&exchange, &settings).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let stream = authority.connect_over(socket_from(ATTACKER, &replica).await).await;
        held.push(authority.websocket_over(stream, "").await);
    }
    let status = async |from: &str| {
        let client = authority.http().local_address(Some(from.parse().unwrap())).build().unwrap();
        let request = client.get(format!("https://{}/openapi.json", replica.address));
        soon("an answer", request.send()).await.unwrap().status()
    };
    assert_eq!(status(ATTACKER).await, 429);
    assert_eq!(status(HONEST).await, 200);
    held.clear();
    until("a free place", async || status(ATTACKER).await == 200).await;
    // A connection whose handshake has not begun also counts for its address.
    let mut waiting = Vec::new();
    until("a refusal", async || {
        waiting.push(socket_from(ATTACKER, &replica).await);
        status(ATTACKER).await == 429
    })
    .await;
    assert_eq!(status(HONEST).await, 200);
    drop(waiting);
    until("a free place", async || status(ATTACKER).await == 200).await;
}

#[tokio::test]
async fn reconnecting_does_not_get_around_the_rate() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_ADDRESS_RATE", "1")]).await;
    let (mut served, mut refused) = (0, Vec::new());
    let url = format!("http://{}/v1/prices/latest?format=full", replica.address);
    until("a price", async || http_from(HONEST).get(&url).send().await.unwrap().status() == 200).await;
    for _ in 0..20 {
        let answer = soon("an answer", http_from(ATTACKER).get(&url).send()).await.unwrap();
        match answer.status().as_u16() {
            200 => served += 1,
            status => {
                let retry_after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
                refused.push((status, retry_after, problem["status"].as_u64().unwrap()));
            }
        }
    }
    assert!((10..15).contains(&served), "{served} requests were served");
    assert!(refused.iter().all(|refusal| *refusal == (429, 1, 429)), "{refused:?}");
    assert_eq!(http_from("127.0.0.3").get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn clients_behind_nginx_count_separately() {
    let cluster = TestCluster::new().await;
    let settings = [("BTCFEED_TRUSTED_PROXIES", "127.0.0.1"), ("BTCFEED_ADDRESS_CONNECTIONS", "3")];
    let replica = cluster.replica("r1", &settings).await;
    let nginx = Nginx::start(&[&replica.address]).await;
    let url = format!("ws://{}/v1/ws", nginx.address);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Client::try_from(ATTACKER, &url).await.unwrap());
    }
    let (status, problem) = Client::try_from(ATTACKER, &url).await.map(drop).unwrap_err();
    assert!(status == 429 && problem.contains("from your address"), "{status} {problem}");
    // A header that the attacker sends does not change the attacker's address.
    let latest = format!("http://{}/v1/prices/latest", nginx.address);
    for header in ["X-Forwarded-For", "Forwarded"] {
        let request = http_from(ATTACKER).get(&latest).header(header, "for=198.51.100.7");
        assert_eq!(soon("an answer", request.send()).await.unwrap().status(), 429, "{header}");
    }
    let request = http_from(ATTACKER).get(&latest).header("X-Forwarded-For", "198.51.100.7");
    assert_eq!(soon("an answer", request.send()).await.unwrap().status(), 429);
    // Others behind the same nginx are not affected.
    Client::try_from("127.0.0.3", &url).await.unwrap().text().await;
    // The header is ignored if the client connects without nginx.
    let direct = format!("http://{}/v1/prices/latest", replica.address);
    let request = http_from("127.0.0.3").get(&direct).header("X-Forwarded-For", ATTACKER);
    assert_eq!(soon("an answer", request.send()).await.unwrap().status(), 200);
    held.pop();
    until("a free place", async || Client::try_from(ATTACKER, &url).await.is_ok()).await;
}

#[tokio::test]
async fn one_address_gets_only_its_volume_of_history() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(100).await;
    let replica = cluster.replica("r1", &[SERVE, ("BTCFEED_ADDRESS_VOLUME", "60")]).await;
    let page = format!("http://{}/v1/prices?limit=50", replica.address);
    let ask = async |from: &str| soon("an answer", http_from(from).get(&page).send()).await.unwrap();
    assert_eq!(ask(ATTACKER).await.status(), 200);
    let answer = ask(ATTACKER).await;
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((30..=60).contains(&wait), "{wait} s");
    // A replay counts like a page, over WebSocket and as server-sent events.
    let message = "too much history and too many replays for your address";
    let (status, problem) = Client::try_from(ATTACKER, &format!("{}?since=0", stream(&replica))).await.err().unwrap();
    assert!(status == 429 && problem.contains(message), "{status} {problem}");
    let replay = format!("http://{}/v1/prices/stream?since=0", replica.address);
    let request = http_from(ATTACKER).get(replay).header("Accept", "text/event-stream");
    let text = soon("a goodbye", soon("an answer", request.send()).await.unwrap().text()).await.unwrap();
    assert!(text.contains("event: goodbye") && text.contains(message), "{text}");
    let retry_ms: u64 = text.strip_prefix("retry: ").unwrap().lines().next().unwrap().parse().unwrap();
    assert!(retry_ms >= 30_000, "an EventSource also waits until it may ask again: {text}");
    // Live streams need no history. Other addresses have their own volume.
    Client::try_from(ATTACKER, &stream(&replica)).await.unwrap().text().await;
    assert_eq!(ask("127.0.0.3").await.status(), 200);
    let mut grpc = client(&replica.address).await;
    let request = || pb::ListPricesRequest { page_size: 50, ..pb::ListPricesRequest::default() };
    soon("a page", grpc.list_prices(request())).await.unwrap();
    let status = soon("a status", grpc.list_prices(request())).await.unwrap_err();
    assert!(status.code() == Code::ResourceExhausted && status.message().contains(message), "{status}");
}

#[tokio::test]
async fn unread_pages_leave_reads_for_others() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(60_000).await;
    let replica = cluster.replica("r1", &[SERVE, ("BTCFEED_ADDRESS_READS", "2"), ("BTCFEED_WRITE_STALL", "1m")]).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind(format!("{ATTACKER}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(replica.socket_address()).await.unwrap();
        stream.write_all(b"GET /v1/prices?limit=100000&format=full HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        soon("a response", stream.read_u8()).await.unwrap();
        held.push(stream);
    }
    let candles = format!("http://{}/v1/candles?limit=1", replica.address);
    let answer = soon("an answer", http_from(ATTACKER).get(&candles).send()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "2"));
    assert_eq!(soon("an answer", http_from(HONEST).get(&candles).send()).await.unwrap().status(), 200);
    drop(held);
    let again = async || http_from(ATTACKER).get(&candles).send().await.unwrap().status() == 200;
    until("a free place", again).await;
}

#[tokio::test]
async fn invented_client_ids_are_limited_and_expire() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[("BTCFEED_ADDRESS_CLIENT_IDS", "3"), ("BTCFEED_CLIENT_IDS", "5")]).await;
    let connect = async |from: &str, number: u32| {
        let url = format!("{}?format=full&client_id={number:02}.4f9b2c71d0e85a36-7c1e", stream(&replica));
        Client::try_from(from, &url).await
    };
    let mut keys = redis::cmd("KEYS");
    let mut redis = cluster.redis.connection().await;
    keys.arg("{btcfeed}:client:*");
    for number in 0..3 {
        tick(&mut connect(ATTACKER, number).await.unwrap()).await;
        // A client_id with a bookmark is no longer new.
        until("its bookmark", async || {
            let found: Vec<String> = keys.query_async(&mut redis).await.unwrap();
            found.len() > usize::try_from(number).unwrap()
        })
        .await;
    }
    let (status, problem) = connect(ATTACKER, 3).await.err().unwrap();
    assert!(status == 429 && problem.contains("too many new client_ids from your address"), "{status} {problem}");
    tick(&mut connect(ATTACKER, 0).await.unwrap()).await;
    // Other addresses can still use new ones, up to the limit of all addresses.
    connect("127.0.0.3", 4).await.unwrap();
    connect("127.0.0.4", 5).await.unwrap();
    let (status, problem) = connect("127.0.0.5", 6).await.err().unwrap();
    assert!(status == 503 && problem.contains("too many new client_ids"), "{status} {problem}");
    let found: Vec<String> = keys.query_async(&mut redis).await.unwrap();
    assert!(found.len() <= 5, "{found:?}");
    for key in found {
        let expires: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
        assert!(expires > 0, "{key} never expires");
    }
    // A client_id that others could guess is rejected.
    let (status, problem) = Client::rejected(&format!("{}?client_id=shop-7", stream(&replica))).await;
    assert!(status == 400 && problem.contains("such as a UUID"), "{status} {problem}");
}

#[tokio::test]
async fn limits_count_over_all_replicas() {
    let mut cluster = TestCluster::new().await;
    cluster.redis.fill(100).await;
    let settings = [SERVE, ("BTCFEED_ADDRESS_CONNECTIONS", "4"), ("BTCFEED_ADDRESS_VOLUME", "51")];
    let (one, other) = (cluster.replica("r1", &settings).await, cluster.replica("r2", &settings).await);
    let mut held = Vec::new();
    for replica in [&one, &other, &one, &other] {
        held.push(Client::try_from(ATTACKER, &stream(replica)).await.unwrap());
    }
    let message = "too many open connections and requests from your address";
    for replica in [&one, &other] {
        until("a rejection", async || match Client::try_from(ATTACKER, &stream(replica)).await {
            Ok(_) => false,
            Err((status, problem)) => status == 429 && problem.contains(message),
        })
        .await;
    }
    Client::try_from(HONEST, &stream(&one)).await.unwrap();
    // What an address has read from one replica counts on the other one, too. The first replica reports the volume
    // together with the connections of the address. So when the other replica rejects the address because of its idle
    // connections, the volume has also arrived.
    let reader = "127.0.0.3";
    let page = |replica: &Replica| format!("http://{}/v1/prices?limit=50", replica.address);
    assert_eq!(http_from(reader).get(page(&one)).send().await.unwrap().status(), 200);
    let latest = format!("http://{}/v1/prices/latest", other.address);
    let is_rejected = async || http_from(reader).get(&latest).send().await.unwrap().status() == 429;
    let mut idle = Vec::new();
    soon("a report", async {
        while !is_rejected().await {
            idle.push(socket_from(reader, &one).await);
        }
    })
    .await;
    drop(idle);
    until("a free place", async || !is_rejected().await).await;
    let answer = http_from(reader).get(page(&other)).send().await.unwrap();
    assert!(answer.status() == 429 && answer.text().await.unwrap().contains("too much history"));
    assert_eq!(http_from(HONEST).get(page(&other)).send().await.unwrap().status(), 200);
    // Without Redis, each replica has its own limits.
    held.clear();
    soon("four places", async {
        while held.len() < 4 {
            held.extend(Client::try_from(ATTACKER, &stream(&one)).await);
        }
    })
    .await;
    until("a report", async || Client::try_from(ATTACKER, &stream(&other)).await.is_err()).await;
    cluster.redis.kill().await;
    until("a place", async || Client::try_from(ATTACKER, &stream(&other)).await.is_ok()).await;
}
