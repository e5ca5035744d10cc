//! Content negotiation: JSON, JSON lines or CSV, compressed or not.

use super::server::{TestServer, both, history, ticks};
use axum::http::Method;
use std::io::Read;

#[tokio::test]
async fn format_has_precedence_over_accept() {
    let server = TestServer::with(&[], &ticks(20)).await;
    for path in ["/v1/prices", "/v1/candles"] {
        for (query, accept, expected) in [
            ("", "*/*", "application/json"),
            ("", "text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
            ("", "text/csv", "text/csv; charset=utf-8; header=present"),
            ("?format=csv", "application/json", "text/csv; charset=utf-8; header=present"),
            ("?format=ndjson", "text/html", "application/x-ndjson"),
        ] {
            let answer = server.get_with(&format!("{path}{query}"), &[("accept", accept)]).await;
            assert_eq!(answer.header("content-type"), expected, "{path}{query} {accept}");
            let varies = answer.header("vary").split(", ").any(|vary| vary == "accept");
            assert_eq!(varies, query.is_empty());
        }
        let rejected = server.get_with(path, &[("accept", "text/html, image/*")]).await;
        assert_eq!((rejected.status, rejected.header("cache-control")), (406, "no-store"));
        let detail = rejected.json()["detail"].clone();
        assert!(detail.as_str().unwrap().contains("application/json, application/x-ndjson"), "{detail}");
    }
}

#[tokio::test]
async fn long_answers_are_compressed_on_request() {
    let tick = |place: usize| both(&format!("97{:03}.25", place % 1000), &format!("89{:03}.5", place % 1000));
    let server = TestServer::with(&[], &history((0..3000).map(tick))).await;
    for path in [
        "/v1/prices?limit=3000&format=full",
        "/v1/prices?limit=3000&format=csv",
        "/v1/candles?currency=USD,EUR",
        "/openapi.json",
        "/docs",
        "/page/page.css",
    ] {
        let plain = server.get(path).await;
        assert_eq!(plain.header("content-encoding"), "");
        assert!(plain.header("vary").split(", ").any(|vary| vary == "accept-encoding"));
        let head = server.request(Method::HEAD, path, &[]).await;
        let varies = head.header("vary").split(", ").filter(|vary| *vary == "accept-encoding").count();
        assert_eq!(varies, 1, "{path}");
        let packed = server.get_with(path, &[("accept-encoding", "gzip, deflate, br")]).await;
        assert_eq!(packed.header("content-encoding"), "gzip");
        assert_eq!(packed.header("etag"), plain.header("etag"), "the same weak tag is valid for both");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
        let (packed, plain) = (packed.body.len(), plain.body);
        assert!(unpacked == plain && packed * 3 < plain.len(), "{path}: {packed} of {}", plain.len());
    }
    for path in ["/v1/prices/stream?since=0", "/v1/prices/latest", "/v1/prices?limit=3"] {
        let answer = server.get_with(path, &[("accept-encoding", "gzip")]).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, ""), "{path}");
    }
}
