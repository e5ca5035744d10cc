//! Server-sent events that the reactor sends over HTTP/1, and rejected requests for a stream.

use crate::support::events::Events;
use crate::support::exchange::{Exchange, Mode};
use crate::support::replica::Replica;
use crate::support::socket::is_established;
use crate::support::{TestCluster, embedded, entries, fields, http, http_over_2, soon, unbroken, until, without_redis};
use reqwest::Method;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

async fn connect(replica: &Replica, query: &str, headers: &[(&str, &str)]) -> Events {
    Events::connect(&format!("http://{}/v1/prices/stream?{query}", replica.address), headers).await
}

#[tokio::test]
async fn update_has_a_timestamp_a_price_and_an_id() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    for path in ["/v1/prices/stream", "/prices/stream"] {
        let mut events = Events::connect(&format!("http://{}{path}", replica.address), &[]).await;
        let retry = events.block().await.unwrap().retry.expect("retry comes first");
        assert!((500..2000).contains(&retry));
        // Named events may come before the first tick.
        let event = events.update().await;
        assert_eq!(fields(&event.json()), ["timestamp", "price"]);
        let id: u64 = event.id.as_deref().unwrap().parse().unwrap();
        assert_eq!(event.json()["timestamp"].as_u64(), Some(id / 1000), "seconds, and the id is milliseconds");
    }
}

#[tokio::test]
async fn last_event_id_has_precedence_over_the_query() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let all = entries(&mut replica.connect("format=full&since=0").await, 6).await;
    let ids = unbroken(&all);
    for query in ["format=full", "format=full&since=0", "format=full&after=1"] {
        let last = ids[2].to_string();
        let mut events = connect(&replica, query, &[("Last-Event-ID", &last)]).await;
        for expected in &all[3..] {
            let event = events.event().await;
            assert_eq!(event.json(), *expected, "{query}");
            assert_eq!(event.id.unwrap(), expected["id"].to_string());
        }
    }
    // Some libraries send an empty header, which has no effect.
    let mut events = connect(&replica, "format=full&since=0", &[("Last-Event-ID", "")]).await;
    assert_eq!(events.event().await.json(), all[0]);
}

#[tokio::test]
async fn statuses_and_gaps_are_named_events() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "4s")];
    let replica = embedded(&exchange, &settings).await;
    let mut short = connect(&replica, "", &[]).await;
    let mut full = connect(&replica, "format=full", &[]).await;
    assert_eq!(short.named("synced").await.json()["type"], "synced");
    // An outage before the first price is not a gap.
    replica.priced().await;
    exchange.set_all(&Mode::Silent);
    let (stale, same) = (short.named("status").await, full.named("status").await);
    assert_eq!((&stale, &stale.json()["state"]), (&same, &"stale".into()));
    assert_eq!(stale.id.unwrap(), same.json()["id"].to_string(), "a client can resume from it");
    exchange.set_all(&Mode::Good);
    let (gap, same) = (short.named("gap").await, full.named("gap").await);
    assert_eq!((&gap, &gap.json()["reason"], &gap.id), (&same, &"source_outage".into(), &None));
    assert_eq!(short.update().await.id.unwrap(), gap.json()["before"].to_string());
}

#[tokio::test]
async fn quiet_stream_gets_comments() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "1h"), ("BTCFEED_HEARTBEAT", "1s")]).await;
    let mut events = connect(&replica, "", &[]).await;
    for _ in 0..2 {
        let mut comment = events.block().await.unwrap().comment;
        while comment.is_none() {
            comment = events.block().await.unwrap().comment;
        }
        assert_eq!(comment.as_deref(), Some("still here"));
    }
}

#[tokio::test]
async fn client_resumes_elsewhere_after_a_goodbye() {
    let cluster = TestCluster::new().await;
    let [mut first, second] = cluster.replicas().await;
    let mut events = connect(&first, "format=full", &[]).await;
    let last = events.update().await.id.unwrap();
    first.signal(Signal::TERM);
    let mut seen = vec![last];
    let goodbye = loop {
        let event = events.event().await;
        match event.name.as_deref() {
            Some("goodbye") => break event.json(),
            _ => seen.extend(event.id),
        }
    };
    assert_eq!((&goodbye["type"], &goodbye["reason"]), (&"goodbye".into(), &"draining".into()));
    assert_eq!(events.block().await, None, "the stream ends");
    assert!(first.exit().await.success(), "an open stream does not delay the stop");
    let mut resumed = connect(&second, "format=full", &[("Last-Event-ID", seen.last().unwrap())]).await;
    let next = resumed.update().await.json();
    assert_eq!(next["prev"].to_string(), *seen.last().unwrap(), "{next}");
}

#[tokio::test]
async fn event_source_is_asked_to_retry() {
    let exchange = Exchange::start().await;
    let replica = without_redis(&exchange).await;
    let mut events = connect(&replica, "", &[("Accept", "text/event-stream")]).await;
    assert!(events.block().await.unwrap().retry.unwrap() >= 3000);
    assert_eq!(events.named("goodbye").await.json()["reason"], "unavailable");
    assert_eq!(events.block().await, None);
    let (status, _) = replica.get("/v1/prices/stream").await;
    assert_eq!(status, 503, "other clients get an HTTP error");
}

#[tokio::test]
async fn rejection_over_the_limit_has_cors_headers() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_CORS_ORIGINS", "https://a.example"), ("BTCFEED_MAX_CONNECTIONS", "1")];
    let (http1, http2) = (http(), http_over_2());
    // The only place is occupied by a connection, or by the first of several requests on an HTTP/2 connection.
    for (taker, others) in [(&http1, &http1), (&http1, &http2), (&http2, &http2)] {
        let replica = embedded(&exchange, &settings).await;
        let url = format!("http://{}/v1/prices/stream", replica.address);
        let taken = soon("the only place", taker.get(&url).send()).await.unwrap();
        assert_eq!(taken.status(), 200);
        for (origin, allowed) in [("https://a.example", Some("https://a.example")), ("https://b.example", None)] {
            let rejected = async |method: Method, accept: &str| {
                let request = others.request(method, &url).header("Origin", origin).header("Accept", accept);
                let answer = soon("an answer", request.send()).await.unwrap();
                let header = answer.headers().get("access-control-allow-origin").map(|origin| origin.to_str().unwrap());
                assert_eq!(header, allowed, "{accept} {answer:?}");
                (answer.status().as_u16(), soon("the rest", answer.text()).await.unwrap())
            };
            let (status, events) = rejected(Method::GET, "text/event-stream").await;
            assert!(status == 200 && events.contains("event: goodbye\ndata: "), "{status} {events}");
            let (status, problem) = rejected(Method::GET, "*/*").await;
            assert!(status == 503 && problem.contains("reached its connection limit"), "{status} {problem}");
            // This is the preflight request of a browser.
            assert_eq!(rejected(Method::OPTIONS, "*/*").await.0, 200);
        }
    }
}

#[tokio::test]
async fn stalled_reader_is_disconnected() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(20_000).await;
    let replica = cluster.replica("r1", &[("BTCFEED_WRITE_STALL", "1s")]).await;
    // The client requests megabytes and reads nothing.
    let mut socket = TcpStream::connect(&replica.address).await.unwrap();
    socket.write_all(b"GET /v1/prices/stream?format=full&since=0 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    socket.readable().await.unwrap();
    assert!(is_established(&socket));
    until("the server to close the connection", async || !is_established(&socket)).await;
}

#[tokio::test]
async fn forbidden_origin_gets_no_websocket() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_CORS_ORIGINS", "https://a.example")]).await;
    let handshake = async |origin: Option<&str>| {
        let mut request = format!("ws://{}/v1/ws", replica.address).into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        match soon("a handshake", connect_async(request)).await {
            Ok((_, response)) => response.status().as_u16(),
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("{error}"),
        }
    };
    let own = format!("http://{}", replica.address);
    for allowed in [None, Some("https://a.example"), Some(own.as_str())] {
        assert_eq!(handshake(allowed).await, 101, "{allowed:?}");
    }
    assert_eq!(handshake(Some("https://b.example")).await, 403);
}
