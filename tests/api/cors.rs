//! Access by pages of other origins (CORS).

use super::server::{TestServer, history, request, ticks, usd};
use axum::http::Method;

#[tokio::test]
async fn allowed_origin_may_read_answers_and_errors() {
    for (setting, allowed) in [
        (None, "*"),
        (Some("https://b.example,https://a.example"), "https://a.example"),
        (Some("https://b.example"), ""),
        (Some("none"), ""),
    ] {
        let settings: Vec<_> = setting.iter().map(|origins| ("BTCFEED_CORS_ORIGINS", *origins)).collect();
        let server = TestServer::with(&settings, &ticks(1)).await;
        for path in ["/v1/prices/stream", "/v1/prices/latest", "/v1/prices?currency=GBP"] {
            let answer = server.get_with(path, &[("origin", "https://a.example")]).await;
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{path} {setting:?}");
        }
    }
}

#[tokio::test]
async fn preflight_allows_the_headers_of_a_client() {
    let server = TestServer::new().await;
    let headers = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization,last-event-id,traceparent"),
    ];
    let answer = server.send(request(Method::OPTIONS, "/v1/prices/stream", &headers)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-headers"], "authorization,last-event-id,traceparent");
}

#[tokio::test]
async fn own_page_behind_a_proxy_may_open_a_websocket() {
    let settings = [("BTCFEED_CORS_ORIGINS", "none"), ("BTCFEED_PUBLIC_URL", "https://feed.example")];
    let server = TestServer::with(&settings, &history([usd("97000.10")])).await;
    let status = async |origin| server.get_with("/v1/ws", &[("origin", origin)]).await.status;
    // The request is no handshake, so 426 says that the origin is allowed.
    assert_eq!(status("https://feed.example").await, 426);
    assert_eq!(status("http://localhost:8080").await, 426);
    assert_eq!(status("https://other.example").await, 403);
}
