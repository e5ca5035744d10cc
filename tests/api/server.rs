//! A server without a socket, whose feed is in memory.

use crate::support::events::Events;
use crate::support::soon;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response};
use btcfeed::config::{Config, Lookup};
use btcfeed::feed::{Entry, Event};
use btcfeed::hub::Hub;
use btcfeed::monitor::Monitor;
use btcfeed::server;
use btcfeed::session::Bookmarks;
use btcfeed::store::{Lease, Memory, Record, Store};
use btcfeed::tick::TickId;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

/// A response whose body has been read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the value of a header, or an empty text if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A server and its feed.
pub struct TestServer {
    pub router: Router,
    store: Arc<Memory>,
    hub: Arc<Hub>,
    lease: Lease,
    _stop: DropGuard,
}

impl TestServer {
    /// Starts a server with default settings and an empty feed.
    pub async fn new() -> TestServer {
        TestServer::with(&[], &[]).await
    }

    /// Starts a server with these settings and this history.
    pub async fn with(settings: &[(&str, &str)], history: &[Entry]) -> TestServer {
        let server = TestServer::unprimed(settings, history).await;
        let stop = CancellationToken::new();
        let (hub, stopped) = (server.hub.clone(), stop.clone());
        tokio::spawn(async move { hub.run(stopped).await });
        soon("the hub to read the history", server.hub.primed()).await;
        TestServer { _stop: stop.drop_guard(), ..server }
    }

    /// Creates a server that has not read its history, like a replica that cannot reach Redis.
    pub async fn unprimed(settings: &[(&str, &str)], history: &[Entry]) -> TestServer {
        let settings = [("BTCFEED_DATA", "none")].iter().chain(settings);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::read(&Lookup::new([], settings)).unwrap();
        let store = Arc::new(Memory::new(config.store));
        let lease = store.acquire("r1").await.unwrap().unwrap();
        let history: Vec<_> = history.iter().cloned().map(Arc::new).collect();
        store.restore(&lease, &history).await.unwrap();
        let hub = Arc::new(Hub::new(store.clone(), config.hub));
        let monitor = Arc::new(Monitor::new(hub.clone(), store.clone(), config.monitor.clone()));
        let bookmarks = Arc::new(Bookmarks::new(store.clone()));
        let router = server::router(&config.server, hub.clone(), monitor, bookmarks).unwrap();
        TestServer { router, store, hub, lease, _stop: CancellationToken::new().drop_guard() }
    }

    /// Appends an event to the feed, and waits until the server has it. Returns its id.
    pub async fn append(&self, event: Value) -> u64 {
        self.write(Record::now(serde_json::from_value::<Event>(event).unwrap())).await
    }

    /// Appends a tick with what went into its prices. Returns its id.
    pub async fn append_audited(&self, event: Value, inputs: &Value) -> u64 {
        self.append_old(event, inputs, Duration::ZERO).await
    }

    /// Appends a tick of this age with what went into its prices. Returns its id.
    pub async fn append_old(&self, event: Value, inputs: &Value, age: Duration) -> u64 {
        let at = Instant::now().checked_sub(age).unwrap();
        let record = Record { at, ..Record::now(serde_json::from_value::<Event>(event).unwrap()) };
        let audit = serde_json::from_value(json!({ "inputs": inputs })).unwrap();
        self.write(record.with_audit(&audit)).await
    }

    async fn write(&self, record: Record) -> u64 {
        self.store.renew(&self.lease).await.unwrap();
        let id = self.store.append(&self.lease, &record, TickId::ZERO).await.unwrap().id;
        soon("the hub to have the entry", self.hub.watch_head().wait_for(|head| *head >= id)).await.unwrap();
        id.ms()
    }

    /// Sends a request. The body of the response is not read.
    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        let what = request.uri().to_string();
        let Ok(response) = soon(&what, self.router.clone().oneshot(request)).await;
        response
    }

    /// Sends a request without a body. An event stream is not read, because it has no end.
    pub async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let response = self.send(request(method, path, headers)).await;
        let (parts, body) = response.into_parts();
        let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_stream { Vec::new() } else { soon(path, body.collect()).await.unwrap().to_bytes().into() };
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Sends a GET request with these headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request(Method::GET, path, headers).await
    }

    /// Sends a GET request.
    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    /// Returns the JSON at a path.
    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Opens an event stream.
    pub async fn events(&self, query: &str, headers: &[(&str, &str)]) -> Events {
        let path = format!("/v1/prices/stream?{query}");
        let response = self.send(request(Method::GET, &path, headers)).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events::read(response.into_body().into_data_stream().map(|chunk| chunk.map_err(drop)))
    }
}

/// Returns a request without a body.
pub fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// Returns a tick in dollars.
pub fn usd(price: &str) -> Value {
    json!({"type": "tick", "prices": {"USD": price}, "sources": {"USD": ["kraken"]}})
}

/// Returns a tick in both currencies.
pub fn both(usd: &str, eur: &str) -> Value {
    let sources = json!({"USD": ["coinbase", "kraken"], "EUR": ["kraken"]});
    json!({"type": "tick", "prices": {"USD": usd, "EUR": eur}, "sources": sources})
}

/// Returns a history of these events, one for each second. The last one is five seconds old.
pub fn history(events: impl IntoIterator<Item = Value>) -> Vec<Entry> {
    let events: Vec<_> = events.into_iter().map(|event| serde_json::from_value::<Event>(event).unwrap()).collect();
    let begin = TickId::now().ms() - 5000 - (events.len() as u64).saturating_sub(1) * 1000;
    let mut prev = TickId::ZERO;
    let entries = events.into_iter().zip(0..).map(|(event, place)| {
        let id = TickId::from_ms(begin + place * 1000);
        Entry { id, prev: std::mem::replace(&mut prev, id), event }
    });
    entries.collect()
}

/// Returns a history of `count` ticks in dollars.
pub fn ticks(count: usize) -> Vec<Entry> {
    history(vec![usd("97000.10"); count])
}

/// Returns the ids of entries.
pub fn ids(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.id.ms()).collect()
}
