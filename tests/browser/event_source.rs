//! Chromium's own `EventSource`, which knows nothing of the feed: what it does by itself has to be enough.

use super::driver::Browser;
use crate::support::exchange::Exchange;
use crate::support::nginx::Nginx;
use crate::support::replica::Replica;
use crate::support::{TestCluster, embedded, replica_settings, unbroken, until};
use rustix::process::Signal;
use serde_json::Value;

/// What is asked for: everything from the beginning on, which a client that did not say what it saw last would get twice.
const STREAM: &str = "/v1/prices/stream?format=full&since=0&hello=true";

/// Begins to read in the page, and keeps what comes.
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

/// The data of the events of some types that have come.
async fn seen(browser: &Browser, types: &[&str]) -> Vec<Value> {
    let events = browser.run("return seen").await;
    let events = events.as_array().unwrap().iter().filter(|event| types.iter().any(|of| event["type"] == *of));
    events.map(|event| serde_json::from_str(event["data"].as_str().unwrap()).unwrap()).collect()
}

/// The entries that have come; nothing was told to be missing.
async fn entries(browser: &Browser) -> Vec<Value> {
    assert_eq!(seen(browser, &["gap"]).await, [] as [Value; 0]);
    seen(browser, &["message", "status"]).await
}

async fn until_more(browser: &Browser) {
    let before = entries(browser).await.len();
    until("three more updates", async || entries(browser).await.len() >= before + 3).await;
}

/// Whether it connects or waits to, is open, or has given up for good (HTML Living Standard §9.2.2).
async fn state(browser: &Browser) -> Value {
    browser.run("return ['connecting', 'open', 'closed'][source.readyState]").await
}

#[tokio::test]
async fn it_loses_its_replica_and_resumes_by_itself_with_nothing_lost_or_doubled() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 3] = cluster.replicas().await;
    let nginx = Nginx::start(&replicas.each_ref().map(|replica| replica.address.as_str())).await;
    // Not the page, which would read too.
    let browser = Browser::open(&format!("http://{}/btcfeed.js", nginx.address)).await;
    listen(&browser, STREAM).await;
    until_more(&browser).await;
    let serving = async || {
        let hellos = seen(&browser, &["hello"]).await;
        hellos.last().unwrap()["replica"].as_str().unwrap()[1..].parse::<usize>().unwrap() - 1
    };
    // One stops, which says goodbye, and one dies.
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
async fn one_that_comes_too_early_is_told_goodbye_and_lives_on_until_there_are_prices() {
    let mut cluster = TestCluster::new().await;
    cluster.redis.kill().await;
    let settings = replica_settings(&cluster.exchange, "r1", &[("REDIS_URL", &cluster.redis.url())]);
    let replica = Replica::start_unready(&settings).await;
    let browser = Browser::open(&format!("http://{}/btcfeed.js", replica.address)).await;
    listen(&browser, STREAM).await;
    until("a goodbye", async || !seen(&browser, &["goodbye"]).await.is_empty()).await;
    assert_eq!(seen(&browser, &["goodbye"]).await[0]["reason"], "unavailable");
    until("it to wait", async || state(&browser).await == "connecting").await;
    cluster.redis.run().await;
    replica.priced().await;
    until_more(&browser).await;
    unbroken(&entries(&browser).await);
}

#[tokio::test]
async fn one_of_another_origin_waits_for_a_place_and_reads_or_is_kept_out_where_it_is_not_wanted() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_MAX_CONNECTIONS", "1")]).await;
    let taken = replica.connect("").await;
    let browser = Browser::open(&format!("http://{}/livez", replica.ops)).await;
    listen(&browser, &format!("http://{}{STREAM}", replica.address)).await;
    until("a goodbye", async || !seen(&browser, &["goodbye"]).await.is_empty()).await;
    until("it to wait", async || state(&browser).await == "connecting").await;
    drop(taken);
    until_more(&browser).await;
    unbroken(&entries(&browser).await);

    let replica = embedded(&exchange, &[("BTCFEED_CORS_ORIGINS", "https://a.example")]).await;
    listen(&browser, &format!("http://{}{STREAM}", replica.address)).await;
    until("it to give up", async || state(&browser).await == "closed").await;
    assert_eq!(browser.run("return seen").await, Value::Array(vec![]));
}
