//! The page without faults of the connection: the price, the curve, the first price, the theme.

use super::driver::{Browser, Screen};
use crate::support::exchange::{Exchange, Mode};
use crate::support::{embedded, until};
use serde_json::Value;

/// Returns the prices of a history as the page formats them.
pub fn formatted(history: &[Value], currency: &str) -> Vec<String> {
    let prices = history.iter().filter_map(|entry| entry["prices"][currency].as_f64());
    prices.map(with_separators).collect()
}

fn with_separators(price: f64) -> String {
    let text = format!("{price:.2}");
    let (whole, cents) = text.split_once('.').unwrap();
    let split = whole.len() - 3;
    format!("{},{}.{cents}", &whole[..split], &whole[split..])
}

#[tokio::test]
async fn page_shows_the_price_and_its_sources() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_REPLICA", "r7")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    let price = browser.text(".price").await.replace('\n', "");
    let title = browser.title().await;
    let spoken = browser.run("return document.querySelector('.spoken').textContent").await;
    let history = formatted(&replica.history().await, "USD");
    let known = |text: &str| history.iter().any(|price| text == format!("${price}"));
    assert!(known(&price), "{price} was never a price");
    assert!(known(spoken.as_str().unwrap()), "a screen reader gets {spoken}");
    assert!(title.strip_suffix(" · btcfeed").is_some_and(known), "{title}");
    browser.until_text("[data-figure=sources] dd", |text| text == "3 of 3").await;
    assert_eq!(browser.text("#replica").await, "r7");
    assert_eq!(browser.text("#simulated").await, "");
    browser.until_text(".change", |text| text.contains("since ") && text.contains('%')).await;
    let size = browser.run("return parseFloat(getComputedStyle(document.querySelector('.price')).fontSize)").await;
    assert!(size.as_f64().unwrap() > 60.0, "the price has {size} px");
}

#[tokio::test]
async fn curve_grows_with_each_update() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    let points = async || browser.attribute(".market", "data-points").await.parse::<u32>().unwrap_or(0);
    // The curve is read before the number of points, because a new point may come between the two reads.
    let curve = browser.attribute(".curve", "d").await;
    let before = points().await;
    until("five more points", async || points().await >= before + 5).await;
    assert_ne!(browser.attribute(".curve", "d").await, curve);
    browser.point_at("#chart").await;
    browser.until_text(".tip", |text| text.starts_with("No data\n")).await;
    browser.run("document.getElementById('chart').focus()").await;
    browser.press(thirtyfour::Key::End).await;
    browser.until_text(".tip", |text| text.starts_with("$97,")).await;
    // The curve has the prices of the history, without a gap.
    let read = browser.read_curve().await;
    assert!(read.len() > 5 && browser.count(".gap").await == 0, "{read:?}");
    let history = formatted(&replica.history().await, "USD");
    for (label, price) in read.iter().zip(&history) {
        assert!(label.starts_with(&format!("${price}, ")), "{label} is not {price}");
    }
}

#[tokio::test]
async fn page_loads_nothing_from_other_origins() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let origin = format!("http://{}/", replica.address);
    let browser = Browser::open(&format!("{origin}#range=24h")).await;
    browser.until_live().await;
    for range in ["1h", "15m"] {
        browser.click(&format!("label:has([value='{range}'])")).await;
    }
    browser.until_text("#summary", |text| text.contains("15 minutes")).await;
    let entries = browser.run("return performance.getEntries().map((entry) => entry.name)").await;
    let entries: Vec<_> = entries.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    // Entries such as `first-paint` are not URLs.
    let urls: Vec<_> = entries.iter().filter(|name| name.contains(':')).collect();
    assert!(urls.len() > 10, "{entries:?}");
    assert!(urls.iter().all(|url| url.starts_with(&origin)), "{urls:?}");
    assert_eq!(browser.console_messages().await, [] as [String; 0]);
    // The policy blocks other origins, and the browser reports that.
    browser
        .run("document.body.append(Object.assign(document.createElement('img'), { src: 'http://127.0.0.2:9/' }))")
        .await;
    until("a policy violation", async || {
        browser.console_messages().await.iter().any(|message| message.contains("Content Security Policy"))
    })
    .await;
}

#[tokio::test]
async fn simulated_prices_are_marked() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_SOURCES", "simulated")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    let notice = browser.until_text("#simulated", |text| !text.is_empty()).await;
    assert_eq!(notice, "Simulated. These prices are not from a market.");
    assert!(browser.title().await.ends_with(" · simulated"));
    browser.until_text("#sources tbody", |text| text.starts_with("Simulated market")).await;
    // Nothing confirms the price of a single source.
    assert_eq!(browser.text("[data-figure=confidence] dd").await, "–");
    // The first candle begins before the feed, but the figure names the beginning of the feed.
    let begin = browser.until_text("#begin", |text| !text.is_empty()).await;
    let since = begin.replace("The feed began at ", "Since ").replace('.', "");
    browser.until_text("[data-figure=change] dt", |text| text == since).await;
    let audit = browser.run("return document.getElementById('audit').search").await;
    assert_eq!(audit, "?format=audit&currency=USD");
    browser.go(&format!("http://{}/embed", replica.address)).await;
    browser.until_text("#state", |text| text == "Simulated · Live").await;
    assert_eq!(browser.count("#state[data-simulated]").await, 1);
}

#[tokio::test]
async fn page_waits_for_the_first_price() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Status(500, None));
    let replica = embedded(&exchange, &[("BTCFEED_STALE_AFTER", "10m"), ("BTCFEED_DOWN_AFTER", "1h")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_text("#trouble", |text| text == "Waiting for the first price.").await;
    assert_eq!((browser.text(".price").await.as_str(), browser.title().await.as_str()), ("–", "btcfeed"));
    assert_eq!(browser.text("#state").await, "Waiting", "the feed is not live yet");
    browser.until_text("#sources tbody", |text| text == "The feed has not recorded yet what its sources say.").await;
    assert_eq!(browser.text("[data-figure=sources] dd").await, "–");
    exchange.set_all(&Mode::Good);
    browser.until_live().await;
    browser.until_text("#trouble", str::is_empty).await;
    browser.until_text("[data-figure=sources] dd", |text| text == "3 of 3").await;
    until("the sources", async || browser.count("#sources .none").await == 0).await;
}

#[tokio::test]
async fn long_notice_is_cut_and_can_be_opened() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Status(503, None));
    let settings = [("BTCFEED_INTERVAL", "500ms"), ("BTCFEED_STALE_AFTER", "1s"), ("BTCFEED_DOWN_AFTER", "2s")];
    let replica = embedded(&exchange, &settings).await;
    let browser = Browser::open_on(Screen::Phone, &format!("http://{}/", replica.address)).await;
    browser.until_text("#trouble", |text| text.ends_with(" again every few seconds.")).await;
    let size = "const trouble = document.getElementById('trouble')
        const [inner, outer] = [trouble, trouble.parentElement].map((one) => one.getBoundingClientRect())
        return [inner.top >= outer.top && inner.bottom <= outer.bottom, trouble.scrollHeight > trouble.clientHeight + 1]";
    until("a cut text", async || browser.run(size).await == serde_json::json!([true, true])).await;
    browser.run("document.getElementById('trouble').focus()").await;
    until("the complete text", async || browser.run(size).await[1] == false).await;
}

#[tokio::test]
async fn page_fits_screens_and_keeps_the_theme() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_SOURCES", "simulated")]).await;
    let url = format!("http://{}/#currency=USD,EUR", replica.address);
    for screen in [Screen::Phone, Screen::Desktop] {
        let browser = Browser::open_on(screen, &url).await;
        browser.until_live().await;
        let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.run(wide).await, 0, "nothing overflows horizontally");
        let dark = async || {
            let script = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0] < 100";
            browser.run(script).await.as_bool().unwrap()
        };
        assert!(!dark().await, "light is the default");
        browser.click(".theme label:has([value='dark'])").await;
        assert!(dark().await);
        browser.reload().await;
        assert!(dark().await, "the theme is kept");
    }
}

#[tokio::test]
async fn begin_is_known_after_the_first_price() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Status(500, None));
    let replica = embedded(&exchange, &[]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_text("#trouble", |text| !text.is_empty()).await;
    exchange.set_all(&Mode::Good);
    browser.until_live().await;
    browser.until_text("#begin", |text| text.starts_with("The feed began at ")).await;
}
