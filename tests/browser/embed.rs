//! The price on other pages, and the page under a path of nginx.

use super::driver::Browser;
use super::page::formatted;
use crate::support::exchange::Exchange;
use crate::support::nginx::Nginx;
use crate::support::{embedded, until};
use serde_json::Value;

/// Runs a script in the frame of a page.
async fn in_frame(browser: &Browser, script: &str) -> Value {
    browser.enter_frame(0).await;
    let found = browser.run(script).await;
    browser.leave_frame().await;
    found
}

#[tokio::test]
async fn copied_line_shows_the_price_on_a_page() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let browser = Browser::open(&format!("http://{}/#currency=EUR", replica.address)).await;
    browser.until_live().await;
    let begin = browser.until_text("#begin", |text| !text.is_empty()).await;
    browser.click("#embed summary").await;
    let value = "return document.getElementById('snippet').value";
    until("the line", async || browser.run(value).await.as_str().unwrap().starts_with("<iframe src=")).await;
    let line = browser.run(value).await.as_str().unwrap().to_owned();
    browser.click("#copy").await;
    browser.until_text("#copied", |text| text == "Copied.").await;
    // A page of another origin.
    browser.go(&format!("http://{}/livez", replica.ops)).await;
    browser.run(&format!("document.body.innerHTML = {line:?}")).await;
    let text = "return document.querySelector('.price')?.textContent ?? ''";
    until("a price", async || in_frame(&browser, text).await.as_str().unwrap().starts_with('€')).await;
    let state = "return document.getElementById('state').textContent";
    until("a live price", async || in_frame(&browser, state).await == "Live").await;
    let price = in_frame(&browser, text).await.as_str().unwrap().replace('€', "");
    let history = replica.json("/v1/prices?format=full&currency=EUR&limit=100000").await;
    assert!(formatted(history["prices"].as_array().unwrap(), "EUR").contains(&price), "{price} was never a price");
    let curve = "return document.querySelector('.spark path').getAttribute('d') ?? ''";
    until("a curve", async || in_frame(&browser, curve).await.as_str().unwrap().starts_with('M')).await;
    // The first candle starts before the feed, but the period must begin with the feed.
    let period = begin.replace("The feed began at ", "Since ").replace('.', "");
    until("the period", async || {
        in_frame(&browser, "return document.querySelector('.dt').textContent").await == *period
    })
    .await;
    let mut messages = browser.console_messages().await;
    messages.retain(|message| !message.contains("favicon.ico"));
    assert_eq!(messages, [] as [String; 0]);
    // The page itself has controls, so it may not be framed.
    let page = format!("document.body.innerHTML = '<iframe src=\"http://{}/\"></iframe>'", replica.address);
    browser.run(&page).await;
    until("a policy violation", async || {
        browser.console_messages().await.iter().any(|message| message.contains("frame-ancestors"))
    })
    .await;
}

#[tokio::test]
async fn page_works_behind_a_path() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let place = "        # A WebSocket has two buffers, one for each direction.";
    let location = format!("        location /btc/ {{ proxy_pass http://replicas/; }}\n{place}");
    let nginx = Nginx::start_with(&[&replica.address], &[(place, &location)]).await;
    let base = format!("http://{}/btc/", nginx.address);
    let browser = Browser::open(&format!("{base}#range=6h")).await;
    browser.until_live().await;
    browser.until_text("[data-figure=sources] dd", |text| text == "3 of 3").await;
    for details in ["#data", "#embed"] {
        browser.click(&format!("{details} summary")).await;
    }
    let line = "return document.getElementById('snippet').value";
    let embed = format!("<iframe src=\"{base}embed#");
    until("the line", async || browser.run(line).await.as_str().unwrap().starts_with(&embed)).await;
    until("the table", async || browser.count("#data tbody tr").await > 0).await;
    let loaded = browser.run("return performance.getEntriesByType('resource').map(({ name }) => name)").await;
    let links = browser.run("return [...document.querySelectorAll('a[href], link')].map(({ href }) => href)").await;
    let own = |url: &&Value| !url.as_str().unwrap().contains("www.");
    for url in loaded.as_array().unwrap().iter().chain(links.as_array().unwrap()).filter(own) {
        assert!(url.as_str().unwrap().starts_with(&base), "{url}");
    }
    browser.go(&format!("{base}embed")).await;
    browser.until_text("#state", |text| text == "Live").await;
    assert_eq!(browser.console_messages().await, [] as [String; 0]);
}
