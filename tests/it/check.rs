//! `btcfeed check`: its findings on a healthy stack, and with one fault at a time.

use crate::support::exchange::Mode;
use crate::support::ports::free_address;
use crate::support::redis::Redis;
use crate::support::{TestCluster, entries, replica_settings, soon};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Result of a run: the exit code, and each check that is not ok, with its outcome and its finding.
struct Run {
    code: i32,
    troubles: BTreeMap<String, (String, String)>,
    took: Duration,
}

impl Run {
    /// Returns the names and outcomes of the checks that are not ok.
    fn named(&self) -> Vec<(&str, &str)> {
        self.troubles.iter().map(|(check, (outcome, _))| (check.as_str(), outcome.as_str())).collect()
    }
}

async fn check(settings: &[(String, String)], peers: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btcfeed"));
    command.args(["check", "--json"]).env_clear().envs(settings.iter().cloned()).kill_on_drop(true);
    command.args(peers.iter().flat_map(|peer| ["--peer", *peer]));
    let started = Instant::now();
    let output = soon("the check", command.output()).await.unwrap();
    let took = started.elapsed();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut troubles = BTreeMap::new();
    for found in report["checks"].as_array().unwrap() {
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("outcome") == "ok", found.get("remedy").is_none(), "{found}");
        if text("outcome") != "ok" {
            troubles.insert(text("check"), (text("outcome"), text("found")));
        }
    }
    Run { code: output.status.code().unwrap(), troubles, took }
}

/// A Redis, exchanges, and the settings with their addresses.
struct Stack {
    cluster: TestCluster,
}

impl Stack {
    async fn new() -> Stack {
        Stack { cluster: TestCluster::new().await }
    }

    fn settings(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let redis = ("REDIS_URL".to_owned(), self.cluster.redis.url());
        [vec![redis], replica_settings(&self.cluster.exchange, "check", more)].concat()
    }

    async fn redis(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let mut connection = self.cluster.redis.connection().await;
        command.query_async::<redis::Value>(&mut connection).await.unwrap();
    }
}

/// Setting for a few clients, because the limit on open files may be low where the tests run.
const FEW: (&str, &str) = ("BTCFEED_MAX_CONNECTIONS", "100");

#[tokio::test]
async fn healthy_stack_has_no_failure() {
    let stack = Stack::new().await;
    let replica = stack.cluster.replica("r1", &[]).await;
    entries(&mut replica.connect("format=full").await, 1).await;
    let run = check(&stack.settings(&[FEW]), &[&replica.address]).await;
    let of_machine = ["open-files", "somaxconn"];
    let troubles: Vec<_> = run.named().into_iter().filter(|(check, _)| !of_machine.contains(check)).collect();
    assert_eq!(troubles, [], "{:?}", run.troubles);
    assert!(run.code < 2 && run.took < Duration::from_secs(5), "{} after {:?}", run.code, run.took);
}

#[tokio::test]
async fn fault_of_redis_is_named() {
    let stack = Stack::new().await;
    let replica = stack.cluster.replica("r1", &[]).await;
    entries(&mut replica.connect("format=full").await, 1).await;
    let expect = async |settings: Vec<(String, String)>, wanted: (&str, &str), text: &str| {
        let run = check(&settings, &[]).await;
        let (outcome, found) = run.troubles.get(wanted.0).unwrap_or_else(|| panic!("{wanted:?}: {:?}", run.troubles));
        assert!(outcome == wanted.1 && found.contains(text), "{wanted:?}: {outcome} {found}");
        assert_eq!(run.troubles.keys().filter(|check| check.starts_with("redis")).count(), 1, "{:?}", run.troubles);
        assert!(run.took < Duration::from_secs(5), "{wanted:?} took {:?}", run.took);
    };
    let healthy = || stack.settings(&[FEW]);
    stack.redis(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    expect(healthy(), ("redis-eviction", "fail"), "allkeys-lru").await;
    stack.redis(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    stack.redis(&["CONFIG", "SET", "appendonly", "no"]).await;
    expect(healthy(), ("redis-persistence", "warn"), "off").await;
    stack.redis(&["CONFIG", "SET", "appendonly", "yes"]).await;
    stack.redis(&["ACL", "SETUSER", "poor", "on", ">pw", "~*", "&*", "+@all", "-publish", "-evalsha"]).await;
    let with_url = |url: String| {
        let mut settings = healthy();
        settings[0].1 = url;
        settings
    };
    let port = stack.cluster.redis.port;
    let poor = with_url(format!("redis://poor:pw@127.0.0.1:{port}"));
    expect(poor.clone(), ("redis-rights", "fail"), "PUBLISH").await;
    expect(poor, ("redis-rights", "fail"), "EVALSHA").await;
    stack.redis(&["ACL", "SETUSER", "elsewhere", "on", ">pw", "~other:*", "&*", "+@all"]).await;
    expect(with_url(format!("redis://elsewhere:pw@127.0.0.1:{port}")), ("redis-rights", "fail"), "SET").await;
    let wrong = with_url(format!("redis://poor:secret-word@127.0.0.1:{port}"));
    let run = check(&wrong, &[]).await;
    let (_, found) = &run.troubles["redis-reachable"];
    assert!(!found.contains("secret-word") && run.code == 2, "{found}");
    expect(wrong, ("redis-reachable", "fail"), "").await;
    expect(with_url(format!("redis://{}", free_address())), ("redis-reachable", "fail"), "refused").await;
    expect(with_url("redis://no-such-host.invalid".to_owned()), ("redis-reachable", "fail"), "no-such-host").await;
    expect(with_url(format!("rediss://127.0.0.1:{port}")), ("redis-reachable", "fail"), "").await;
    // A read-only replica of Redis.
    let secondary = Redis::start().await;
    let mut connection = secondary.connection().await;
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).query_async::<()>(&mut connection).await.unwrap();
    expect(with_url(secondary.url()), ("redis-rights", "fail"), "read only").await;
    // This Redis accepts connections and answers nothing.
    let silent = Redis::start().await;
    silent.pause();
    expect(with_url(silent.url()), ("redis-reachable", "fail"), "").await;
    silent.resume();
}

#[tokio::test]
async fn fault_of_sources_is_named() {
    let stack = Stack::new().await;
    let exchange = &stack.cluster.exchange;
    for mode in [Mode::Silent, Mode::Status(503, None), Mode::Body("<html>"), Mode::Truncated] {
        exchange.set("kraken", mode.clone());
        let run = check(&stack.settings(&[FEW]), &[]).await;
        assert!(run.troubles["source"].1.starts_with("kraken: ") && run.code == 1, "{mode:?}: {:?}", run.troubles);
        assert!(!run.troubles.contains_key("prices"), "{mode:?}: {:?}", run.troubles);
    }
    exchange.set_all(&Mode::Status(500, None));
    let run = check(&stack.settings(&[FEW]), &[]).await;
    assert_eq!((run.troubles["prices"].0.as_str(), run.code), ("fail", 2));
    let run = check(&stack.settings(&[FEW, ("BTCFEED_SOURCES", "simulated")]), &[]).await;
    assert!(run.troubles["source"].1.contains("made up"), "{:?}", run.troubles);
}

#[tokio::test]
async fn fault_of_settings_machine_and_peers_is_named() {
    let stack = Stack::new().await;
    let invalid = check(&stack.settings(&[("BTCFEED_INTERVAL", "soon")]), &[]).await;
    assert!(invalid.named() == [("configuration", "fail")] && invalid.code == 2, "{:?}", invalid.troubles);
    let misspelt = check(&stack.settings(&[FEW, ("BTCFEED_INTERVALL", "5s")]), &[]).await;
    assert!(misspelt.troubles["configuration"].1.contains("did you mean BTCFEED_INTERVAL?"));
    let many = check(&stack.settings(&[("BTCFEED_MAX_CONNECTIONS", "99999999")]), &[]).await;
    assert!(many.code == 2, "{:?}", many.troubles);
    // No replica runs.
    assert_eq!(misspelt.troubles["leader"].0, "warn");
    let absent = free_address();
    let run = check(&stack.settings(&[FEW]), &[&absent]).await;
    assert!(run.troubles["peer"].1.contains(&absent) && run.code == 2, "{:?}", run.troubles);
    // The operators' port is not the clients' port.
    let replica = stack.cluster.replica("r1", &[]).await;
    let run = check(&stack.settings(&[FEW]), &[&replica.ops]).await;
    assert!(run.troubles["peer"].1.contains("the answer is 404"), "{:?}", run.troubles);
}

#[tokio::test]
async fn peer_with_a_dead_feed_is_named() {
    let mut stack = Stack::new().await;
    let replica = stack.cluster.replica("r1", &[("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "2s")]).await;
    entries(&mut replica.connect("format=full").await, 1).await;
    stack.cluster.redis.kill().await;
    crate::support::until("the peer to be named", async || {
        let run = check(&stack.settings(&[FEW]), &[&replica.address]).await;
        run.troubles.get("peer").is_some_and(|(outcome, found)| outcome == "fail" && found.contains("the feed is down"))
    })
    .await;
}

#[test]
fn every_check_has_its_paragraph() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/check.md")).unwrap();
    let mut names = 0;
    for file in ["redis", "sources", "machine", "peers"]
        .map(|name| format!("src/cli/check/{name}.rs"))
        .iter()
        .chain([&"src/cli/check.rs".to_owned()])
    {
        let code = std::fs::read_to_string(root.join(file)).unwrap();
        for call in ["ok(", "warn(", "fail("] {
            for rest in code.split(&format!("Finding::{call}")).skip(1) {
                let name = rest.trim_start().strip_prefix('"').unwrap().split('"').next().unwrap();
                assert!(page.contains(&format!("\n## {name}\n")), "{file}: {name} has no paragraph");
                names += 1;
            }
        }
    }
    assert!(names > 20);
}
