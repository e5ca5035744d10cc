//! HTTP/2 on the port for clients: invalid gRPC calls, calls that do not finish, and the other transports.

use crate::support::exchange::Exchange;
use crate::support::grpc::{Start, Subscriber, pb, request};
use crate::support::{FAST, embedded, http, http_over_2, soon, unbroken, until};
use futures_util::stream;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;

#[tokio::test]
async fn invalid_call_gets_grpc_or_http_error() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let (http1, http2) = (http(), http_over_2());
    let url = |path: &str| format!("http://{}{path}", replica.address);
    let post = async |http: &reqwest::Client, path: &str, headers: &[(&str, &str)]| {
        let mut request = http.post(url(path)).body(vec![0; 5]);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = soon("an answer", request.send()).await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), header("grpc-status"), header("grpc-accept-encoding"))
    };
    let (latest, grpc) = ("/btcfeed.v1.PriceFeed/GetLatest", ("content-type", "application/grpc"));
    let status = |status: u16, code: &str| (status, Some(code.to_owned()), None);
    for path in ["/btcfeed.v1.PriceFeed/Unsubscribe", "/btcfeed.v2.PriceFeed/Subscribe", "/grpc.health.v1.Health/Ask"] {
        assert_eq!(post(&http2, path, &[grpc]).await, status(200, "12"), "{path}");
    }
    for path in [latest, "/btcfeed.v1.PriceFeed/Subscribe"] {
        assert_eq!(post(&http1, path, &[grpc]).await, (505, None, None));
        assert_eq!(post(&http2, path, &[("content-type", "application/json")]).await, (415, None, None));
        assert_eq!(post(&http2, path, &[grpc, ("grpc-timeout", "soon")]).await, status(200, "3"));
        let (status, code, accepted) = post(&http2, path, &[grpc, ("grpc-encoding", "br")]).await;
        assert_eq!((status, code.as_deref()), (200, Some("12")));
        assert!(accepted.is_some_and(|accepted| accepted.contains("gzip")));
    }
}

#[tokio::test]
async fn unfinished_call_ends_at_its_deadline() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let http2 = http_over_2();
    for (path, timeout) in [("GetLatest", Some("300m")), ("Subscribe", Some("1S")), ("GetLatest", None)] {
        let body = reqwest::Body::wrap_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let mut request = http2.post(format!("http://{}/btcfeed.v1.PriceFeed/{path}", replica.address)).body(body);
        request = request.header("content-type", "application/grpc");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let started = Instant::now();
        let answer = soon("an answer", request.send()).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "4", "{path} {timeout:?}");
        assert!(timeout.is_none() == (started.elapsed() > Duration::from_secs(8)), "{path} {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn rest_and_events_work_over_http2() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let http2 = http_over_2();
    let get = async |path: &str| http2.get(format!("http://{}{path}", replica.address)).send().await.unwrap();
    replica.priced().await;
    let answer = get("/v1/prices?format=full&limit=1").await;
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    let over_http1 = replica.get("/v1/prices?format=full&limit=1").await.1;
    assert_eq!(answer.text().await.unwrap(), over_http1);
    assert_eq!(get("/nowhere").await.status(), 404);
    assert_eq!(get("/v1/ws").await.status(), 426, "a WebSocket begins with CONNECT");
    let mut events = get("/v1/prices/stream?format=full").await;
    let mut text = String::new();
    while text.matches("\"type\":\"tick\"").count() < 3 {
        text.push_str(std::str::from_utf8(&soon("an event", events.chunk()).await.unwrap().unwrap()).unwrap());
    }
}

#[tokio::test]
async fn stalled_subscription_is_reset_alone() {
    let exchange = Exchange::start().await;
    let settings = [FAST[0], FAST[1], ("BTCFEED_WRITE_STALL", "1s"), ("BTCFEED_MAX_CONNECTIONS", "2")];
    let replica = embedded(&exchange, &settings).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", replica.address)).unwrap();
    let channel = endpoint.initial_stream_window_size(1000).connect().await.unwrap();
    let client = pb::price_feed_client::PriceFeedClient::new(channel);
    let mut stuck = Subscriber::new(&client, request(&["USD", "EUR"], Some(Start::After(0)))).await;
    let mut neighbour = Subscriber::new(&client, request(&["USD", "EUR"], None)).await;
    assert_eq!(replica.get("/v1/prices/latest").await.0, 503, "both places are taken");
    let mut seen = Vec::new();
    until("the place of the stalled subscription", async || {
        seen.extend(neighbour.entries(1).await);
        replica.get("/v1/prices/latest").await.0 == 200
    })
    .await;
    seen.extend(neighbour.entries(20).await);
    unbroken(&seen);
    let (code, _) = stuck.ended().await;
    assert!(matches!(code, Code::Cancelled | Code::Unavailable | Code::Unknown), "{code:?}");
}
