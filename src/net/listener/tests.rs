//! Tests of a listener with short deadlines.

use super::accept::REFUSED_MAX_AGE;
use super::*;
use crate::api::overload;
use crate::encode::{Format, Framing, ReplicaInfo};
use crate::feed::Start;
use crate::hub::{self, Hub};
use crate::net::reactor::Reactor;
use crate::net::reactor::stream_protocol::StreamProtocol;
use crate::net::takeover::Handoff;
use crate::session::{Bookmarks, Limits, Sessions, Subscription};
use crate::store::{self, Memory};
use crate::tick::Currencies;
use axum::Extension;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::stream;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const SHORT_AGE: Duration = Duration::from_millis(500);
const STALL: Duration = Duration::from_millis(500);
/// Deadline of each wait, far longer than [`SHORT_AGE`] and [`STALL`].
const TIMEOUT: Duration = Duration::from_secs(15);

struct Server {
    address: SocketAddr,
    tasks: Tasks,
    stop: CancellationToken,
}

/// Serves `/one` with a short response, `/drip` with an endless slow stream, and `/flood` with an endless fast one.
fn serve(clients: usize, max_age: Duration) -> Server {
    serve_with(clients, max_age, max_age)
}

fn serve_with(clients: usize, head_deadline: Duration, max_age: Duration) -> Server {
    serve_for(AddressLimits::none(), clients, head_deadline, max_age)
}

fn serve_for(addresses: AddressLimits, clients: usize, head_deadline: Duration, max_age: Duration) -> Server {
    let limits = Limits { write_stall: STALL, ..Limits::default() };
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener {
        head_deadline,
        max_age,
        ..Listener::bind(address, clients, Arc::new(addresses), limits, overload::router()).unwrap()
    };
    let server =
        Server { address: listener.address().unwrap(), tasks: Tasks::default(), stop: CancellationToken::new() };
    let drip = async |Extension(permit): Extension<Permit>| {
        let open = permit.stream_guard();
        Body::from_stream(stream::unfold(open, async |open| {
            sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, Infallible>("drop "), open))
        }))
    };
    let flood = async || Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>("x".repeat(10_000))));
    let router = Router::new()
        .route("/one", get(async || "one"))
        .route("/drip", get(drip))
        .route("/flood", get(flood))
        .fallback(async || StatusCode::NOT_FOUND);
    server.tasks.spawn(listener.serve(router, server.tasks.clone(), server.stop.clone(), server.stop.clone()));
    server
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects an HTTP/2 client with a small window for each stream.
    async fn http2(&self) -> SendRequest<Empty<Bytes>> {
        let mut client = http2::Builder::new(TokioExecutor::new());
        client.initial_stream_window_size(20_000).initial_connection_window_size(1_000_000);
        let (sender, connection) = client.handshake(TokioIo::new(self.connect().await)).await.unwrap();
        self.tasks.spawn(async { drop(connection.await) });
        sender
    }
}

async fn get_http2(
    sender: &mut SendRequest<Empty<Bytes>>,
    path: &str,
    kind: &str,
) -> hyper::Result<Response<Incoming>> {
    let request = Request::get(format!("http://btcfeed{path}")).header("content-type", kind);
    timeout(TIMEOUT, sender.send_request(request.body(Empty::new()).unwrap())).await.expect("an answer")
}

/// Returns the next data of a response.
async fn data(body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
    let frame = timeout(TIMEOUT, body.frame()).await.expect("a frame")?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

async fn get_http1(server: &Server, path: &str) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// Reads until the text ends with `end`.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(timeout(TIMEOUT, stream.read_u8()).await.expect("a byte in time").expect("no end yet"));
    }
    String::from_utf8(text).unwrap()
}

/// Sessions over an empty feed, and a reactor for them.
fn reactor(tasks: &Tasks) -> (Arc<Sessions>, Arc<Reactor>) {
    let hour = Duration::from_secs(3600);
    let store = Arc::new(Memory::new(store::Options { retention: hour, lease_ttl: hour }));
    let hub = Arc::new(Hub::new(store.clone(), hub::Options { window: 100, retention: hour }));
    let hello = ReplicaInfo { replica: String::new(), currencies: Currencies::USD_EUR, interval: hour };
    let bookmarks = Arc::new(Bookmarks::new(store));
    let sessions = Arc::new(Sessions::new(hub, Limits::default(), bookmarks, hello));
    let (reactor, shards) = Reactor::open(sessions.clone(), hour, tasks).unwrap();
    shards.spawn(tasks, &CancellationToken::new());
    (sessions, Arc::new(reactor))
}

#[tokio::test]
async fn handler_runs_once_for_each_request() {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let (addresses, limits) = (Arc::new(AddressLimits::none()), Limits::default());
    let listener = Listener::bind(address, 9, addresses, limits, overload::router()).unwrap();
    let address = listener.address().unwrap();
    // The threads of the shards never end here. The runtime of the test would wait for them when it is dropped, but
    // these tasks have a runtime of their own, which does not wait.
    let tasks = Tasks::isolated("handlers").unwrap();
    let (stop, runs) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let counted = runs.clone();
    // A handler that answers with an error. It serves the path of a stream, and another path.
    let handler = async move || {
        counted.fetch_add(1, Ordering::Relaxed);
        (StatusCode::BAD_REQUEST, "no")
    };
    let (sessions, reactor) = reactor(&tasks);
    let counted = runs.clone();
    // A handler whose stream moves to the reactor if the request comes with a handoff.
    let taken = async move |handoff: Option<Extension<Handoff>>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let Some(Extension(handoff)) = handoff else { return (StatusCode::BAD_REQUEST, "no") };
        let options = Subscription::new(Currencies::USD_EUR, Format::Full, Start::Latest);
        let session = sessions.open(&options, Framing::Event, || Ok::<_, ()>(())).await.unwrap();
        handoff.fill(StreamProtocol::Events, "taken over".into(), session);
        (StatusCode::OK, "")
    };
    let routes = [("/stream", get(handler.clone())), ("/other", get(handler)), ("/taken", get(taken))];
    let router = routes.into_iter().fold(Router::new(), |router, (path, handler)| router.route(path, handler));
    let takeover = Takeover { paths: ["/stream", "/taken"].map(str::to_owned).into(), reactor };
    tasks.spawn(listener.with_takeover(takeover).serve(router, tasks.clone(), stop.clone(), stop.clone()));
    let mut expected = 0;
    for path in ["/stream", "/other"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The first request of the connection, and one that follows it.
        for _ in 0..2 {
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
            assert!(read_until(&mut stream, "no").await.starts_with("HTTP/1.1 400 "), "{path}");
            expected += 1;
            assert_eq!(runs.load(Ordering::Relaxed), expected, "{path}");
        }
    }
    // Two requests at once, so that both are in the first buffer.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let two = "GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /other HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(two.as_bytes()).await.unwrap();
    for _ in 0..2 {
        assert!(read_until(&mut stream, "no").await.starts_with("HTTP/1.1 400 "));
    }
    expected += 2;
    assert_eq!(runs.load(Ordering::Relaxed), expected);
    // A stream that is taken over, and requests over HTTP/2, which are not.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /taken HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_until(&mut stream, "taken over").await.starts_with("HTTP/1.1 200 "));
    expected += 1;
    assert_eq!(runs.load(Ordering::Relaxed), expected);
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(TcpStream::connect(address).await.unwrap())).await.unwrap();
    tasks.spawn(async { drop(connection.await) });
    for path in ["/stream", "/other", "/taken"] {
        assert_eq!(get_http2(&mut sender, path, "").await.unwrap().status(), StatusCode::BAD_REQUEST);
        expected += 1;
        assert_eq!(runs.load(Ordering::Relaxed), expected, "{path}");
    }
    stop.cancel();
}

#[tokio::test]
async fn http1_and_http2_share_a_port() {
    let server = serve(9, SHORT_AGE);
    assert!(read_until(&mut get_http1(&server, "/one").await, "one").await.starts_with("HTTP/1.1 200 "));
    // An HTTP/1 request for `/PRI`, an HTTP/2 preface in pieces, and an HTTP/1 request that begins like a preface.
    assert!(read_until(&mut get_http1(&server, "/PRI").await, "\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    let mut late = server.connect().await;
    for part in [&b"P"[..], b"RI * HTTP/2", b".0\r\n\r\nSM\r\n\r\n", &[0, 0, 0, 4, 0, 0, 0, 0, 0]] {
        late.write_all(part).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    let mut settings = [0; 9];
    timeout(TIMEOUT, late.read_exact(&mut settings)).await.unwrap().unwrap();
    assert_eq!(settings[3], 4, "the answer is a SETTINGS frame");
    let mut put = server.connect().await;
    put.write_all(b"PRIME / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_until(&mut put, "\r\n").await.starts_with("HTTP/1.1 404 "));
    let answer = get_http2(&mut server.http2().await, "/one", "").await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "one");
}

#[tokio::test]
async fn only_streams_outlive_the_connection_age() {
    let server = serve(9, SHORT_AGE);
    let (mut silent, mut kept) = (server.http2().await, get_http1(&server, "/one").await);
    read_until(&mut kept, "one").await;
    let mut first = get_http1(&server, "/drip").await;
    let mut second = server.http2().await;
    let mut body = get_http2(&mut second, "/drip", "").await.unwrap().into_body();
    let started_at = Instant::now();
    while started_at.elapsed() < SHORT_AGE * 4 {
        read_until(&mut first, "drop ").await;
        assert_eq!(data(&mut body).await.unwrap().unwrap(), "drop ");
    }
    assert!(timeout(TIMEOUT, kept.read_u8()).await.unwrap().is_err(), "an idle connection is closed");
    for sender in [&mut silent, &mut second] {
        assert!(get_http2(sender, "/one", "").await.is_err(), "the connection accepts no more requests");
    }
    // After `stop`, the stream goes on for `CLOSE_DEADLINE`, so that its handler can end it.
    server.stop.cancel();
    assert_eq!(data(&mut body).await.unwrap().unwrap(), "drop ");
}

#[tokio::test]
async fn stalled_response_ends_and_others_go_on() {
    let server = serve(9, TIMEOUT);
    let mut sender = server.http2().await;
    let flood = get_http2(&mut sender, "/flood", "").await.unwrap();
    let mut drip = get_http2(&mut sender, "/drip", "").await.unwrap().into_body();
    let started_at = Instant::now();
    while started_at.elapsed() < STALL * 3 {
        assert_eq!(data(&mut drip).await.unwrap().unwrap(), "drop ");
    }
    // The client still has the data from before the reset.
    let mut flood = flood.into_body();
    let mut received = 0;
    let end = loop {
        match data(&mut flood).await {
            Some(Ok(data)) if received < 1_000_000 => received += data.len(),
            end => break end,
        }
    };
    assert!(end.is_some_and(|end| end.is_err()) && received <= 20_000, "{received} bytes");
    assert_eq!(get_http2(&mut sender, "/one", "").await.unwrap().status(), 200);

    // Over HTTP/1 the connection ends with the response.
    let mut flood = get_http1(&server, "/flood").await;
    sleep(STALL * 3).await;
    let mut all = Vec::new();
    timeout(TIMEOUT, flood.read_to_end(&mut all)).await.expect("an end").ok();
    assert!(!all.ends_with(b"0\r\n\r\n"), "the response is truncated");
}

/// Preface and empty settings of an HTTP/2 client that sends no request.
const SILENT_HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn http2_connection_without_requests_is_closed() {
    let server = serve_with(9, SHORT_AGE, TIMEOUT);
    let mut asking = server.http2().await;
    assert_eq!(get_http2(&mut asking, "/one", "").await.unwrap().status(), 200);
    let mut silent = server.connect().await;
    silent.write_all(SILENT_HTTP2).await.unwrap();
    let started_at = Instant::now();
    timeout(TIMEOUT, silent.read_to_end(&mut Vec::new())).await.expect("an end").ok();
    assert!(started_at.elapsed() >= SHORT_AGE);
    assert_eq!(
        get_http2(&mut asking, "/one", "").await.unwrap().status(),
        200,
        "the connection with a request lives on"
    );
}

#[tokio::test]
async fn refused_connection_is_closed_soon() {
    let server = serve(1, TIMEOUT);
    let _client = get_http1(&server, "/drip").await;
    let mut silent = server.connect().await;
    let mut http2 = server.connect().await;
    http2.write_all(SILENT_HTTP2).await.unwrap();
    let started_at = Instant::now();
    for stream in [&mut silent, &mut http2] {
        timeout(TIMEOUT, stream.read_to_end(&mut Vec::new())).await.expect("an end").ok();
    }
    assert!(started_at.elapsed() < REFUSED_MAX_AGE + TIMEOUT / 10, "{:?}", started_at.elapsed());
}

#[tokio::test]
async fn proxy_header_has_the_deadline_of_a_head() {
    let server = serve_for(AddressLimits::none_behind_proxies(), 2, SHORT_AGE, TIMEOUT);
    let request = b"PROXY UNKNOWN\r\nGET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let ask = async |piece: usize| {
        let mut stream = server.connect().await;
        for bytes in request.chunks(piece) {
            stream.write_all(bytes).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = String::new();
        timeout(TIMEOUT, stream.read_to_string(&mut answer)).await.expect("an end").unwrap();
        answer
    };
    for piece in [1, 7, 16, usize::MAX] {
        assert!(ask(piece).await.starts_with("HTTP/1.1 200 "), "{piece} bytes at a time");
    }
    let started_at = Instant::now();
    let mut late = [server.connect().await, server.connect().await];
    late[1].write_all(b"PROXY TCP4 192.0.2.1 ").await.unwrap();
    // They occupy the two places for clients, so others are refused in the meantime.
    assert!(ask(usize::MAX).await.starts_with("HTTP/1.1 503 "));
    for stream in &mut late {
        timeout(TIMEOUT, stream.read_to_end(&mut Vec::new())).await.expect("an end").ok();
    }
    assert!(started_at.elapsed() >= SHORT_AGE, "{:?}", started_at.elapsed());
    assert!(ask(usize::MAX).await.starts_with("HTTP/1.1 200 "), "the places are free again");
}

#[tokio::test]
async fn request_over_the_client_limit_is_refused() {
    let server = serve(3, TIMEOUT);
    let mut sender = server.http2().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(get_http2(&mut sender, "/drip", "").await.unwrap());
    }
    let refused = get_http2(&mut sender, "/one", "application/grpc").await.unwrap();
    assert_eq!((refused.status(), &refused.headers()["grpc-status"]), (StatusCode::OK, &"8".parse().unwrap()));
    assert_eq!(get_http2(&mut sender, "/one", "").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    // The limit also refuses requests on other connections.
    let mut other = server.http2().await;
    let refused = get_http2(&mut other, "/btcfeed.v1.PriceFeed/Subscribe", "application/grpc").await.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert!(read_until(&mut get_http1(&server, "/one").await, "\r\n\r\n").await.starts_with("HTTP/1.1 503 "));
    streams.pop();
    let started_at = Instant::now();
    while get_http2(&mut sender, "/one", "").await.unwrap().status() != StatusCode::OK {
        assert!(started_at.elapsed() < TIMEOUT, "no permit was returned");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn stop_closes_connections_without_a_request() {
    let server = serve(9, TIMEOUT);
    let (mut silent, mut partial) = (server.connect().await, server.connect().await);
    partial.write_all(b"PRI").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    server.stop.cancel();
    for stream in [&mut silent, &mut partial] {
        let ended = timeout(Duration::from_secs(3), stream.read_u8()).await.expect("an end at once");
        assert!(ended.is_err());
    }
    assert!(server.tasks.finish(Duration::from_secs(3)).await, "no task is left");
}
