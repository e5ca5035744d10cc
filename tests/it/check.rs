//! `btcfeed check`: it names the fault that a test causes, and nothing else.

use crate::support::exchange::Mode;
use crate::support::ports::free_address;
use crate::support::program::{clear_environment, program};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::replica::Replica;
use crate::support::tls::Authority;
use crate::support::{TestCluster, entries, replica_settings, soon, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

type Settings = Vec<(String, String)>;

/// The result of a run.
struct Run {
    code: i32,
    /// What is not ok: the outcome and what was found, by the name of the check.
    troubles: BTreeMap<String, (String, String)>,
}

async fn check(settings: &[(String, String)], peers: &[&str]) -> Run {
    let mut command = program();
    command.args(["check", "--json"]).args(peers.iter().flat_map(|peer| ["--peer", *peer]));
    run(command, settings).await
}

async fn run(mut command: Command, settings: &[(String, String)]) -> Run {
    clear_environment(&mut command);
    command.envs(settings.iter().cloned());
    let begun = Instant::now();
    let output = soon("the check", command.output()).await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "the check took {took:?}");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut troubles = BTreeMap::new();
    for found in report["checks"].as_array().unwrap() {
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("outcome") == "ok", found.get("remedy").is_none(), "{found}");
        assert_eq!(text("link"), format!("docs/check.md#{}", text("check")));
        if text("outcome") != "ok" {
            troubles.insert(text("check"), (text("outcome"), text("found")));
        }
    }
    Run { code: output.status.code().unwrap(), troubles }
}

/// A feed with a replica, and what a check finds before there is a fault: warnings about this machine, and the
/// replica's shorter interval.
pub struct Stack {
    pub cluster: TestCluster,
    replica: Replica,
    healthy: BTreeMap<String, (String, String)>,
}

impl Stack {
    /// Starts a feed.
    pub async fn new() -> Stack {
        let cluster = TestCluster::new().await;
        let replica = cluster.replica("r1", &[]).await;
        entries(&mut replica.connect("format=full").await, 1).await;
        let mut stack = Stack { cluster, replica, healthy: BTreeMap::new() };
        let Run { code, troubles } = check(&stack.settings(&[]), &[&stack.replica.address]).await;
        assert!(
            troubles.keys().all(|check| ["open-files", "somaxconn", "feed-settings"].contains(&&**check)),
            "{troubles:?}"
        );
        assert_eq!(code, i32::from(!troubles.is_empty()));
        stack.healthy = troubles;
        stack
    }

    pub fn settings(&self, more: &[(&str, &str)]) -> Settings {
        let redis = ("REDIS_URL".to_owned(), self.cluster.redis.url());
        // The limit on open files that the tests run with may be low.
        let few = [("BTCFEED_MAX_CONNECTIONS", "100")];
        [vec![redis], replica_settings(&self.cluster.exchange, "check", &[&few, more].concat())].concat()
    }

    fn with_redis(&self, url: &str) -> Settings {
        self.settings(&[("REDIS_URL", url)])
    }

    /// Expects that a check names this fault and nothing else.
    pub async fn expect(
        &self,
        fault: &str,
        settings: &[(String, String)],
        peers: &[&str],
        check_name: &str,
        text: &str,
    ) {
        self.expect_all(fault, check(settings, peers).await, &[(check_name, text)]);
    }

    /// Expects that a run found exactly this. A check whose name ends with `!` must fail, and any other must warn.
    fn expect_all(&self, fault: &str, run: Run, expected: &[(&str, &str)]) {
        let mut troubles = run.troubles;
        troubles.retain(|check, found| self.healthy.get(check) != Some(found));
        // The check has the default interval, the replicas a shorter one.
        troubles.remove("feed-settings");
        let is_failure = expected.iter().any(|(check, _)| check.ends_with('!'));
        for (check, text) in expected {
            let (name, outcome) = check.strip_suffix('!').map_or((*check, "warn"), |name| (name, "fail"));
            let found = troubles.remove(name);
            let (is, found) = found.unwrap_or_else(|| panic!("{fault}: {name} is ok, but {troubles:?}"));
            assert!(is == outcome && found.contains(text), "{fault}: {name} is {is}: {found}");
            println!("{fault} | {outcome} | {name} | {found}");
        }
        assert!(troubles.is_empty(), "{fault}: {troubles:?}");
        assert_eq!(run.code, if is_failure { 2 } else { 1 }, "{fault}");
    }

    async fn redis(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let mut connection = self.cluster.redis.connection().await;
        command.query_async::<redis::Value>(&mut connection).await.unwrap();
    }
}

/// Starts a proxy that edits what a Redis sends. Returns the URL of the proxy.
async fn edited(port: u16, edit: fn(&mut [u8])) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok(len @ 1..) = from_server.read(&mut buffer).await {
                    edit(&mut buffer[..len]);
                    to_client.write_all(&buffer[..len]).await.unwrap();
                }
            });
        }
    });
    format!("redis://{address}")
}

/// Starts a server whose answer never ends and has no `Content-Length`. Returns the server's address.
async fn endless_peer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        // The answer must not come before the request.
        client.read_u8().await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await.unwrap();
        while client.write_all(&[b' '; 65_536]).await.is_ok() {}
    });
    address
}

/// Overwrites the bytes after each `begin` with `new`.
fn overwrite(bytes: &mut [u8], begin: &[u8], new: &[u8]) {
    let places: Vec<_> = bytes.windows(begin.len()).enumerate().filter(|(_, found)| *found == begin).collect();
    for at in places.into_iter().map(|(place, _)| place + begin.len()).collect::<Vec<_>>() {
        bytes[at..][..new.len()].copy_from_slice(new);
    }
}

#[tokio::test]
async fn fault_of_redis_settings_and_rights_is_named() {
    let stack = Stack::new().await;
    let healthy = stack.settings(&[]);
    stack.redis(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    stack.expect("eviction of keys", &healthy, &[], "redis-eviction!", "allkeys-lru").await;
    stack.redis(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    stack.redis(&["CONFIG", "SET", "appendonly", "no"]).await;
    stack.expect("persistence off", &healthy, &[], "redis-persistence", "off").await;
    stack.redis(&["CONFIG", "SET", "appendonly", "yes"]).await;

    let port = stack.cluster.redis.port;
    let user = |name: &str| stack.with_redis(&format!("redis://{name}:pw@127.0.0.1:{port}"));
    for (name, rights, text) in [
        ("publisher", "-publish", "PUBLISH: "),
        ("subscriber", "-subscribe", "SUBSCRIBE: "),
        ("scripter", "-evalsha", "EVALSHA: "),
        ("writer", "-zadd", "ZADD: "),
        ("candles", "-hkeys", "HKEYS: "),
    ] {
        let words = ["ACL", "SETUSER", name, "on", ">pw", "~*", "&*", "+@all", rights];
        stack.redis(&words).await;
        // A replica can lead without the rights for candles, so a missing one is only a warning.
        let check = if name == "candles" { "redis-rights" } else { "redis-rights!" };
        stack.expect(&format!("ACL {rights}"), &user(name), &[], check, text).await;
    }
    stack.redis(&["ACL", "SETUSER", "elsewhere", "on", ">pw", "~other:*", "&*", "+@all"]).await;
    let run = check(&user("elsewhere"), &[]).await;
    stack.expect_all(
        "ACL with other keys",
        run,
        &[("redis-rights!", "SET on the keys of the feed: "), ("leader", "no replica leads")],
    );

    let read_only = Redis::start().await;
    let mut connection = read_only.connection().await;
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).query_async::<()>(&mut connection).await.unwrap();
    until("the replica of Redis to be in sync", async || read_only.leader().await.is_some()).await;
    stack
        .expect("read-only Redis", &stack.with_redis(&read_only.url()), &[], "redis-reachable!", "is a replica of")
        .await;

    let old = edited(port, |bytes| overwrite(bytes, b"redis_version:", b"5")).await;
    stack.expect("old version of Redis", &stack.with_redis(&old), &[], "redis-version!", "5.").await;
    let untested = edited(port, |bytes| overwrite(bytes, b"redis_version:", b"6")).await;
    stack.expect("untested Redis", &stack.with_redis(&untested), &[], "redis-version", "6.").await;
    // The answer to TIME is two numbers, of which the first has ten digits.
    let late = edited(port, |bytes| overwrite(bytes, b"*2\r\n$10\r\n", b"1700000000")).await;
    stack.expect("clocks differ", &stack.with_redis(&late), &[], "redis-clock!", "behind this machine").await;

    stack.redis(&["RPUSH", "{other}:lease", "x"]).await;
    let run = check(&stack.settings(&[("BTCFEED_KEY_PREFIX", "other")]), &[]).await;
    stack.expect_all("lease of wrong type", run, &[("redis-keys!", "{other}:lease is a list"), ("leader", "")]);
    let run = check(&stack.settings(&[("BTCFEED_KEY_PREFIX", "fresh")]), &[]).await;
    stack.expect_all("no leader", run, &[("leader", "no replica leads")]);
}

#[tokio::test]
async fn unreachable_redis_is_named() {
    let stack = Stack::new().await;
    let port = stack.cluster.redis.port;
    let name = "redis-reachable!";
    stack.redis(&["ACL", "SETUSER", "known", "on", ">pw", "~*", "&*", "+@all"]).await;
    let wrong = stack.with_redis(&format!("redis://known:secret-word@127.0.0.1:{port}"));
    stack.expect("wrong password", &wrong, &[], name, "password: ").await;
    assert!(!check(&wrong, &[]).await.troubles["redis-reachable"].1.contains("secret-word"));
    let absent = stack.with_redis(&format!("redis://{}", free_address()));
    stack.expect("Redis down", &absent, &[], name, "connect: Connection refused").await;
    stack.expect("unknown host of Redis", &stack.with_redis("redis://no-such-host.invalid"), &[], name, "DNS: ").await;
    let tls = stack.with_redis(&format!("rediss://127.0.0.1:{port}"));
    stack.expect("TLS to a Redis without it", &tls, &[], name, &format!("127.0.0.1:{port}: TLS: ")).await;
    let silent = Redis::start().await;
    silent.pause();
    stack.expect("Redis that does not answer", &stack.with_redis(&silent.url()), &[], name, "timed out").await;
    silent.resume();
}

#[tokio::test]
async fn fault_of_sources_is_named() {
    let stack = Stack::new().await;
    let exchange = &stack.cluster.exchange;
    for (fault, mode, text) in [
        ("silent source", Mode::Silent, "no answer within"),
        ("HTTP 500 of a source", Mode::Status(500, None), "HTTP 500"),
        ("HTTP 429 of a source", Mode::Status(429, None), "HTTP 429"),
        ("HTML from a source", Mode::Body("<html>"), "not as documented"),
        ("answer cut off", Mode::Truncated, "cut off"),
    ] {
        exchange.set("kraken", mode);
        stack.expect(fault, &stack.settings(&[]), &[], "source", text).await;
        exchange.set("kraken", Mode::Good);
    }
    let address = exchange.urls("x")[0].1.replace("http://", "");
    let absent = free_address();
    for (fault, url, text) in [
        ("unknown host of a source", "https://no-such-host.invalid", "no-such-host.invalid:443: DNS: "),
        ("source refuses", &format!("http://{absent}"), &format!("{absent}: connect: Connection refused")),
        ("source without TLS", &format!("https://{address}"), ": TLS: "),
    ] {
        stack.expect(fault, &stack.settings(&[("BTCFEED_SOURCE_KRAKEN_URL", url)]), &[], "source", text).await;
    }
    let sources = ("BTCFEED_SOURCES", "coinbase,kraken,bitstamp,bitvavo");
    let needless = stack.settings(&[("BTCFEED_CURRENCIES", "USD"), sources]);
    stack.expect("a source without the currency", &needless, &[], "source", "bitvavo has no price in USD").await;
    exchange.set_all(&Mode::Status(500, None));
    let run = check(&stack.settings(&[]), &[]).await;
    stack.expect_all("no source answers", run, &[("prices!", "USD"), ("source", "HTTP 500")]);
    let simulated = stack.settings(&[("BTCFEED_SOURCES", "simulated")]);
    stack.expect("simulated prices", &simulated, &[], "source", "its prices are simulated").await;
}

#[tokio::test]
async fn fault_of_machine_and_settings_is_named() {
    let stack = Stack::new().await;
    let invalid = stack.settings(&[("BTCFEED_INTERVAL", "soon")]);
    stack.expect("invalid setting", &invalid, &[], "configuration!", "BTCFEED_INTERVAL \"soon\"").await;
    let misspelt = stack.settings(&[("BTCFEED_INTERVALL", "5s")]);
    stack.expect("misspelt setting", &misspelt, &[], "configuration", "did you mean BTCFEED_INTERVAL?").await;

    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 300 && exec \"$0\" check --json", env!("CARGO_BIN_EXE_btcfeed")]);
    let mut settings = stack.settings(&[]);
    settings.retain(|(name, _)| name != "BTCFEED_MAX_CONNECTIONS");
    let run = run(limited, &settings).await;
    stack.expect_all("few open files", run, &[("open-files", "at most 300 open files and 44 clients")]);

    let authority = Authority::new();
    let files = authority.settings();
    let with_tls = || stack.settings(&files.each_ref().map(|(name, value)| (*name, value.as_str())));
    let day = Duration::from_secs(24 * 3600);
    authority.issue_for(day * 10);
    stack.expect("certificate ends soon", &with_tls(), &[], "certificate", "expires in 9 days").await;
    authority.issue_for(Duration::ZERO);
    stack.expect("certificate has ended", &with_tls(), &[], "certificate!", "has expired").await;
    authority.issue_for(day * 15);
    let run = check(&with_tls(), &[]).await;
    assert_eq!(run.troubles, stack.healthy, "a good certificate");
    std::fs::copy(Authority::new().file("key.pem"), authority.file("key.pem")).unwrap();
    let text = "it is not the key of the certificate";
    stack.expect("key of another certificate", &with_tls(), &[], "configuration!", text).await;
}

#[tokio::test]
async fn fault_of_a_peer_is_named() {
    let mut stack = Stack::new().await;
    let healthy = stack.settings(&[]);
    let absent = free_address();
    stack.expect("peer down", &healthy, &[&absent], "peer!", &absent).await;
    // Both ports of a replica have its status.
    assert!(!check(&healthy, &[&stack.replica.address, &stack.replica.ops]).await.troubles.contains_key("peer"));
    let endless = endless_peer().await;
    stack.expect("peer with an endless answer", &healthy, &[&endless], "peer!", "longer than 1048576 bytes").await;
    let elsewhere = format!("http://{}/elsewhere", stack.replica.address);
    stack.expect("peer at another path", &healthy, &[&elsewhere], "peer!", "the answer is 404").await;

    // A replica that has lost Redis, and that regards the feed as live for an hour.
    let proxy = Proxy::start(stack.cluster.redis.port).await;
    let patient = [("BTCFEED_STALE_AFTER", "1h"), ("BTCFEED_DOWN_AFTER", "1h"), ("BTCFEED_ROLE", "serve")];
    let url = proxy.url();
    let cut = stack.cluster.replica("cut", &[&patient[..], &[("REDIS_URL", url.as_str())]].concat()).await;
    entries(&mut cut.connect("format=full").await, 1).await;
    proxy.cut();
    until("the peer to be behind", async || {
        let run = check(&healthy, &[&stack.replica.address, &cut.address]).await;
        run.troubles.contains_key("peer")
    })
    .await;
    let run = check(&healthy, &[&stack.replica.address, &cut.address]).await;
    stack.expect_all("peer behind", run, &[("peer!", "behind another replica")]);

    let replica = stack.cluster.replica("r2", &[("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "2s")]).await;
    entries(&mut replica.connect("format=full").await, 1).await;
    stack.cluster.redis.kill().await;
    until("the peer to see a dead feed", async || {
        let run = check(&healthy, &[&replica.address]).await;
        run.troubles.get("peer").is_some_and(|(outcome, found)| outcome == "fail" && found.contains("the feed is down"))
    })
    .await;
    let run = check(&healthy, &[&replica.address]).await;
    let expected = [("peer!", "the feed is down"), ("redis-reachable!", "connect: Connection refused")];
    stack.expect_all("peer with a dead feed", run, &expected);
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
