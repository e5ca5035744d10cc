//! Requests as clients send them to other services: with a slash at the end of a path, for `/favicon.ico`, with a date
//! as `since`.

use super::server::{TestServer, ticks};

#[tokio::test]
async fn slash_at_the_end_of_a_path_is_ignored() {
    let server = TestServer::with(&[], &ticks(3)).await;
    for path in ["/v1/prices/latest", "/v1/prices", "/v1/candles?interval=1m", "/v1/status", "/btcfeed.js"] {
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        for slashes in ["/", "//"] {
            let answer = server.get(&format!("{bare}{slashes}?{query}")).await;
            assert_eq!(answer.status, 200, "{path} {slashes}");
        }
    }
    assert_eq!(server.get("/v1/prices/latest/").await.body, server.get("/v1/prices/latest").await.body);
    assert_eq!(server.get("/v1/nothing/").await.status, 404);
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test]
async fn icon_is_where_browsers_look_for_it() {
    let server = TestServer::new().await;
    let icon = server.get("/favicon.ico").await;
    assert_eq!((icon.status, icon.header("content-type")), (200, "image/svg+xml"));
    assert!(icon.text().starts_with("<svg"));
}

#[tokio::test]
async fn since_takes_a_date_and_explains_units() {
    let server = TestServer::with(&[], &ticks(3)).await;
    let all = server.get("/v1/prices?since=2026-01-01").await.json()["prices"].as_array().unwrap().len();
    assert_eq!(all, 3);
    let error = server.get("/v1/prices?since=10").await;
    assert_eq!(error.status, 400);
    let detail = error.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("a time before now has a unit (10s, 10m)"), "{detail}");
}
