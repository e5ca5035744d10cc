//! The log. A line about a fault names the address, the cause and what happens next. A fault that lasts is logged at a
//! bounded rate.

use crate::support::exchange::{Exchange, Mode};
use crate::support::frames;
use crate::support::ports::free_address;
use crate::support::replica::Replica;
use crate::support::{TestCluster, embedded, replica_settings, until};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const JSON: (&str, &str) = ("BTCFEED_LOG_FORMAT", "json");

/// Returns the lines of a log with this message about a source.
fn about(replica: &Replica, message: &str, source: &str) -> Vec<Value> {
    replica.logged(message).into_iter().filter(|line| line["source"] == source).collect()
}

/// Asserts that there is exactly one line, that it is a warning whose `field` contains `text`, and that it says what
/// happens next.
fn assert_one(lines: &[Value], field: &str, text: &str) {
    assert_eq!(lines.len(), 1, "{text}: {lines:?}");
    assert!(lines[0][field].as_str().is_some_and(|found| found.contains(text)), "{text}: {lines:?}");
    assert!(lines[0]["next"].as_str().is_some_and(|next| next.len() > 10), "{text}: {lines:?}");
    assert_eq!(lines[0]["level"], "WARN");
}

#[tokio::test]
async fn source_faults_name_address_and_next_step() {
    let exchange = Exchange::start().await;
    exchange.set("coinbase", Mode::Status(503, None));
    exchange.set("bitstamp", Mode::Old);
    let absent = free_address();
    let nowhere = format!("http://user:secret-word@{absent}/x");
    let replica = embedded(&exchange, &[JSON, ("BTCFEED_SOURCE_KRAKEN_URL", &nowhere)]).await;
    until("many polls", async || exchange.requests("bitstamp", "").len() > 30).await;
    let failed = |source| about(&replica, "source failed", source);
    assert_one(&failed("kraken"), "cause", &format!("{absent}: connect: Connection refused"));
    assert_one(&failed("coinbase"), "cause", ": HTTP 503 Service Unavailable");
    assert!(!format!("{:?}", failed("kraken")).contains("secret-word"));
    let unused = about(&replica, "an answer of a source is not used", "bitstamp");
    assert_one(&unused, "reason", "old: its time is ");

    exchange.set("coinbase", Mode::Good);
    until("the recovery", async || about(&replica, "source recovered", "coinbase").len() == 1).await;
}

#[tokio::test]
async fn outlier_is_a_log_line() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[JSON]).await;
    replica.priced().await;
    exchange.set("kraken", Mode::Price("1.00"));
    let lines = || about(&replica, "an answer of a source is not used", "kraken");
    until("a line", async || !lines().is_empty()).await;
    let polls = exchange.requests("kraken", "").len();
    until("ten more polls", async || exchange.requests("kraken", "").len() > polls + 20).await;
    assert_one(&lines(), "reason", "outlier: 100 % away from the median ");
}

#[tokio::test]
async fn unreachable_redis_names_address_and_cause() {
    let mut cluster = TestCluster::new().await;
    let port = cluster.redis.port;
    let mut command = redis::cmd("ACL");
    command.arg(&["SETUSER", "known", "on", ">pw", "~*", "&*", "+@all"]);
    command.query_async::<()>(&mut cluster.redis.connection().await).await.unwrap();
    let absent = free_address();
    let run = async |(url, text): (String, String)| {
        let settings = replica_settings(&cluster.exchange, "r1", &[JSON, ("REDIS_URL", &url)]);
        let replica = Replica::start_unready(&settings).await;
        let lines = || replica.logged("cannot follow the store, retrying");
        until("a line", async || !lines().is_empty()).await;
        // Further attempts fail in this time. The log repeats the line only after a minute.
        until("some time", async || replica.json("/v1/status").await["uptime_s"].as_u64().unwrap() > 4).await;
        let lines = lines();
        assert_one(&lines, "error", &text);
        assert!(!format!("{lines:?}").contains("secret-word"), "{lines:?}");
    };
    let cases = [
        (format!("redis://known:secret-word@127.0.0.1:{port}"), format!("127.0.0.1:{port}: password: ")),
        (format!("redis://{absent}"), format!("{absent}: connect: Connection refused")),
        ("redis://no-such-host.invalid:7000".to_owned(), "no-such-host.invalid:7000: DNS: ".to_owned()),
    ];
    join_all(cases.map(run)).await;
    let replica = cluster.replica("r1", &[JSON]).await;
    replica.priced().await;
    cluster.redis.kill().await;
    let lines = || replica.logged("cannot renew the lease, keeping ticks until the store is available");
    until("a line about the lease", async || !lines().is_empty()).await;
    assert_one(&lines(), "error", &format!("127.0.0.1:{port}: "));
}

#[tokio::test]
async fn line_at_start_says_what_is_served() {
    let exchange = Exchange::start().await;
    for (sources, simulated) in [("kraken,bitstamp", false), ("simulated", true)] {
        let settings = [JSON, ("BTCFEED_SOURCES", sources), ("BTCFEED_CURRENCIES", "EUR")];
        let replica = embedded(&exchange, &settings).await;
        let lines = replica.logged("starting");
        let expected = json!([env!("CARGO_PKG_VERSION"), "r1", "memory", sources, "EUR", simulated]);
        let fields = ["version", "replica", "store", "sources", "currencies", "simulated"].map(|name| &lines[0][name]);
        assert_eq!((lines.len(), json!(fields)), (1, expected), "{lines:?}");
    }
}

#[tokio::test]
async fn refusals_name_the_limit_and_an_address() {
    let exchange = Exchange::start().await;
    let limits = [("BTCFEED_MAX_CONNECTIONS", "2"), ("BTCFEED_ADDRESS_CONNECTIONS", "2")];
    let replica = embedded(&exchange, &[JSON, limits[0], limits[1]]).await;
    let warning = "one address can use all connections, set BTCFEED_ADDRESS_CONNECTIONS to fewer";
    assert_eq!(replica.logged(warning).len(), 1);
    let _held = [replica.connect("").await, replica.connect("").await];
    until("a refusal", async || matches!(replica.get("/v1/prices/latest").await.0, 429 | 503)).await;
    let lines = || replica.logged("refused clients over a limit");
    until("a line", async || !lines().is_empty()).await;
    let fields = ["level", "limit", "refusals", "example"].map(|name| lines()[0][name].clone());
    assert_eq!(json!(fields), json!(["WARN", "address_connections", 1, "127.0.0.1"]));
}

#[tokio::test]
async fn line_about_unread_response_has_request_id() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[JSON, ("BTCFEED_WRITE_STALL", "1s")]).await;
    // HTTP/1: the socket is full. HTTP/2: the client has opened no window.
    let mut socket = TcpStream::connect(&replica.address).await.unwrap();
    let docs = "GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-Request-Id: unread-1\r\n\r\n".repeat(100);
    let head: (&str, &str) = ("x-request-id", "unread-2");
    let mut http2 = frames::preface(0);
    frames::request(&mut http2, 1, "/openapi.json", &[head]);
    let mut other = TcpStream::connect(&replica.address).await.unwrap();
    other.write_all(&http2).await.unwrap();
    socket.write_all(docs.as_bytes()).await.unwrap();
    for (message, id) in [
        ("connection closed: the client reads nothing", "unread-1"),
        ("stream reset: the client reads nothing", "unread-2"),
    ] {
        until("a line", async || replica.logged(message).iter().any(|line| line["request_id"] == id)).await;
    }
}
