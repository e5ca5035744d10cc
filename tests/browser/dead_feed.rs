//! A feed without ticks: the log, the metrics, `/v1/status` and the page of each replica report it in time.

use super::driver::Browser;
use crate::support::client::Client;
use crate::support::exchange::Mode;
use crate::support::nginx::Nginx;
use crate::support::proxy::Proxy;
use crate::support::replica::Replica;
use crate::support::{TestCluster, entries, tick, until};
use btcfeed::tick::TickId;
use std::time::Duration;
use tokio::time::timeout;

/// Each state, its name on the page, and the age of the newest tick above which the feed is in this state.
const BOUNDS: [(&str, &str, Duration); 2] =
    [("stale", "Stale", Duration::from_secs(4)), ("down", "Down", Duration::from_secs(12))];
/// Maximum time from the moment when a state begins until all signals report it.
const IN_TIME: Duration = Duration::from_secs(5);
const SETTINGS: [(&str, &str); 4] = [
    ("BTCFEED_INTERVAL", "500ms"),
    ("BTCFEED_STALE_AFTER", "4s"),
    ("BTCFEED_DOWN_AFTER", "12s"),
    ("BTCFEED_LOG_FORMAT", "json"),
];

/// Returns the number of log lines of a replica about this state.
fn lines(replica: &Replica, state: &str) -> usize {
    replica.logged(&format!("the feed is {state}")).len()
}

/// Returns the status code of `/v1/status` and the state in the report.
async fn status(replica: &Replica) -> (u16, String) {
    let (code, body) = replica.get("/v1/status").await;
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    (code, report["state"].as_str().unwrap().to_owned())
}

/// Waits until the four signals of a replica report each state, and checks that they do so in time after the tick
/// `last`, which is the newest one.
async fn reports(replica: &Replica, browser: &Browser, last: u64) {
    let known = BOUNDS.map(|(state, ..)| lines(replica, state));
    for ((state, shown, bound), known) in BOUNDS.into_iter().zip(known) {
        let in_time = |signal: &str| {
            let age = Duration::from_millis(TickId::now().ms() - last);
            println!("{}: {signal} reports {state} {:.1?} after the last tick", replica.address, age);
            assert!(age <= bound + IN_TIME, "{signal} reports {state} {age:?} after the last tick");
        };
        let log = async {
            until("a log line", async || lines(replica, state) > known).await;
            in_time("the log");
        };
        let metric = async {
            let series = format!("btcfeed_feed_state{{state=\"{state}\"}}");
            until("the metric", async || replica.metric(&series).await == 1.0).await;
            in_time("the metric");
        };
        let report = async {
            until("/v1/status", async || status(replica).await == (503, state.to_owned())).await;
            in_time("/v1/status");
        };
        let page = async {
            browser.until_text("#state", |text| text == shown).await;
            in_time("the page");
        };
        tokio::join!(log, metric, report, page);
    }
}

/// Opens the page of a replica, and waits until it is live.
async fn open(replica: &Replica) -> Browser {
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    browser
}

/// Reads a stream until no tick comes for two seconds. Returns the id of the last tick.
async fn last_tick(client: &mut Client) -> u64 {
    let mut last = tick(client).await;
    while let Ok(next) = timeout(Duration::from_secs(2), tick(client)).await {
        last = next;
    }
    last["id"].as_u64().unwrap()
}

#[tokio::test]
async fn dead_feed_shows_on_every_replica() {
    let cluster = TestCluster::new().await;
    let replicas = [cluster.replica("r1", &SETTINGS).await, cluster.replica("r2", &SETTINGS).await];
    let browsers = [open(&replicas[0]).await, open(&replicas[1]).await];
    let mut client = replicas[0].connect("format=full").await;
    cluster.exchange.set_all(&Mode::Status(500, None));
    let last = last_tick(&mut client).await;
    tokio::join!(reports(&replicas[0], &browsers[0], last), reports(&replicas[1], &browsers[1], last));
}

#[tokio::test]
async fn only_the_replica_without_redis_is_down() {
    let cluster = TestCluster::new().await;
    let leader = cluster.replica("r1", &SETTINGS).await;
    assert_eq!(cluster.leader().await, "r1");
    let proxy = Proxy::start(cluster.redis.port).await;
    let url = proxy.url();
    let settings = [&SETTINGS[..], &[("REDIS_URL", &url), ("BTCFEED_ROLE", "serve")]].concat();
    let cut_off = cluster.replica("r2", &settings).await;
    let mut client = cut_off.connect("format=full").await;
    entries(&mut client, 2).await;
    // After this outage, `live` is the newest status of the feed. No other status follows in this test.
    cluster.exchange.set_all(&Mode::Status(500, None));
    until("the feed to be stale", async || client.json().await["state"] == "stale").await;
    // A replica checks the feed once a second, so it can miss an outage that is shorter than a second.
    until("a log line", async || lines(&leader, "stale") == 1).await;
    cluster.exchange.set_all(&Mode::Good);
    until("the feed to be live", async || client.json().await["state"] == "live").await;
    let browsers = [open(&leader).await, open(&cut_off).await];
    let known = lines(&cut_off, "live");
    // The test has not read from the first client meanwhile, so that client has not answered pings.
    let mut client = cut_off.connect("format=full").await;
    proxy.cut();
    let last = last_tick(&mut client).await;
    reports(&cut_off, &browsers[1], last).await;
    let reason = "The server cannot reach its store.";
    browsers[1].until_text("#trouble", |text| text.contains(reason)).await;
    // The leader still reaches Redis, so it reports that the feed is live.
    assert_eq!(status(&leader).await, (200, "live".to_owned()));
    assert_eq!(leader.metric("btcfeed_feed_state{state=\"live\"}").await, 1.0);
    assert_eq!(browsers[0].text("#state").await, "Live");
    assert_eq!((lines(&leader, "stale"), lines(&leader, "down")), (1, 0), "only the first outage");

    // A page that is opened now also shows the state. When the replica reaches Redis again, the feed has no new status,
    // so the page must become live without one.
    browsers[1].reload().await;
    browsers[1].until_text("#state", |text| text == "Down").await;
    proxy.restore();
    browsers[1].until_live().await;
    browsers[1].until_text("#trouble", str::is_empty).await;
    until("a log line", async || lines(&cut_off, "live") > known).await;
    until("/v1/status", async || status(&cut_off).await == (200, "live".to_owned())).await;
}

#[tokio::test]
async fn page_behind_nginx_detects_a_cut_off_replica() {
    let cluster = TestCluster::new().await;
    let proxies = [Proxy::start(cluster.redis.port).await, Proxy::start(cluster.redis.port).await];
    let mut replicas = Vec::new();
    for (number, proxy) in (1..).zip(&proxies) {
        // No replica regards the feed as stale, so only their newest ids show that one of them gets no updates.
        let url = proxy.url();
        let settings = [("REDIS_URL", &*url), ("BTCFEED_STALE_AFTER", "1h"), ("BTCFEED_DOWN_AFTER", "2h")];
        replicas.push(cluster.replica(&format!("r{number}"), &settings).await);
    }
    let nginx = Nginx::start(&[&replicas[0].address, &replicas[1].address]).await;
    let browser = Browser::open(&format!("http://{}/", nginx.address)).await;
    browser.until_live().await;
    let serving = browser.until_text("#replica", |name| name.starts_with('r')).await;
    let proxy = &proxies[if serving == "r1" { 0 } else { 1 }];
    proxy.cut();
    let text = format!("The server {serving} gets no updates, but others do.");
    browser.until_text("#trouble", |trouble| trouble.contains(&text)).await;
    browser.until_text("#state", |state| state == "Stale").await;
    proxy.restore();
    browser.until_live().await;
    browser.until_text("#trouble", str::is_empty).await;
}
