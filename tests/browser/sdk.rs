//! `/btcfeed.js` over a bad network, and with unusual messages.

use super::driver::Browser;
use super::scripted_server::{close, gap, send, setup, synced, tick};
use crate::support::exchange::Exchange;
use crate::support::proxy::Proxy;
use crate::support::{embedded, until};
use futures_util::SinkExt;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

/// Returns a script that reads a feed in the page, like the example in the documentation, and records the updates.
pub fn reading(sdk: &str, options: &str) -> String {
    format!(
        "window.seen = []; window.states = []; window.reasons = []; window.ended = '';
         import('{sdk}').then(async ({{ Feed }}) => {{
           window.feed = new Feed({options});
           feed.addEventListener('connection', ({{ detail }}) => {{ states.push(detail.state); reasons.push(detail.reason) }});
           for await (const update of feed) seen.push(update);
         }}).catch((error) => {{ window.ended = error.message }})"
    )
}

/// Returns the recorded updates.
pub async fn seen(browser: &Browser) -> Vec<Value> {
    browser.run("return window.seen").await.as_array().unwrap().clone()
}

/// Returns the ids of the recorded entries, and gaps as `[after, before, reason]`.
pub async fn seen_in_short(browser: &Browser) -> Value {
    browser.run("return seen.map(({ id, after, before, reason }) => id ?? [after, before, reason])").await
}

/// Time for which connections break.
const BREAK_FOR: Duration = Duration::from_secs(60);

#[tokio::test]
async fn sdk_gets_each_update_once_over_bad_links() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let proxy = Proxy::start(replica.port()).await;
    let browser = Browser::open(&format!("http://{}/", proxy.address)).await;
    browser.until_live().await;
    browser.run(&reading("/btcfeed.js", "{ currencies: ['USD', 'EUR'], since: 0 }")).await;
    let started = Instant::now();
    // The first connection hangs until the proxy cuts it. The updates of this time come only over the next connection.
    sleep(Duration::from_secs(1)).await;
    proxy.freeze();
    while started.elapsed() < BREAK_FOR {
        sleep(Duration::from_millis(fastrand::u64(..3000))).await;
        proxy.cut();
        // Such a short outage is often over before the SDK reconnects.
        sleep(Duration::from_millis(fastrand::u64(..10) * fastrand::u64(..150))).await;
        proxy.restore();
    }
    let (_, history) = replica.get("/v1/prices?format=full&currency=USD,EUR&limit=100000").await;
    let expected: Vec<_> = history.lines().next().unwrap().split("{\"type\":").skip(1).collect();
    until("the rest", async || seen(&browser).await.len() >= expected.len()).await;
    for (update, expected) in seen(&browser).await.iter().zip(&expected) {
        // On a busy machine an exchange may have answered too late for one currency.
        let digits = |code| Some(format!("\"{code}\":{}", update["exact"][code].as_str()?));
        let prices: Vec<_> = ["USD", "EUR"].into_iter().filter_map(digits).collect();
        let (id, prev, prices) = (&update["id"], &update["prev"], prices.join(","));
        let sent = format!(r#""tick","id":{id},"prev":{prev},"timedate":{},"prices":{{{prices}}}"#, update["timedate"]);
        assert!(expected.starts_with(&sent), "{sent} is not {expected}");
    }
    let states = browser.run("return window.states").await;
    let connections = states.as_array().unwrap().iter().filter(|state| *state == "live").count();
    assert!(connections > 8 && expected.len() > 60, "{connections} connections, {} updates", expected.len());
    // The page used the same proxy.
    browser.until_live().await;
    until("a curve without a gap", async || browser.count(".gap").await == 0).await;
}

#[tokio::test]
async fn hanging_connection_is_replaced() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let proxy = Proxy::start(replica.port()).await;
    let browser = Browser::open(&format!("http://{}/", proxy.address)).await;
    browser.until_live().await;
    browser.run(&reading("/btcfeed.js", "{}")).await;
    until("an update", async || !seen(&browser).await.is_empty()).await;
    proxy.freeze();
    let states = async || browser.run("return states.filter((state) => state === 'live').length").await;
    until("another connection", async || states().await == 2).await;
    let count = seen(&browser).await.len();
    until("another update", async || seen(&browser).await.len() > count).await;
}

#[tokio::test]
async fn exact_prices_have_all_digits() {
    let exchange = Exchange::start().await;
    exchange.set("kraken", crate::support::exchange::Mode::Price("97116.50"));
    let replica = embedded(&exchange, &[("BTCFEED_SOURCES", "kraken")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.run(&reading("/btcfeed.js", "{ currencies: 'USD' }")).await;
    until("an update", async || !seen(&browser).await.is_empty()).await;
    let tick = &seen(&browser).await[0];
    assert_eq!((&tick["prices"], &tick["exact"]), (&json!({"USD": 97116.5}), &json!({"USD": "97116.50"})));
}

#[tokio::test]
async fn permanent_rejection_ends_the_feed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.run(&reading("/btcfeed.js", "{ currencies: 'GBP' }")).await;
    until("the end", async || browser.run("return window.ended").await != "").await;
    assert_eq!(browser.run("return window.ended").await, "invalid currency \"GBP\": expected USD or EUR");
    assert_eq!(browser.run("return feed.connection.state").await, "closed");
    // After the failed handshake, the SDK asks the server for the reason. The last state has this reason.
    let reasons = json!([null, "the connection failed", "invalid currency \"GBP\": expected USD or EUR"]);
    assert_eq!(browser.run("return reasons").await, reasons);
    // The rejection of an unknown path is permanent, too.
    browser.run(&reading("/btcfeed.js", "{ url: '/v1/nothing' }")).await;
    until("the end", async || browser.run("return window.ended").await != "").await;
    // In some browsers a failed handshake is an error without a close event.
    browser.run("window.WebSocket = class { constructor() { setTimeout(() => this.onerror({})) } close() {} }").await;
    browser.run(&reading("/btcfeed.js", "{ since: 'foo' }")).await;
    until("the end", async || {
        browser.run("return window.ended").await.as_str().unwrap().starts_with("invalid since \"foo\": ")
    })
    .await;
}

#[tokio::test]
async fn sdk_dedupes_skips_and_reports_gaps() {
    let (_exchange, replica, server, browser) = setup().await;
    let (sdk, address) = (format!("http://{}/btcfeed.js", replica.address), server.address);
    browser.run(&reading(&sdk, &format!("{{ url: 'ws://{address}/feed', after: 5 }}"))).await;
    let (mut socket, query) = server.accept().await;
    assert!(query.contains("format=full") && query.contains("after=5"), "{query}");
    let outage = |after, before| gap(after, before, "source_outage");
    let status = json!({"type": "status", "id": 20, "prev": 10, "state": "stale", "since": "", "reason": "x"});
    send(&mut socket, &[tick(10, 5), json!({"type": "halving", "id": 11}), json!([1]), json!(null), tick(10, 5)]).await;
    socket.send(Message::text("not JSON")).await.unwrap();
    // An entry is missing without a gap, and the connection ends between a gap and its tick.
    send(&mut socket, &[status.clone(), tick(40, 30), outage(40, 50)]).await;
    until("the first part", async || seen(&browser).await.len() == 5).await;
    close(socket, 1001).await;

    let (mut socket, query) = server.accept().await;
    assert!(query.contains("after=40"), "{query}");
    send(&mut socket, &[outage(40, 50), tick(50, 40)]).await;
    let expired = gap(50, 70, "history_expired");
    send(&mut socket, &[expired.clone(), tick(70, 60), synced(70)]).await;
    until("the rest", async || seen(&browser).await.len() == 8).await;
    // Codes from 4000 to 4499 mean reconnect, codes from 4500 do not.
    close(socket, 4408).await;
    let (socket, query) = server.accept().await;
    assert!(query.contains("after=70"), "{query}");
    close(socket, 4500).await;
    until("the end", async || browser.run("return window.ended").await == "closed by the test").await;

    let mut seen = seen(&browser).await;
    for update in &mut seen {
        update.as_object_mut().unwrap().remove("exact");
    }
    let broken = gap(20, 40, "unexplained");
    let expected = [tick(10, 5), status, broken, tick(40, 30), outage(40, 50), tick(50, 40), expired, tick(70, 60)];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn restarted_feed_continues_after_a_gap() {
    let (_exchange, replica, server, browser) = setup().await;
    let (sdk, address) = (format!("http://{}/btcfeed.js", replica.address), server.address);
    browser.run(&reading(&sdk, &format!("{{ url: 'ws://{address}/' }}"))).await;
    let (mut socket, _) = server.accept().await;
    send(&mut socket, &[synced(1000), tick(1010, 1000)]).await;
    until("an update", async || seen(&browser).await.len() == 1).await;
    close(socket, 1001).await;
    let (mut socket, _) = server.accept().await;
    send(&mut socket, &[synced(500), tick(510, 500)]).await;
    until("the rest", async || seen(&browser).await.len() == 3).await;
    assert_eq!(seen_in_short(&browser).await, json!([1010, [1010, 500, "unexplained"], 510]));
}

#[tokio::test]
async fn forbidden_or_closed_feed_stays_closed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    // The browser shows the text of the script, because the page's own feed would use the replaced functions, too.
    let browser = Browser::open(&format!("http://{}/btcfeed.js", replica.address)).await;
    // A browser throws such an error if a page from https connects to ws.
    browser.run("window.WebSocket = class { constructor() { throw new Error('insecure') } }").await;
    browser.run(&reading("/btcfeed.js", "{}")).await;
    until("the end", async || browser.run("return window.ended").await == "insecure").await;
    let script = "window.made = 0; window.WebSocket = class { constructor() { made++ } close() {} };
        import('/btcfeed.js').then(({ Feed }) => {
          window.feed = new Feed();
          feed.addEventListener('connection', ({ detail }) => { if (detail.state === 'connecting') feed.close() });
          // Timers fire immediately.
          window.setTimeout = (happens) => queueMicrotask(happens)
        })";
    browser.run(script).await;
    until("the end", async || browser.run("return window.feed?.connection.state").await == "closed").await;
    assert_eq!(browser.run("return made").await, 1);
}
