//! What `/btcfeed.js` can be told: to give less, where the feed is; and what it says to what it cannot be told.

use super::scripted_server::{close, gap, say, setup, synced, tick};
use super::sdk::{reading, seen, seen_in_short};
use crate::support::until;
use serde_json::{Value, json};

#[tokio::test]
async fn one_who_asks_for_less_is_told_of_no_gap_that_is_none_and_of_each_that_is_once() {
    let (_exchange, replica, odd, browser) = setup().await;
    let sdk = format!("http://{}/btcfeed.js", replica.address);
    let less = "changes: true, every: 1500, limit: 100, clientId: 'shop-7'";
    browser.run(&reading(&sdk, &format!("{{ url: 'ws://{}/', {less} }}", odd.address))).await;
    let (mut socket, query) = odd.accept().await;
    assert_eq!(query, "format=full&hello=true&changes=true&every=1500ms&limit=100&client_id=shop-7");
    // The server is before its last tick when it says that replay is over, and an outage ends with a tick that is not sent.
    say(&mut socket, &[tick(10, 5), tick(40, 30), synced(35), tick(50, 49), gap(50, 60, "source_outage")]).await;
    until("the gap", async || seen(&browser).await.len() == 4).await;
    close(socket, 1001).await;
    let (mut socket, query) = odd.accept().await;
    assert!(query.contains("every=1500ms&limit=100&client_id=shop-7&after=50"), "{query}");
    say(&mut socket, &[gap(50, 60, "source_outage"), tick(70, 65)]).await;
    until("the rest", async || seen(&browser).await.len() >= 5).await;
    assert_eq!(seen_in_short(&browser).await, json!([10, 40, 50, [50, 60, "source_outage"], 70]));
}

#[tokio::test]
async fn with_a_limit_what_is_left_out_is_told_by_the_server_and_what_is_lost_by_itself() {
    let (_exchange, replica, odd, browser) = setup().await;
    let sdk = format!("http://{}/btcfeed.js", replica.address);
    browser.run(&reading(&sdk, &format!("{{ url: 'ws://{}/', limit: 2 }}", odd.address))).await;
    let (mut socket, _) = odd.accept().await;
    say(&mut socket, &[tick(10, 5)]).await;
    until("an update", async || seen(&browser).await.len() == 1).await;
    close(socket, 1001).await;
    let (mut socket, query) = odd.accept().await;
    assert!(query.contains("limit=2&after=10"), "{query}");
    say(&mut socket, &[gap(10, 90, "replay_limit"), tick(90, 80), tick(120, 100)]).await;
    until("the rest", async || seen(&browser).await.len() == 5).await;
    let expected = json!([10, [10, 90, "replay_limit"], 90, [90, 120, "unexplained"], 120]);
    assert_eq!(seen_in_short(&browser).await, expected);
}

#[tokio::test]
async fn a_replica_gives_less_and_remembers_a_name() {
    let (_exchange, replica, _odd, browser) = setup().await;
    let sdk = format!("http://{}/btcfeed.js", replica.address);
    let url = format!("url: 'ws://{}/v1/ws'", replica.address);
    browser.run(&reading(&sdk, &format!("{{ {url}, every: '1s', changes: true, clientId: 'shop-7' }}"))).await;
    let mut first = Vec::new();
    until("ticks of which some between are left out", async || {
        first = seen(&browser).await;
        first.len() > 2 && first.windows(2).any(|pair| pair[0]["id"] != pair[1]["prev"])
    })
    .await;
    browser.run("feed.close()").await;
    assert!(first.iter().all(|update| update["reason"] != "unexplained"), "{first:?}");
    let last = first.last().unwrap()["id"].as_u64().unwrap();
    let newest = async || replica.history().await.last().unwrap()["id"].as_u64().unwrap();
    until("more than was asked for", async || newest().await > last + 3000).await;
    let newest = newest().await;
    browser.run(&reading(&sdk, &format!("{{ {url}, clientId: 'shop-7' }}"))).await;
    until("what was missed", async || !seen(&browser).await.is_empty()).await;
    let next = seen(&browser).await[0]["id"].as_u64().unwrap();
    assert!((last..newest).contains(&next), "{next} is not between {last} and {newest}");
}

#[tokio::test]
async fn what_it_cannot_be_told_is_said_with_what_it_can() {
    let (_exchange, replica, _odd, browser) = setup().await;
    browser
        .run(&format!("import('http://{}/btcfeed.js').then(({{ Feed }}) => {{ window.Feed = Feed }})", replica.address))
        .await;
    until("the module", async || browser.run("return window.Feed !== undefined").await == true).await;
    let said = async |options: &str| -> Value {
        browser
            .run(&format!("try {{ new Feed({options}); return 'nothing' }} catch (error) {{ return error.message }}"))
            .await
    };
    let all = "url, currencies, since, after, changes, every, limit, clientId";
    for (options, expected) in [
        ("{ curencies: ['EUR'] }", format!("invalid option \"curencies\": expected {all}")),
        (
            "{ url: 'ws://feed.example/v1/ws?every=30s' }",
            format!("invalid url with the query \"?every=30s\": expected options instead ({all})"),
        ),
        ("{ since: 1, after: 2 }", "invalid options since and after: expected only one of them".to_owned()),
        ("{ after: 'x' }", "invalid after \"x\": expected the id of an update".to_owned()),
        // `localStorage.getItem` returns null if it has nothing.
        ("{ after: null }", "invalid after \"null\": expected the id of an update".to_owned()),
        ("{ after: '17' }", "nothing".to_owned()),
        ("{ url: 'ftp://x/' }", "invalid url \"ftp://x/\": expected ws://, wss://, http:// or https://".to_owned()),
        (
            "{ url: 'localhost:8080' }",
            "invalid url \"localhost:8080\": expected ws://, wss://, http:// or https://".to_owned(),
        ),
        ("{ changes: false, every: undefined, limit: 0 }", "nothing".to_owned()),
    ] {
        assert_eq!(said(options).await, *expected, "{options}");
    }
}

#[tokio::test]
async fn outside_a_page_it_says_what_is_missing() {
    let (_exchange, replica, _odd, browser) = setup().await;
    // Read from a text, it came from no server, as from a file; without a WebSocket it is as in an old Node.
    let script = format!(
        "window.said = [];
         const tell = (make) => {{ try {{ make(); said.push('nothing') }} catch (error) {{ said.push(error.message) }} }};
         fetch('http://{}/btcfeed.js').then((answer) => answer.text())
           .then((text) => import('data:text/javascript,' + encodeURIComponent(text))).then(({{ Feed }}) => {{
             tell(() => new Feed());
             tell(() => new Feed({{ url: 'ws://127.0.0.1:9/' }}));
             delete window.WebSocket;
             tell(() => new Feed({{ url: 'ws://127.0.0.1:9/' }}));
           }})",
        replica.address
    );
    browser.run(&script).await;
    until("all to be said", async || browser.run("return said.length").await == 3).await;
    let expected = json!([
        "missing url outside of a page: expected ws://, wss://, http:// or https://",
        "nothing",
        "missing WebSocket: expected a browser, Deno, Bun, or Node 22 or later",
    ]);
    assert_eq!(browser.run("return said").await, expected);
}
