//! API keys: every transport, revocation, expiry, and keys that are replaced while clients are connected.

use crate::support::client::Client;
use crate::support::events::Events;
use crate::support::exchange::Exchange;
use crate::support::http2::Http2;
use crate::support::keys::KeysFile;
use crate::support::replica::Replica;
use crate::support::sdk::{self, TRANSPORTS};
use crate::support::tls::Authority;
use crate::support::{grpc, http, soon, tick, until};
use btcfeed::client::{Client as Sdk, Error};
use btcfeed::session::CloseReason;
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tonic::Code;
use tonic::metadata::MetadataValue;

/// Time in which the streams of a revoked key must end.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);
/// Interval that is longer than a test. So a stream must end without a further tick.
const SLOW: (&str, &str) = ("BTCFEED_INTERVAL", "10m");

fn stream_url(replica: &Replica, key: &str) -> String {
    format!("http://{}/v1/prices/stream?format=full&key={key}", replica.address)
}

#[tokio::test]
async fn every_path_for_data_needs_a_key() {
    let (exchange, mut keys) = (Exchange::start().await, KeysFile::new());
    let key = keys.add(&["alice"]).await;
    let replica = keys.replica(&exchange, &[]).await;
    let bearer = format!("Bearer {key}");
    until("a price", async || replica.ask("/v1/prices/latest", &[("authorization", &bearer)]).await.status() == 200)
        .await;
    for path in
        ["/v1/prices/latest", "/prices/latest", "/v1/prices", "/v1/candles", "/v1/prices/stream", "/v1/ws", "/x"]
    {
        let answer = replica.ask(path, &[]).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
            (401, &"Bearer realm=\"btcfeed\"".parse().unwrap()),
            "{path}"
        );
        assert!(answer.text().await.unwrap().contains("missing API key"), "{path}");
        let answer = replica.ask(path, &[("authorization", "Bearer btcfeed_wrong")]).await;
        assert_eq!(answer.status(), 401, "{path}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"btcfeed\", error=\"invalid_token\"", "{path}");
    }
    assert_eq!(replica.metric("btcfeed_refusals_total{limit=\"key\"}").await, 14.0);
    for path in [
        "/",
        "/docs",
        "/docs/",
        "/docs.css",
        "/docs.js",
        "/llms.txt",
        "/method",
        "/openapi.json",
        "/asyncapi.json",
        "/btcfeed.js",
        "/btcfeed/line.js",
        "/embed",
        "/page/page.js",
        "/page/og.png",
        "/favicon.ico",
    ] {
        assert_eq!(replica.get(path).await.0, 200, "{path}");
    }
    // The client may cache the page, but a shared cache may not. Links do not contain the key.
    let page = replica.ask(&format!("/v1/prices?limit=1&since=0&key={key}"), &[]).await;
    let header = |name: &str| page.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
    assert!(header("cache-control").starts_with("private"), "{page:?}");
    assert!(header("link").contains("after=") && !header("link").contains(&key), "{page:?}");
}

#[tokio::test]
async fn every_transport_accepts_a_key() {
    let (exchange, mut keys) = (Exchange::start().await, KeysFile::new());
    let key = keys.add(&["alice"]).await;
    let replica = keys.replica(&exchange, &[]).await;
    for transport in TRANSPORTS {
        let client = Sdk::builder(&replica.address).transport(transport);
        let mut updates = client.clone().key(&*key).build().unwrap().subscribe();
        sdk::tick(&mut updates).await;
        let error = sdk::end(&mut client.clone().build().unwrap().subscribe()).await;
        assert!(
            matches!(&error, Error::Refused { status: 401, detail } if detail.contains("missing API key")),
            "{error}"
        );
        let error = sdk::end(&mut client.key("wrong").build().unwrap().subscribe()).await;
        assert!(
            matches!(&error, Error::Refused { status: 401, detail } if detail.contains("unknown API key")),
            "{error}"
        );
    }
    Events::connect(&stream_url(&replica, &key), &[]).await.update().await;
    tick(&mut replica.connect(&format!("format=full&key={key}")).await).await;
    let mut http2 = Http2::connect(&replica.address).await;
    tick(&mut http2.websocket(&format!("/v1/ws?format=full&key={key}")).await).await;
    let mut feed = grpc::client(&replica.address).await;
    let mut request = tonic::Request::new(grpc::pb::GetLatestRequest::default());
    assert_eq!(feed.get_latest(grpc::pb::GetLatestRequest::default()).await.unwrap_err().code(), Code::Unauthenticated);
    request.metadata_mut().insert("authorization", MetadataValue::try_from(format!("Bearer {key}")).unwrap());
    feed.get_latest(request).await.unwrap();
}

#[tokio::test]
async fn streams_of_a_revoked_key_end_with_the_reason() {
    let (exchange, mut keys) = (Exchange::start().await, KeysFile::new());
    let (alice, bob) = (keys.add(&["alice"]).await, keys.add(&["bob"]).await);
    let replica = keys.replica(&exchange, &[SLOW]).await;
    let query = |key: &str| format!("format=full&key={key}");
    let mut websocket = replica.connect(&query(&alice)).await;
    let mut http2 = Http2::connect(&replica.address).await;
    let mut over_http2 = http2.websocket(&format!("/v1/ws?{}", query(&alice))).await;
    let mut events = Events::connect(&stream_url(&replica, &alice), &[]).await;
    let mut other = replica.connect(&query(&bob)).await;
    let mut feed = grpc::client(&replica.address).await;
    let mut request = tonic::Request::new(grpc::request(&[], None));
    request.metadata_mut().insert("authorization", MetadataValue::try_from(format!("Bearer {alice}")).unwrap());
    let mut calls = soon("a stream", feed.subscribe(request)).await.unwrap().into_inner();
    tick(&mut websocket).await;
    keys.revoke(0);
    let started = Instant::now();
    let (code, message) = (CloseReason::KeyRevoked.websocket_code(), CloseReason::KeyRevoked.message());
    let close = websocket.closed().await;
    assert_eq!((u16::from(close.code), close.reason.as_str()), (code, message));
    assert_eq!(u16::from(over_http2.closed().await.code), code);
    let goodbye = loop {
        let event = events.event().await;
        if event.name.as_deref() == Some("goodbye") {
            break event.json();
        }
    };
    assert_eq!((&goodbye["reason"], &goodbye["message"]), (&"unauthorized".into(), &message.into()));
    let status = loop {
        if let Err(status) = soon("an update", calls.message()).await {
            break status;
        }
    };
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, message));
    assert!(started.elapsed() < REVOKED_WITHIN, "{:?}", started.elapsed());
    let (status, body) = Client::rejected(&format!("ws://{}/v1/ws?{}", replica.address, query(&alice))).await;
    assert!(status == 401 && body.contains("unknown API key"), "{status} {body}");
    // The other key stays valid, and a new one is accepted without a restart.
    tick(&mut other).await;
    let carol = keys.add(&["carol"]).await;
    replica.signal(Signal::HUP);
    until("the new key", async || http().get(stream_url(&replica, &carol)).send().await.unwrap().status() == 200).await;
    // A file that cannot be used changes nothing.
    fs::write(keys.path(), "nonsense").unwrap();
    replica.signal(Signal::HUP);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        assert_eq!(http().get(stream_url(&replica, &bob)).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn streams_of_an_expired_key_end_over_tls_too() {
    let (exchange, mut keys, authority) = (Exchange::start().await, KeysFile::new(), Authority::new());
    let valid = Duration::from_secs(8);
    let (started, expires) =
        (Instant::now(), jiff::Timestamp::try_from(SystemTime::now() + valid).unwrap().to_string());
    let key = keys.add(&["alice", "--expires", &expires]).await;
    let files = authority.settings();
    let settings: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).chain([SLOW]).collect();
    let replica = keys.replica(&exchange, &settings).await;
    let mut client = authority.websocket(&replica.address, &format!("format=full&key={key}")).await;
    let close = client.closed().await;
    assert_eq!(u16::from(close.code), CloseReason::KeyExpired.websocket_code());
    assert!(started.elapsed() < valid + REVOKED_WITHIN, "{:?}", started.elapsed());
    let answer = authority.http().build().unwrap().get(format!("https://{}/v1/prices", replica.address));
    let answer = answer.bearer_auth(&key).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.text().await.unwrap().contains("this API key has expired"));
}

#[tokio::test]
async fn key_limits_streams_and_owns_bookmarks() {
    let (exchange, mut keys) = (Exchange::start().await, KeysFile::new());
    let (alice, bob) = (keys.add(&["alice", "--streams", "2"]).await, keys.add(&["bob"]).await);
    let replica = keys.replica(&exchange, &[]).await;
    let query = |key: &str| format!("format=full&key={key}");
    let named = |key: &str| format!("{}&client_id=3b1f0c52-7d4e-4c8a-9f6b-2e5a8d7c1904", query(key));
    let mut first = replica.connect(&named(&alice)).await;
    let sent = tick(&mut first).await;
    let mut second = replica.connect(&query(&alice)).await;
    let (status, body) = Client::rejected(&format!("ws://{}/v1/ws?{}", replica.address, query(&alice))).await;
    assert!(status == 429 && body.contains("this API key has too many open streams"), "{status} {body}");
    drop(first);
    for _ in 0..5 {
        tick(&mut second).await;
    }
    // The client_id belongs to the key. With another key, the same client_id starts with the latest tick. With its own
    // key, it resumes.
    let latest = tick(&mut replica.connect(&named(&bob)).await).await;
    let mut again = replica.connect(&named(&alice)).await;
    let resumed = tick(&mut again).await;
    assert!(resumed["prev"].as_u64() >= sent["id"].as_u64(), "{sent} {resumed}");
    assert!(resumed["id"].as_u64() < latest["prev"].as_u64(), "{resumed} {latest}");
}
