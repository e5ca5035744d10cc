//! The address of the server in links and documents.

use super::server::{TestServer, ticks};

/// Returns the `Link` and the `Vary` of a page that has a next page.
async fn next_page(server: &TestServer, headers: &[(&str, &str)]) -> (String, String) {
    let answer = server.get_with("/v1/prices?since=0&limit=2", headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // nginx caches no response whose `Vary` is longer than 128 bytes. Before 1.23, it reads only the last `Vary` line.
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
        for path in ["/v1/prices?since=0&limit=2", "/", "/docs", "/openapi.json", "/asyncapi.json"] {
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
    assert!(!vary.contains("host"), "one cached copy of the page can serve every host: {vary}");
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
    for page in ["docs", "embed", "method"] {
        let slash = server.get(&format!("/{page}/")).await;
        assert_eq!((slash.status, slash.header("location")), (308, &*format!("../{page}")));
    }
}

/// Returns the contents of the tags `og:url` and `og:image` of a page. Both need absolute addresses.
fn absolute_tags(page: &str) -> Vec<&str> {
    let tags = page.split("<meta property=\"og:").skip(1).filter_map(|rest| rest.split_once("\" content=\""));
    let tags = tags.filter(|(name, _)| ["url", "image"].contains(name));
    tags.map(|(_, rest)| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn crawlers_get_absolute_addresses() {
    let public = TestServer::with(&[("BTCFEED_PUBLIC_URL", "https://feed.example/btc/")], &ticks(1)).await;
    let named = TestServer::with(&[], &ticks(1)).await;
    for path in ["/", "/embed"] {
        for (server, base) in [(&public, "https://feed.example/btc"), (&named, "http://localhost:8080")] {
            let answer = server.get(path).await;
            assert_eq!(absolute_tags(answer.text()), [format!("{base}{path}"), format!("{base}/page/og.png")]);
            let again = server.get_with(path, &[("if-none-match", answer.header("etag"))]).await;
            assert_eq!((again.status, again.text()), (304, ""), "{path}");
            for answer in [&answer, &again] {
                assert_eq!(answer.header("cache-control"), "no-cache");
                let vary = answer.header("vary");
                assert!(vary.split(", ").any(|name| name == "host"), "{path}: {vary}");
                assert_eq!(answer.headers.get_all("vary").iter().count(), 1);
            }
        }
        // The `ETag` of the page for one address does not match the page for another one.
        let tag = named.get(path).await.header("etag").to_owned();
        assert_eq!(public.get_with(path, &[("if-none-match", &tag)]).await.status, 200);
        assert_eq!(of(&named, "b.example:81", path, &tag).await.0, 200);
        let page = of(&named, "b.example:81", path, "").await.1;
        assert_eq!(
            absolute_tags(&page),
            [format!("http://b.example:81{path}"), "http://b.example:81/page/og.png".into()]
        );
    }
}

/// Returns the status and the text of the response to a request with this `Host` and this `If-None-Match`.
async fn of(server: &TestServer, host: &str, path: &str, tag: &str) -> (u16, String) {
    let request = axum::http::Request::get(path).header("host", host).header("if-none-match", tag);
    let response = server.send(request.body(axum::body::Body::empty()).unwrap()).await;
    let status = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn documents_show_the_host_of_the_request() {
    let server = TestServer::with(&[], &ticks(1)).await;
    for path in ["/docs", "/openapi.json", "/asyncapi.json"] {
        let (_, text) = of(&server, "a.example:8080", path, "").await;
        assert!(text.contains("a.example:8080") && !text.contains("localhost"), "{path}");
    }
}
