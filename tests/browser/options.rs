//! Options of `/btcfeed.js`, and the errors for invalid options.

use super::scripted_server::{close, gap, send, setup, synced, tick};
use super::sdk::{reading, seen, seen_in_short};
use crate::support::until;
use serde_json::{Value, json};

#[tokio::test]
async fn skipped_ticks_are_not_gaps() {
    let (_exchange, replica, server, browser) = setup().await;
    let sdk = format!("http://{}/btcfeed.js", replica.address);
    let limits = "changes: true, every: 1500, limit: 100, clientId: 'shop-7.4f9b2c71d0e85a36'";
    browser.run(&reading(&sdk, &format!("{{ url: 'ws://{}/', {limits} }}", server.address))).await;
    let (mut socket, query) = server.accept().await;
    assert_eq!(query, "format=full&hello=true&changes=true&every=1500ms&limit=100&client_id=shop-7.4f9b2c71d0e85a36");
    // The id of `synced` may be lower than that of the last tick. The server may skip the tick that ends an outage, so
    // tick 60 does not follow the gap.
    send(&mut socket, &[tick(10, 5), tick(40, 30), synced(35), tick(50, 49), gap(50, 60, "source_outage")]).await;
    until("the gap", async || seen(&browser).await.len() == 4).await;
    close(socket, 1001).await;
    let (mut socket, query) = server.accept().await;
    assert!(query.contains("every=1500ms&limit=100&client_id=shop-7.4f9b2c71d0e85a36&after=50"), "{query}");
    send(&mut socket, &[gap(50, 60, "source_outage"), tick(70, 65)]).await;
    until("the rest", async || seen(&browser).await.len() >= 5).await;
    assert_eq!(seen_in_short(&browser).await, json!([10, 40, 50, [50, 60, "source_outage"], 70]));
}

#[tokio::test]
async fn limited_replay_still_reports_lost_ticks() {
    let (_exchange, replica, server, browser) = setup().await;
    let sdk = format!("http://{}/btcfeed.js", replica.address);
    browser.run(&reading(&sdk, &format!("{{ url: 'ws://{}/', limit: 2 }}", server.address))).await;
    let (mut socket, _) = server.accept().await;
    send(&mut socket, &[tick(10, 5)]).await;
    until("an update", async || seen(&browser).await.len() == 1).await;
    close(socket, 1001).await;
    let (mut socket, query) = server.accept().await;
    assert!(query.contains("limit=2&after=10"), "{query}");
    send(&mut socket, &[gap(10, 90, "replay_limit"), tick(90, 80), tick(120, 100)]).await;
    until("the rest", async || seen(&browser).await.len() == 5).await;
    let expected = json!([10, [10, 90, "replay_limit"], 90, [90, 120, "unexplained"], 120]);
    assert_eq!(seen_in_short(&browser).await, expected);
}

#[tokio::test]
async fn replica_obeys_every_and_client_id() {
    let (_exchange, replica, _server, browser) = setup().await;
    let sdk = format!("http://{}/btcfeed.js", replica.address);
    let url = format!("url: 'ws://{}/v1/ws'", replica.address);
    browser
        .run(&reading(&sdk, &format!("{{ {url}, every: '1s', changes: true, clientId: 'shop-7.4f9b2c71d0e85a36' }}")))
        .await;
    let mut first = Vec::new();
    until("ticks with skipped ones between them", async || {
        first = seen(&browser).await;
        first.len() > 2 && first.windows(2).any(|pair| pair[0]["id"] != pair[1]["prev"])
    })
    .await;
    browser.run("feed.close()").await;
    assert!(first.iter().all(|update| update["reason"] != "unexplained"), "{first:?}");
    let last = first.last().unwrap()["id"].as_u64().unwrap();
    let newest = async || replica.history().await.last().unwrap()["id"].as_u64().unwrap();
    until("newer ticks", async || newest().await > last + 3000).await;
    let newest = newest().await;
    browser.run(&reading(&sdk, &format!("{{ {url}, clientId: 'shop-7.4f9b2c71d0e85a36' }}"))).await;
    until("the missed ticks", async || !seen(&browser).await.is_empty()).await;
    let next = seen(&browser).await[0]["id"].as_u64().unwrap();
    assert!((last..newest).contains(&next), "{next} is not between {last} and {newest}");
}

#[tokio::test]
async fn invalid_options_are_errors() {
    let (_exchange, replica, _server, browser) = setup().await;
    browser
        .run(&format!("import('http://{}/btcfeed.js').then(({{ Feed }}) => {{ window.Feed = Feed }})", replica.address))
        .await;
    until("the module", async || browser.run("return window.Feed !== undefined").await == true).await;
    let message = async |options: &str| -> Value {
        browser
            .run(&format!("try {{ new Feed({options}); return 'no error' }} catch (error) {{ return error.message }}"))
            .await
    };
    let all =
        "url, currencies, since, after, changes, every, limit, clientId, key, redundancy, shared, transport, silence";
    for (options, expected) in [
        ("{ curencies: ['EUR'] }", format!("invalid option \"curencies\": expected {all}")),
        (
            "{ url: 'ws://feed.example/v1/ws?every=30s' }",
            format!("invalid url with a query (every): expected options instead ({all})"),
        ),
        ("{ since: 1, after: 2 }", "invalid options since and after: expected only one of them".to_owned()),
        ("{ after: 'x' }", "invalid after \"x\": expected the id of an update".to_owned()),
        // `localStorage.getItem` returns null for a key without a value.
        ("{ after: null }", "invalid after \"null\": expected the id of an update".to_owned()),
        ("{ after: '17' }", "no error".to_owned()),
        ("{ url: 'ftp://x/' }", "invalid url \"ftp://x/\": expected ws://, wss://, http:// or https://".to_owned()),
        (
            "{ url: 'localhost:8080' }",
            "invalid url \"localhost:8080\": expected ws://, wss://, http:// or https://".to_owned(),
        ),
        ("{ changes: false, every: undefined, limit: 0 }", "no error".to_owned()),
    ] {
        assert_eq!(message(options).await, *expected, "{options}");
    }
}

#[tokio::test]
async fn missing_url_or_websocket_is_an_error() {
    let (_exchange, replica, _server, browser) = setup().await;
    // A module from a `data:` URL has no server, like a module from a file. Old versions of Node.js have no
    // `WebSocket`.
    let script = format!(
        "window.messages = [];
         const attempt = (make) => {{ try {{ make(); messages.push('no error') }} catch (error) {{ messages.push(error.message) }} }};
         fetch('http://{0}/btcfeed.js').then((answer) => answer.text())
           .then((text) => text.replaceAll('./btcfeed/', 'http://{0}/btcfeed/'))
           .then((text) => import('data:text/javascript,' + encodeURIComponent(text))).then(({{ Feed }}) => {{
             attempt(() => new Feed());
             attempt(() => new Feed({{ url: 'ws://127.0.0.1:9/' }}));
             delete window.WebSocket;
             attempt(() => new Feed({{ url: 'ws://127.0.0.1:9/', transport: 'websocket' }}));
           }})",
        replica.address
    );
    browser.run(&script).await;
    until("all messages", async || browser.run("return messages.length").await == 3).await;
    let expected = json!([
        "missing url outside of a page: expected ws://, wss://, http:// or https://",
        "no error",
        "missing WebSocket: expected transport sse, a browser, Deno, Bun, or Node 22 or later",
    ]);
    assert_eq!(browser.run("return messages").await, expected);
}
