//! The address of the server in links and documents.

use super::server::{TestServer, ticks};

/// Returns the `Link` and the `Vary` of a page that has a next page.
async fn next_page(server: &TestServer, headers: &[(&str, &str)]) -> (String, String) {
    let answer = server.get_with("/v1/prices?since=0&limit=2", headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // nginx before 1.23 reads only one line, and none that is longer than 128 bytes.
    assert_eq!(answer.headers.get_all("vary").iter().count(), 1);
    assert!(answer.header("vary").len() <= 128, "{}", answer.header("vary"));
    (answer.header("link").to_owned(), answer.header("vary").to_owned())
}

#[tokio::test]
async fn links_name_the_host_of_the_request() {
    let server = TestServer::with(&[], &ticks(3)).await;
    let (link, vary) = next_page(&server, &[]).await;
    assert!(link.starts_with("<http://localhost:8080/v1/prices?limit=2&after=") && link.ends_with(">; rel=\"next\""));
    assert!(vary.contains("host, x-forwarded-host, x-forwarded-proto, x-forwarded-prefix"), "{vary}");
    // No proxy is trusted.
    let forged = [("x-forwarded-host", "evil.example"), ("x-forwarded-prefix", "/evil")];
    assert_eq!(next_page(&server, &forged).await.0, link);
    let candles = server.get("/v1/candles?limit=1&since=0&interval=1m").await;
    let next = candles.header("link");
    assert!(next.is_empty() || next.starts_with("<http://localhost:8080/v1/candles?"), "{next}");
}

#[tokio::test]
async fn invalid_host_is_never_repeated() {
    let server = TestServer::with(&[], &ticks(3)).await;
    for host in ["evil.example\"><script>", "a b", "u:p@a.example"] {
        for path in ["/v1/prices?since=0&limit=2", "/docs", "/openapi.json", "/asyncapi.json"] {
            let request = axum::http::Request::get(path).header("host", host).body(axum::body::Body::empty()).unwrap();
            let response = server.send(request).await;
            let link = response.headers()["link"].to_str().unwrap();
            assert!(link.starts_with("<?") || link.starts_with("<http://feed.example/"), "{link}");
        }
    }
}

#[tokio::test]
async fn documents_show_the_public_url() {
    let server = TestServer::with(&[("BTCFEED_PUBLIC_URL", "https://feed.example/btc/")], &ticks(3)).await;
    let (link, vary) = next_page(&server, &[]).await;
    assert!(link.starts_with("<https://feed.example/btc/v1/prices?"), "{link}");
    assert!(!vary.contains("host"), "a shared cache may keep the page for every host: {vary}");
    let openapi = server.json("/openapi.json").await;
    assert_eq!(openapi["servers"][0]["url"], "https://feed.example/btc");
    let asyncapi = server.json("/asyncapi.json").await;
    for (name, protocol) in [("websocket", "wss"), ("events", "https")] {
        let server = &asyncapi["servers"][name];
        assert_eq!(
            (&server["host"], &server["pathname"], &server["protocol"]),
            (&"feed.example:443".into(), &"/btc/".into(), &protocol.into())
        );
    }
    let docs = server.get("/docs").await;
    assert_eq!(docs.header("link").split(';').next(), Some("<https://feed.example/btc/openapi.json>"));
    for document in [docs.text().to_owned(), openapi.to_string(), asyncapi.to_string()] {
        assert!(!document.contains("localhost"), "{}", document.split_once("localhost").unwrap().1);
    }
    assert!(docs.text().contains("curl 'https://feed.example/btc/v1/prices/latest'"));
    let slash = server.get("/docs/").await;
    assert_eq!((slash.status, slash.header("location")), (308, "../docs"));
}

#[tokio::test]
async fn documents_show_the_host_of_the_request() {
    let server = TestServer::with(&[], &ticks(1)).await;
    let of = async |host: &str, path: &str| {
        let request = axum::http::Request::get(path).header("host", host).body(axum::body::Body::empty()).unwrap();
        let response = server.send(request).await;
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    for path in ["/docs", "/openapi.json", "/asyncapi.json"] {
        let text = of("a.example:8080", path).await;
        assert!(text.contains("a.example:8080") && !text.contains("localhost"), "{path}");
    }
}
