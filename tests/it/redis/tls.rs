//! A Redis with TLS and a private authority.

use crate::it::check::Stack;
use crate::support::redis::Redis;
use crate::support::store_contract::{EVERYTHING, OPTIONS};
use crate::support::tls::Authority;
use crate::support::{TestCluster, entries, until};
use btcfeed::store::{self, RedisOptions, RedisTls, Store};
use btcfeed::tick::TickId;

/// Returns the settings of a replica that uses TLS on this port.
fn settings(port: u16, files: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    [vec![("REDIS_URL", format!("rediss://localhost:{port}"))], files.to_vec()].concat()
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn client_files(authority: &Authority) -> [(&'static str, String); 3] {
    [
        ("BTCFEED_REDIS_CA", authority.path("ca.pem")),
        ("BTCFEED_REDIS_CERT", authority.path("cert.pem")),
        ("BTCFEED_REDIS_KEY", authority.path("key.pem")),
    ]
}

#[tokio::test]
async fn own_authority_and_client_certificate_work() {
    let authority = Authority::new();
    let (redis, port) = Redis::start_with_tls(&authority, true).await;
    let cluster = TestCluster { redis, exchange: crate::support::exchange::Exchange::start().await };
    let settings = settings(port, &client_files(&authority));
    let replica = cluster.replica("r1", &borrowed(&settings)).await;
    entries(&mut replica.connect("format=full").await, 3).await;
    assert_eq!(cluster.leader().await, "r1");

    let disconnect = async || {
        cluster.redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        cluster.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    };
    // The replica reads the files again, and Redis rejects a stranger's certificate.
    let stranger = Authority::new();
    for name in ["key.pem", "cert.pem"] {
        std::fs::copy(stranger.file(name), authority.file(name)).unwrap();
    }
    disconnect().await;
    until("a fault", async || replica.json("/v1/status").await["store"]["up"] == false).await;
    // Both files are new. A connection with only one of them would fail, because the key must fit the certificate.
    authority.issue();
    disconnect().await;
    entries(&mut replica.connect("format=full").await, 3).await;
}

#[tokio::test]
async fn changed_files_replace_connections_for_reads() {
    let authority = Authority::new();
    let (server, port) = Redis::start_with_tls(&authority, true).await;
    let tls = RedisTls {
        authorities: Some(authority.file("ca.pem")),
        certificate: Some((authority.file("cert.pem"), authority.file("key.pem"))),
    };
    let options = RedisOptions { tls, ..RedisOptions::new(&format!("rediss://localhost:{port}"), "test") };
    let store = store::Redis::open(&options, OPTIONS).unwrap();
    let connection = async || {
        store.range(TickId::ZERO, EVERYTHING, 1).await.unwrap();
        let list: String = redis::from_redis_value(server.command(&["CLIENT", "LIST"]).await).unwrap();
        let named = |line: &&str| line.contains("/history ");
        list.lines().find(named).and_then(|line| line.split(' ').next()).unwrap().to_owned()
    };
    let first = connection().await;
    assert_eq!(connection().await, first);
    // First, only the key is a stranger's, and does not fit the certificate. Then the certificate is the stranger's,
    // too, and Redis rejects it.
    let stranger = Authority::new();
    for name in ["key.pem", "cert.pem"] {
        std::fs::copy(stranger.file(name), authority.file(name)).unwrap();
        assert_eq!(connection().await, first);
    }
    authority.issue();
    assert_ne!(connection().await, first);
}

#[tokio::test]
async fn fault_of_tls_is_named() {
    let stack = Stack::new().await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (open, open_port) = Redis::start_with_tls(&authority, false).await;
    let (_mutual, mutual_port) = Redis::start_with_tls(&authority, true).await;
    let name = "redis-reachable!";
    let [ca, ..] = client_files(&authority);
    let [foreign_ca, foreign_cert, foreign_key] = client_files(&stranger);

    let case = async |fault: &str, port, files: &[(&'static str, String)], text: &str| {
        let settings = stack.settings(&borrowed(&settings(port, files)));
        stack.expect(fault, &settings, &[], name, text).await;
    };
    case("authority unknown to the system", open_port, &[], "TLS: ").await;
    case("wrong authority", open_port, &[foreign_ca], "TLS: invalid peer certificate").await;
    case("no client certificate", mutual_port, std::slice::from_ref(&ca), "TLS: ").await;
    case("client certificate of a stranger", mutual_port, &[ca.clone(), foreign_cert, foreign_key], "TLS: ").await;
    let plain = stack.settings(&[("REDIS_URL", &format!("redis://localhost:{open_port}"))]);
    stack.expect("a URL without TLS", &plain, &[], name, "connect: ").await;
    let other_host = stack.settings(&borrowed(&[("REDIS_URL", format!("rediss://127.0.0.2:{open_port}")), ca.clone()]));
    stack.expect("a host where nothing listens", &other_host, &[], name, "connect: Connection refused").await;
    open.command(&["CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2"]).await;
    let text = "TLS: invalid peer certificate";
    stack.expect("a host that is not in the certificate", &other_host, &[], name, text).await;

    let needless = stack.settings(&borrowed(&[ca]));
    let text = "the URL of Redis is not for TLS, expected one that begins with rediss://";
    stack.expect("an authority without TLS", &needless, &[], "configuration!", text).await;
    let mut files = client_files(&authority);
    files[2].1 = stranger.path("key.pem");
    let settings = stack.settings(&borrowed(&settings(mutual_port, &files)));
    stack.expect("key of another certificate", &settings, &[], "configuration!", "it is not the key of").await;
}
