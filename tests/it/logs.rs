//! The log: a fault names the address, the cause and what happens next, at a bounded rate.

use crate::support::exchange::{Exchange, Mode};
use crate::support::ports::free_address;
use crate::support::replica::Replica;
use crate::support::{TestCluster, embedded, replica_settings, until};
use serde_json::Value;

const JSON: (&str, &str) = ("BTCFEED_LOG_FORMAT", "json");

/// Returns the lines of a log with this message about a source.
fn about(replica: &Replica, message: &str, source: &str) -> Vec<Value> {
    replica.logged(message).into_iter().filter(|line| line["source"] == source).collect()
}

/// Asserts that these are lines of which one is enough, with a field that contains this text, and the next step.
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
    assert_one(&unused, "reason", "the time of its price is ");

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
    assert_one(&lines(), "reason", " USD is too far from the median ");
}

#[tokio::test]
async fn unreachable_redis_names_address_and_cause() {
    let mut cluster = TestCluster::new().await;
    let port = cluster.redis.port;
    let mut command = redis::cmd("ACL");
    command.arg(&["SETUSER", "known", "on", ">pw", "~*", "&*", "+@all"]);
    command.query_async::<()>(&mut cluster.redis.connection().await).await.unwrap();
    let absent = free_address();
    for (url, text) in [
        (format!("redis://known:secret-word@127.0.0.1:{port}"), format!("127.0.0.1:{port}: password: ")),
        (format!("redis://{absent}"), format!("{absent}: connect: Connection refused")),
        ("redis://no-such-host.invalid:7000".to_owned(), "no-such-host.invalid:7000: DNS: ".to_owned()),
    ] {
        let settings = replica_settings(&cluster.exchange, "r1", &[JSON, ("REDIS_URL", &url)]);
        let replica = Replica::start_unready(&settings).await;
        let lines = || replica.logged("cannot follow the store, retrying");
        until("a line", async || !lines().is_empty()).await;
        // The next attempts, which begin after at most 2 s, repeat the line only after a minute.
        until("some time", async || replica.json("/v1/status").await["uptime_s"].as_u64().unwrap() > 4).await;
        let lines = lines();
        let error = lines[0]["error"].as_str().unwrap();
        assert!(lines.len() == 1 && error.contains(&text) && !error.contains("secret-word"), "{text}: {lines:?}");
    }
    let replica = cluster.replica("r1", &[JSON]).await;
    replica.priced().await;
    cluster.redis.kill().await;
    let lines = || replica.logged("cannot renew the lease, keeping ticks until the store is available");
    until("a line about the lease", async || !lines().is_empty()).await;
    assert!(lines()[0]["error"].as_str().unwrap().contains(&format!("127.0.0.1:{port}: ")), "{:?}", lines());
}
