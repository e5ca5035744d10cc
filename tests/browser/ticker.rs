//! What a visitor sees of a price (its figures, its tag and its sources), and what a screen reader gets.

use super::driver::Browser;
use crate::support::exchange::{Exchange, Mode};
use crate::support::{TestCluster, embedded, until};
use btcfeed::tick::TickId;
use serde_json::json;

const DAY_MS: u64 = 24 * 3_600_000;

#[tokio::test]
async fn figures_are_visible_without_scrolling() {
    let cluster = TestCluster::new().await;
    // A price for each minute of two days. It is lower before the last day. The last day has one high and one low.
    let (now, mut prev, mut add) = (TickId::now().ms(), 0, ::redis::cmd("ZADD"));
    add.arg("{btcfeed}:ticks");
    for minute in (0..2880).rev() {
        let price = match minute {
            1450.. => "80000.00",
            700 => "99000.00",
            600 => "90000.00",
            _ => "96000.00",
        };
        let (id, sources) = (now - minute * 60_000 - 500, json!({"USD": ["coinbase", "kraken"]}));
        let tick = json!({"id": id, "prev": prev, "type": "tick", "prices": {"USD": price}, "sources": sources, "method": 1, "confidence": {"USD": "2.50"}});
        add.arg(id).arg(tick.to_string());
        prev = id;
    }
    let _: u64 = add.query_async(&mut cluster.redis.connection().await).await.unwrap();
    cluster.exchange.set_all(&Mode::Price("97200.00"));
    let replica = cluster.replica("r1", &[("BTCFEED_RETENTION", "72h")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.set_size(1280, 800).await;
    browser.until_live().await;
    for (figure, wanted) in [
        ("change", "24 h change\n+1.25%"),
        ("high", "24 h high\n$99,000.00"),
        ("low", "24 h low\n$90,000.00"),
        ("confidence", "Confidence\n± $0.00"),
        ("sources", "Sources\n3 of 3"),
    ] {
        let selector = format!("[data-figure={figure}]");
        browser.until_text(&selector, |text| text == wanted).await;
        let script = format!(
            "const box = document.querySelector('{selector}').getBoundingClientRect()
             const price = document.querySelector('.price').getBoundingClientRect()
             return scrollY === 0 && box.bottom < innerHeight && box.left > price.right && box.right < innerWidth"
        );
        assert_eq!(browser.run(&script).await, true, "{figure} is beside the price");
    }
    let axis = "return document.querySelector('.chart').getBoundingClientRect().bottom < innerHeight";
    assert_eq!(browser.run(axis).await, true, "the whole chart is visible");
    // The feed keeps more than a day, and not more than a week.
    until("seven days", async || browser.count("[name=range][value='7d']:enabled").await == 1).await;
    assert_eq!(browser.count("[name=range][value='30d']:disabled").await, 1);
    browser.click("label:has([value='7d'])").await;
    browser.until_text(".void", |text| text == "No data").await;
    browser.until_text("#summary", |text| text.starts_with("In the last 7 days: ")).await;
    let begin = browser
        .run(&format!("return new Date({}).toLocaleString('en-US', {{ weekday: 'short' }})", now - 2 * DAY_MS))
        .await;
    browser
        .until_text("#begin", |text| text.starts_with(&format!("The feed began on {}", begin.as_str().unwrap())))
        .await;
}

#[tokio::test]
async fn tag_and_line_show_the_last_price() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "500ms")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    let script = "const [price, tag] = ['.price', '.tag'].map((one) => document.querySelector(one).textContent)
        const tone = (one) => getComputedStyle(document.querySelector(one)).getPropertyValue('--tone')
        const end = document.querySelector('.end').cy.baseVal.value
        const line = document.querySelector('.last').getBBox().y
        return [price === '$' + tag, Math.abs(line - end) < 1, tone('.market') === tone('.tag')]";
    until("the same price", async || browser.run(script).await == json!([true, true, true])).await;
    // The exchange's prices only rise.
    until("a rising curve", async || browser.count(".market.up").await == 1).await;
    browser.click("label:has([value='24h'])").await;
    until("a rising candle", async || !browser.attribute(".candles.up", "d").await.is_empty()).await;
    // The tip is next to the dot.
    browser.click("label:has([value='15m'])").await;
    until("a curve", async || browser.count(".curve").await == 1).await;
    browser.run("document.getElementById('chart').focus()").await;
    browser.press(thirtyfour::Key::End).await;
    let near = "const [tip, dot] = ['.tip', '.dot'].map((one) => document.querySelector(one).getBoundingClientRect())
        return [dot.left - tip.right, (tip.top + tip.bottom) / 2 - (dot.top + dot.bottom) / 2]";
    let near = browser.run(near).await;
    assert!((0.0..30.0).contains(&near[0].as_f64().unwrap()) && near[1].as_f64().unwrap().abs() < 60.0, "{near}");
}

#[tokio::test]
async fn sources_have_their_own_price_age_and_state() {
    let exchange = Exchange::start().await;
    exchange.set("bitstamp", Mode::Price("99990.00"));
    exchange.set("kraken", Mode::Price("97010.00"));
    exchange.set("coinbase", Mode::Price("97012.00"));
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "500ms")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    let row = async |number: u32| browser.text(&format!("#sources tbody tr:nth-child({number})")).await;
    until("the sources", async || browser.count("#sources tbody tr").await == 3).await;
    browser.until_text("[data-figure=sources] dd", |text| text == "2 of 3").await;
    let bitstamp = row(1).await;
    assert!(bitstamp.starts_with("Bitstamp\t$99,990.00\t+3.07%\t"), "{bitstamp}");
    assert!(bitstamp.contains(" s\tOutlier: "), "{bitstamp}");
    assert!(row(2).await.starts_with("Coinbase Exchange\t$97,012.00\t0.00%\t"), "{}", row(2).await);
    assert!(row(3).await.ends_with("\tUsed"), "{}", row(3).await);
    for (text, path) in
        [("how it is made", "method"), ("what went into the newest price", "v1/prices/latest?format=audit")]
    {
        let link = format!("return [...document.links].find((link) => link.textContent === '{text}').href");
        let href = browser.run(&link).await.as_str().unwrap().to_owned();
        assert!(href.starts_with(&format!("http://{}/{path}", replica.address)), "{href}");
    }
    // The table is updated only while it is visible.
    browser.run("document.getElementById('sources').scrollIntoView()").await;
    exchange.set("bitstamp", Mode::Status(503, None));
    until("a failed source", async || row(1).await.contains(" s\tPaused for ")).await;
}

#[tokio::test]
async fn screen_readers_get_a_table_and_no_flood() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    browser.until_text("#trouble", str::is_empty).await;
    let watch = "window.spoken = []
        for (const region of document.querySelectorAll('[role=status], [aria-live]')) {
          new MutationObserver(() => spoken.push(region.id)).observe(region, { childList: true, characterData: true, subtree: true })
        }";
    browser.run(watch).await;
    let points = async || browser.attribute(".market", "data-points").await.parse::<u32>().unwrap();
    let before = points().await;
    until("five updates", async || points().await >= before + 5).await;
    assert_eq!(browser.run("return spoken").await, json!([]), "no tick is announced");
    let unnamed = "return [...document.querySelectorAll('button, input, a, [tabindex], section, table')]
        .filter((it) => !it.closest('[hidden]') && !(it.ariaLabel || it.getAttribute('aria-labelledby') || it.textContent.trim()
          || it.labels?.[0]?.textContent.trim())).map((it) => it.outerHTML)";
    assert_eq!(browser.run(unnamed).await, json!([]), "everything has a name");
    browser.click("#data summary").await;
    until("the table", async || browser.count("#data tbody tr").await > 0).await;
    let heads =
        browser.run("return [...document.querySelectorAll('#data th[scope=col]')].map((it) => it.textContent)").await;
    assert_eq!(heads, json!(["Time", "First", "High", "Low", "Last"]));
    let row = browser.text("#data tbody tr").await;
    assert!(row.contains("$97,"), "{row}");
}
