//! Ways to read a feed with `/btcfeed.js`: loops that are slow, start late or end early, and event listeners.

use super::driver::Browser;
use super::scripted_server::{ScriptedServer, close, gap, send, setup, synced, tick};
use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::until;
use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

/// Opens a page with the SDK as `Feed`, and with a `feed` that connects to the scripted server. `read(count)` is a loop
/// that ends after `count` updates. It adds the id of each update to `given`, or the reason of a gap.
async fn page(options: &str) -> (Exchange, Replica, ScriptedServer, Browser) {
    let (exchange, replica, server, browser) = setup().await;
    let script = format!(
        "window.given = [];
         import('http://{}/btcfeed.js').then(({{ Feed }}) => {{
           window.Feed = Feed;
           window.feed = new Feed({{ url: 'ws://{}/', {options} }});
           feed.addEventListener('synced', ({{ detail }}) => {{ window.synced = detail.id }});
           window.read = async (count) => {{
             let left = count;
             for await (const {{ id, reason }} of feed) {{ given.push(id ?? reason); if (--left === 0) break }}
             window.left = count;
           }}
         }})",
        replica.address, server.address
    );
    browser.run(&script).await;
    until("the module", async || browser.run("return window.feed !== undefined").await == true).await;
    (exchange, replica, server, browser)
}

#[tokio::test]
async fn slow_loop_applies_backpressure() {
    let (_exchange, _replica, server, browser) = page("after: 0").await;
    let begin = "window.reached = 0; window.wrong = 0;
        const loop = feed[Symbol.asyncIterator]();
        window.next = () => loop.next();
        next()";
    browser.run(begin).await;
    let (mut socket, _) = server.accept().await;
    let ticks: Vec<_> = (1..=12_000).map(|id| tick(id, id - 1)).collect();
    // The client closes the connection when its buffer is full, so sending fails at some point.
    for tick in &ticks {
        if socket.send(Message::text(tick.to_string())).await.is_err() {
            break;
        }
    }
    until("a full buffer", async || browser.run("return feed.connection.state").await == "waiting").await;
    assert_eq!(browser.run("return feed.lastId").await, 1, "only one update was read");
    browser
        .run("(async () => { let last = 1; for (;;) { const { value } = await next(); if (value.id !== ++last) wrong++; reached = last } })()")
        .await;
    let (mut socket, query) = server.accept().await;
    let taken: usize = query.rsplit_once("after=").unwrap().1.parse().unwrap();
    assert!((10_000..12_000).contains(&taken), "{query}");
    send(&mut socket, &ticks[taken..]).await;
    until("all ticks", async || browser.run("return reached").await == 12_000).await;
    assert_eq!(browser.run("return wrong").await, 0);
}

#[tokio::test]
async fn late_and_repeated_loops_miss_nothing() {
    let (_exchange, _replica, server, browser) = page("after: 0").await;
    let (mut socket, _) = server.accept().await;
    for (from, more, count) in [(1, 7, 7), (11, 13, 20)] {
        let ticks: Vec<_> = (from..from + 10).map(|id| tick(id, id - 1)).collect();
        send(&mut socket, &ticks).await;
        send(&mut socket, &[synced(from + 9)]).await;
        until("all ticks", async || browser.run("return window.synced").await == from + 9).await;
        browser.run(&format!("read({more})")).await;
        until("the loop to end", async || browser.run("return given.length").await == count).await;
    }
    assert_eq!(browser.run("return given").await, json!((1..=20).collect::<Vec<_>>()));
}

#[tokio::test]
async fn last_id_is_what_the_loops_have_read() {
    let (_exchange, _replica, server, browser) = page("after: 3").await;
    let (mut socket, query) = server.accept().await;
    assert!(query.contains("after=3"), "{query}");
    send(&mut socket, &[tick(4, 3), tick(5, 4), tick(6, 5), tick(7, 6), gap(7, 9, "source_outage"), tick(9, 7)]).await;
    send(&mut socket, &[tick(10, 9), synced(10)]).await;
    until("all ticks", async || browser.run("return window.synced").await == 10).await;
    let last = async || browser.run("return feed.lastId").await;
    assert_eq!(last().await, 3, "nothing was read yet");
    // The loops run one after the other. The third one ends at a gap, which does not change `lastId`. So a client that
    // resumes after `lastId` gets the gap again.
    for (more, expected) in [(2, 5), (1, 6), (2, 7), (1, 9)] {
        browser.run(&format!("window.left = 0; read({more})")).await;
        until("the loop to be left", async || browser.run("return left").await == more).await;
        assert_eq!(last().await, expected);
    }
    assert_eq!(browser.run("return given").await, json!([4, 5, 6, 7, "source_outage", 9]));
    // A new connection continues after the last update that was received, even if no loop has read it.
    close(socket, 1001).await;
    let (mut socket, query) = server.accept().await;
    assert!(query.contains("after=10"), "{query}");
    assert_eq!(last().await, 9);
    // `lastId` is that of the slower loop. An event listener does not count as a loop.
    browser.run("feed.addEventListener('tick', () => {}); window.slow = feed[Symbol.asyncIterator](); slow.next(); read(100)").await;
    send(&mut socket, &[tick(11, 10), tick(12, 11)]).await;
    until("the last tick in the fast loop", async || browser.run("return given.at(-1)").await == 12).await;
    assert_eq!(last().await, 10, "the slow loop has read no more");
    browser.run("slow.next(); slow.next()").await;
    until("the last tick in the slow loop", async || last().await == 12).await;
}

#[tokio::test]
async fn last_id_of_a_listener_is_the_last_event() {
    let (_exchange, _replica, server, browser) = page("").await;
    browser.run("feed.addEventListener('tick', ({ detail }) => given.push([detail.id, feed.lastId]))").await;
    browser.run("feed.addEventListener('gap', () => given.push(feed.lastId))").await;
    let (mut socket, _) = server.accept().await;
    send(&mut socket, &[tick(4, 3), tick(5, 4), gap(5, 9, "source_outage"), tick(9, 5)]).await;
    until("four updates", async || browser.run("return given.length").await == 4).await;
    assert_eq!(browser.run("return given").await, json!([[4, 4], [5, 5], 5, [9, 9]]));
    // Without any update there is no id.
    assert_eq!(browser.run("return new Feed({ url: 'ws://127.0.0.1:9/' }).lastId ?? 'nothing'").await, "nothing");
}
