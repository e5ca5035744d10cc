//! The reference at `/docs`: tabs, copy buttons, search, "Try it", the active section, and the size of the page.

use super::driver::{Browser, Screen};
use crate::support::exchange::Exchange;
use crate::support::keys::KeysFile;
use crate::support::until;
use crate::support::with_history;
use serde_json::json;
use thirtyfour::prelude::Key;

#[tokio::test]
async fn reference_is_short_and_has_no_faults() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    for screen in [Screen::Desktop, Screen::Phone] {
        let browser = Browser::open_on(screen, &format!("http://{}/docs", replica.address)).await;
        until("the tabs", async || browser.count(".tabs").await > 5).await;
        let size = browser
            .run("return [document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight]");
        let size = size.await;
        assert!(size[0].as_i64().unwrap() <= 0, "the page is wider than the screen: {size}");
        if matches!(screen, Screen::Desktop) {
            assert!(size[1].as_u64().unwrap() < 8000, "the page is higher than 8000 px: {size}");
        }
        assert_eq!(browser.console_messages().await, [] as [String; 0]);
    }
}

#[tokio::test]
async fn language_applies_to_all_and_after_a_reload() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let browser = Browser::open(&format!("http://{}/docs", replica.address)).await;
    let shown = "return [...document.querySelectorAll('.samples [aria-selected=true]')].map((it) => it.textContent)";
    until("the tabs", async || browser.count(".tabs").await > 5).await;
    browser.click(".samples [role=tab]:nth-child(3)").await;
    let languages = browser.run(shown).await;
    let languages: Vec<_> = languages.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect();
    assert!(languages.iter().filter(|it| *it == "Python").count() > 5, "{languages:?}");
    assert!(browser.text(".samples").await.contains("SyncFeed"));
    browser.reload().await;
    until("the language again", async || browser.run(shown).await[0] == "Python").await;
    browser.run("document.querySelector('.samples [aria-selected=true]').focus()").await;
    browser.press(Key::Right).await;
    assert_eq!(browser.run(shown).await[0], "Rust");
}

#[tokio::test]
async fn copy_button_copies_the_sample() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let browser = Browser::open(&format!("http://{}/docs", replica.address)).await;
    until("the buttons", async || browser.count(".copy").await > 5).await;
    browser.click("#v1-prices-latest .samples figure:not([hidden]) .copy").await;
    browser.until_text("#v1-prices-latest .samples figure:not([hidden]) .copy", |text| text == "Copied").await;
    browser.click("#v1-prices-latest input").await;
    browser.press_control('a').await;
    browser.press_control('v').await;
    let pasted = browser.run("return document.querySelector('#v1-prices-latest input').value").await;
    let begin = format!("curl 'http://{}/v1/prices/latest'", replica.address);
    assert!(pasted.as_str().unwrap().starts_with(&begin), "{pasted}");
}

#[tokio::test]
async fn search_finds_entries_by_their_text() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let browser = Browser::open(&format!("http://{}/docs", replica.address)).await;
    until("the search", async || browser.run("return !document.querySelector('.search').hidden").await == true).await;
    let visible =
        "return [...document.querySelectorAll('.entry')].filter((it) => it.checkVisibility()).map((it) => it.id)";
    let all = browser.run(visible).await.as_array().unwrap().len();
    // The slash moves the focus to the search field, and is not part of the text.
    browser.type_text("/").await;
    browser.type_text("history_expired gap").await;
    browser.until_text("#found", |text| text.contains("entr")).await;
    let found = browser.run(visible).await;
    let found = found.as_array().unwrap();
    assert!(found.contains(&json!("message-gap")) && found.len() < all / 3, "{found:?}");
    assert!(browser.count(".contents a").await > 20);
    browser.press(Key::Enter).await;
    until("the first result", async || browser.run("return scrollY > 0").await == true).await;
    browser.press(Key::Escape).await;
    assert_eq!(browser.run(visible).await.as_array().unwrap().len(), all);
}

#[tokio::test]
async fn active_section_follows_the_page() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let browser = Browser::open(&format!("http://{}/docs", replica.address)).await;
    let active = async || browser.attribute(".contents [aria-current]", "href").await;
    until("the first section", async || active().await == "#quickstart").await;
    for id in ["v1-candles", "grpc", "messages", "schemas", "quickstart"] {
        browser.run(&format!("document.getElementById({id:?}).scrollIntoView()")).await;
        until(id, async || active().await == format!("#{id}")).await;
        assert_eq!(browser.count(".contents [aria-current]").await, 1);
    }
    browser.go(&format!("http://{}/docs#message-gap", replica.address)).await;
    until("the open message", async || browser.run("return document.getElementById('message-gap').open").await == true)
        .await;
}

#[tokio::test]
async fn requests_of_the_page_are_answered() {
    let exchange = Exchange::start().await;
    let mut keys = KeysFile::new();
    let key = keys.add(&["alice"]).await;
    let replica = keys.replica(&exchange, &[]).await;
    let browser = Browser::open(&format!("http://{}/docs", replica.address)).await;
    until("the forms", async || browser.run("return !document.querySelector('form.try').hidden").await == true).await;
    browser.click("#v1-prices-latest form button").await;
    browser
        .until_text("#v1-prices-latest output", |text| text.starts_with("401") && text.contains("missing API key"))
        .await;
    browser.run(&format!("document.getElementById('key').value = {key:?}")).await;
    for (id, begin, part) in [
        ("v1-prices-latest", "200", "\"price\":97"),
        ("v1-prices-stream", "200", "data: {"),
        ("v1-ws", "{\"timedate\"", "\"price\":97"),
    ] {
        browser.click(&format!("#{id} form button")).await;
        browser.until_text(&format!("#{id} output"), |text| text.starts_with(begin) && text.contains(part)).await;
    }
    // A stream goes on until it is stopped.
    assert_eq!(browser.text("#v1-ws form button").await, "Stop");
    browser.click("#v1-ws form button").await;
    browser.until_text("#v1-ws form button", |text| text == "Try it").await;
}
