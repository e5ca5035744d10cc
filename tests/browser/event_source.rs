//! Chromium's own `EventSource`: its standard behaviour must be enough to lose nothing.

use super::driver::Browser;
use crate::support::exchange::Exchange;
use crate::support::nginx::Nginx;
use crate::support::replica::Replica;
use crate::support::{TestCluster, embedded, replica_settings, unbroken, until};
use rustix::process::Signal;
use serde_json::Value;

/// The stream from the start of the feed. If a client did not send its last id when it reconnects, it would get
/// everything twice.
const STREAM: &str = "/v1/prices/stream?format=full&since=0&hello=true";

/// Opens a stream in the page, and records its events.
async fn listen(browser: &Browser, url: &str) {
    let script = format!(
        "window.source?.close()
         window.seen = []
         window.source = new EventSource('{url}')
         const keep = ({{ type, data, lastEventId }}) => seen.push({{ type, data, lastEventId }})
         for (const type of ['message', 'status', 'gap', 'hello', 'goodbye']) source.addEventListener(type, keep)"
    );
    browser.run(&script).await;
}

/// Returns the data of the recorded events of these types.
async fn seen(browser: &Browser, types: &[&str]) -> Vec<Value> {
    let events = browser.run("return seen").await;
    let events = events.as_array().unwrap().iter().filter(|event| types.iter().any(|of| event["type"] == *of));
    events.map(|event| serde_json::from_str(event["data"].as_str().unwrap()).unwrap()).collect()
}

/// Returns the recorded entries. There must be no gap.
async fn entries(browser: &Browser) -> Vec<Value> {
    assert_eq!(seen(browser, &["gap"]).await, [] as [Value; 0]);
    seen(browser, &["message", "status"]).await
}

async fn until_more(browser: &Browser) {
    let before = entries(browser).await.len();
    until("three more updates", async || entries(browser).await.len() >= before + 3).await;
}

/// Returns the state of the stream (HTML Living Standard §9.2.2): `connecting` includes the time before a reconnect,
/// and `closed` is permanent.
async fn state(browser: &Browser) -> Value {
    browser.run("return ['connecting', 'open', 'closed'][source.readyState]").await
}

#[tokio::test]
async fn event_source_resumes_on_another_replica() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 3] = cluster.replicas().await;
    let nginx = Nginx::start(&replicas.each_ref().map(|replica| replica.address.as_str())).await;
    // The browser opens a script as text instead of the page, because the page would open a stream itself.
    let browser = Browser::open(&format!("http://{}/btcfeed.js", nginx.address)).await;
    listen(&browser, STREAM).await;
    until_more(&browser).await;
    let serving = async || {
        let hellos = seen(&browser, &["hello"]).await;
        hellos.last().unwrap()["replica"].as_str().unwrap()[1..].parse::<usize>().unwrap() - 1
    };
    // The first replica is stopped and sends a goodbye. The second one is killed.
    for signal in [Signal::TERM, Signal::KILL] {
        let lost = serving().await;
        replicas[lost].signal(signal);
        until("another replica", async || serving().await != lost).await;
        until_more(&browser).await;
    }
    assert_eq!(seen(&browser, &["goodbye"]).await[0]["reason"], "draining");
    let entries = entries(&browser).await;
    unbroken(&entries);
    let history = replicas[serving().await].history_with(entries.last().unwrap()).await;
    assert_eq!(history[..entries.len()], entries);
}

#[tokio::test]
async fn event_source_retries_an_unready_replica() {
    let mut cluster = TestCluster::new().await;
    cluster.redis.kill().await;
    let settings = replica_settings(&cluster.exchange, "r1", &[("REDIS_URL", &cluster.redis.url())]);
    let replica = Replica::start_unready(&settings).await;
    let browser = Browser::open(&format!("http://{}/btcfeed.js", replica.address)).await;
    listen(&browser, STREAM).await;
    until("a goodbye", async || !seen(&browser, &["goodbye"]).await.is_empty()).await;
    assert_eq!(seen(&browser, &["goodbye"]).await[0]["reason"], "unavailable");
    until("a reconnect", async || state(&browser).await == "connecting").await;
    cluster.redis.run().await;
    replica.priced().await;
    until_more(&browser).await;
    unbroken(&entries(&browser).await);
}

#[tokio::test]
async fn event_source_of_another_origin_obeys_cors() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_MAX_CONNECTIONS", "1")]).await;
    let taken = replica.connect("").await;
    let browser = Browser::open(&format!("http://{}/livez", replica.ops)).await;
    listen(&browser, &format!("http://{}{STREAM}", replica.address)).await;
    until("a goodbye", async || !seen(&browser, &["goodbye"]).await.is_empty()).await;
    until("a reconnect", async || state(&browser).await == "connecting").await;
    drop(taken);
    until_more(&browser).await;
    unbroken(&entries(&browser).await);

    let replica = embedded(&exchange, &[("BTCFEED_CORS_ORIGINS", "https://a.example")]).await;
    listen(&browser, &format!("http://{}{STREAM}", replica.address)).await;
    until("the end", async || state(&browser).await == "closed").await;
    assert_eq!(browser.run("return seen").await, Value::Array(vec![]));
}
