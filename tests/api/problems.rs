//! Errors, as problem details (RFC 9457). The snapshot contains their messages.

use super::server::{TestServer, ticks};
use axum::http::Method;
use serde_json::json;
use std::fmt::Write;

/// Headers of a WebSocket handshake, without its version and key.
const UPGRADE: [(&str, &str); 2] = [("connection", "upgrade"), ("upgrade", "websocket")];

/// Invalid requests: path with query, and headers.
const INVALID: [(&str, &[(&str, &str)]); 31] = [
    ("/v1/prices?currency=GBP", &[]),
    ("/v1/prices?currency=", &[]),
    ("/v1/prices?since=yesterday", &[]),
    ("/v1/prices?since=-5", &[]),
    ("/v1/prices?since_date=2026-13-01T00:00:00Z", &[]),
    ("/v1/prices?start_timedate=", &[]),
    ("/v1/prices?after=abc", &[]),
    ("/v1/prices?since=0&after=1", &[]),
    ("/v1/prices?since=0&since_date=0", &[]),
    ("/v1/prices?until=soon", &[]),
    ("/v1/prices?limit=0", &[]),
    ("/v1/prices?limit=x", &[]),
    ("/v1/prices?format=xml", &[]),
    ("/v1/prices?format=csv,full&format=json", &[]),
    ("/v1/prices?curency=EUR", &[]),
    ("/v1/prices?currency=GBP&since=yesterday&limit=0", &[]),
    ("/v1/prices", &[("accept", "text/html, image/*")]),
    ("/v1/prices/latest?since=0", &[]),
    ("/v1/candles?interval=2m", &[]),
    ("/v1/candles?format=full", &[]),
    ("/v1/prices/stream?every=1ms", &[]),
    ("/v1/prices/stream?changes=perhaps", &[]),
    ("/v1/prices/stream?limit=10001", &[]),
    ("/v1/prices/stream?client_id=a%20b", &[]),
    ("/v1/prices/stream", &[("last-event-id", "yesterday")]),
    ("/v1/prices/stream", &UPGRADE),
    ("/v1/ws", &[]),
    ("/v1/ws?currency=GBP", &[]),
    ("/v1/ws", &[UPGRADE[0], UPGRADE[1], ("sec-websocket-version", "12")]),
    ("/v1/ws", &[UPGRADE[0], UPGRADE[1], ("sec-websocket-version", "13"), ("sec-websocket-key", "short")]),
    ("/nothing", &[]),
];

#[tokio::test]
async fn invalid_requests_get_problems() {
    let server = TestServer::with(&[], &ticks(3)).await;
    let mut found = String::new();
    let mut record = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        let answer = server.request(method.clone(), path, headers).await;
        let problem = answer.json();
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        assert_eq!(problem["status"], answer.status, "{path}");
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!(" [{name}: {value}]")).collect();
        writeln!(found, "{method} {path}{}", headers.concat()).unwrap();
        writeln!(found, "  {} {}", answer.status, problem["title"].as_str().unwrap()).unwrap();
        writeln!(found, "  {}\n", problem["detail"].as_str().unwrap()).unwrap();
    };
    for (path, headers) in INVALID {
        record(Method::GET, path, headers).await;
    }
    record(Method::POST, "/v1/prices", &[]).await;
    assert_reviewed!("problems", found);
}

#[tokio::test]
async fn problem_has_the_fields_of_rfc_9457() {
    let server = TestServer::new().await;
    let answer = server.get("/v1/prices?limit=0").await;
    let id = answer.header("x-request-id");
    let expected = json!({
        "type": "about:blank", "title": "Bad Request", "status": 400, "detail": answer.json()["detail"], "request_id": id
    });
    assert_eq!((answer.json(), answer.header("cache-control"), id.len()), (expected, "no-store", 36));
}

#[tokio::test]
async fn request_id_comes_back() {
    let server = TestServer::with(&[], &ticks(3)).await;
    // The server compresses a long problem. It then replaces the compressed body with one that has the id and is not
    // compressed.
    let long = format!("/v1/prices?{}", "limit=x&".repeat(100));
    for path in ["/v1/prices/latest", "/v1/prices?limit=0", &long, "/nothing", "/"] {
        let answer = server.get_with(path, &[("x-request-id", "shop-7/1"), ("accept-encoding", "gzip")]).await;
        assert_eq!(answer.header("x-request-id"), "shop-7/1", "{path}");
        if answer.status >= 400 {
            assert_eq!(answer.json()["request_id"], "shop-7/1", "{path}");
            assert_eq!(answer.header("content-length"), answer.body.len().to_string(), "{path}");
        }
    }
    let answer = server.get_with("/v1/prices?limit=0", &[("x-request-id", "{not plain}")]).await;
    assert_eq!((answer.header("x-request-id").len(), answer.status), (36, 400));
    let head = server.request(Method::HEAD, "/v1/prices?limit=0", &[]).await;
    assert_eq!((head.status, head.body.len()), (400, 0));
}
