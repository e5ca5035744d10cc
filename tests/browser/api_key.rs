//! The page of a feed that serves only clients with an API key.

use super::driver::Browser;
use crate::support::exchange::Exchange;
use crate::support::keys::KeysFile;

#[tokio::test]
async fn key_in_the_fragment_opens_the_feed() {
    let (exchange, mut keys) = (Exchange::start().await, KeysFile::new());
    let key = keys.add(&["alice"]).await;
    let replica = keys.replica(&exchange, &[]).await;
    let page = format!("http://{}/", replica.address);
    let browser = Browser::open(&page).await;
    browser.until_text("#trouble", |text| text.contains("missing API key")).await;
    // If only the fragment changed, the browser would not load the page again. So the test opens `about:blank` first.
    browser.go("about:blank").await;
    browser.go(&format!("{page}#currency=USD&range=1h&key={key}")).await;
    browser.until_live().await;
    browser.until_text("#summary", |text| text.contains("hour")).await;
    let shown = browser.run("return location.href").await;
    assert_eq!(shown, format!("{page}#currency=USD&range=1h"), "the key is not shown, so it is not shared");
    browser.reload().await;
    browser.until_live().await;
}
