//! Entity tags and lifetimes: what a cache may keep, and for how long.

use super::server::{Answer, TestServer, ids, ticks, usd};
use crate::support::until;
use axum::http::Method;
use btcfeed::tick::TickId;

const MINUTE_MS: u64 = 60_000;
/// Retention of the history, in seconds.
const DAY_S: u64 = 86_400;

/// Returns the lifetime of an answer that can no longer change, in seconds.
fn max_age(answer: &Answer) -> u64 {
    let value = answer.header("cache-control");
    let seconds =
        value.strip_prefix("public, max-age=").and_then(|rest| rest.strip_suffix(", immutable, no-transform"));
    seconds.unwrap_or_else(|| panic!("{value:?} is not immutable")).parse().unwrap()
}

fn age_s(ms: u64) -> u64 {
    (TickId::now().ms() - ms) / 1000
}

#[tokio::test]
async fn settled_candles_are_immutable_and_others_not() {
    let entries = ticks(300);
    let first = ids(&entries)[0] / MINUTE_MS * MINUTE_MS;
    let server = TestServer::with(&[], &entries).await;
    let get = async |query: &str, tag: &str| {
        server.get_with(&format!("/v1/candles?{query}"), &[("if-none-match", tag)]).await
    };
    let query = format!("until={}", first + MINUTE_MS);
    let age = age_s(first);
    let settled = get(&query, "").await;
    // A candle of a minute is kept for 30 days from its start.
    let seconds = max_age(&settled);
    assert!(seconds <= 30 * DAY_S - age && seconds > 30 * DAY_S - age - 30, "{seconds}");
    let tag = settled.header("etag");
    // A 304 has the lifetime of the 200. The lifetime counts down, so only answers of the same second are equal.
    let mut answers = [get(&query, "").await, get(&query, tag).await];
    until("two answers in one second", async || {
        let same = answers[0].header("cache-control") == answers[1].header("cache-control");
        if !same {
            answers = [get(&query, "").await, get(&query, tag).await];
        }
        same
    })
    .await;
    assert_eq!((answers[1].status, answers[1].text()), (304, ""));

    let open = get("", "").await;
    assert_eq!(open.header("cache-control"), "no-cache, no-transform");
    let tag = open.header("etag");
    assert_eq!(get("", tag).await.status, 304, "nothing has been appended");
    server.append(usd("97001.10")).await;
    assert_eq!(get("", tag).await.status, 200, "a tick was appended");
    assert_eq!(get(&query, tag).await.status, 200, "another answer has another tag");
}

#[tokio::test]
async fn settled_page_is_immutable_and_open_one_not() {
    let entries = ticks(1200);
    let ids = ids(&entries);
    for window in ["100", "20000"] {
        let server = TestServer::with(&[("BTCFEED_WINDOW", window)], &entries).await;
        let get = async |query: &str, tag: &str| {
            server.get_with(&format!("/v1/prices?{query}"), &[("if-none-match", tag)]).await
        };
        // Only the window can show that a long page is complete.
        let long = ["limit=1100&format=full".to_owned(), format!("until={}", ids[900])];
        let until = format!("until={}&limit=500", ids[400] + 1);
        let short = ["limit=10", "limit=500", "limit=5&format=csv", &until].map(str::to_owned);
        for query in short.iter().chain(long.iter().filter(|_| window == "20000")) {
            let age = age_s(ids[0]);
            let first = get(query, "").await;
            let seconds = max_age(&first);
            assert!(seconds <= DAY_S - age && seconds > DAY_S - age - 30, "{query}: {seconds}");
            let tag = first.header("etag");
            assert!(!first.body.is_empty());
            let again = get(query, &format!("\"other\", {tag}")).await;
            assert_eq!((again.status, again.header("etag"), again.text()), (304, tag, ""), "{query}");
            assert_eq!(get(&format!("{query}&currency=EUR"), tag).await.status, 200, "another answer has another tag");
        }
        // These pages reach the head, or start after it.
        for query in [format!("after={}&limit=2000", ids[800]), format!("after={}", ids[1199])] {
            let open = get(&query, "").await;
            assert_eq!(open.header("cache-control"), "no-cache, no-transform");
            assert_eq!(get(&query, open.header("etag")).await.status, 304, "nothing has been appended");
        }
        let open = get("limit=2000", "").await;
        server.append(usd("97001.10")).await;
        assert_eq!(get("limit=2000", open.header("etag")).await.status, 200, "a tick was appended");
    }
}

#[tokio::test]
async fn page_with_a_missing_entry_is_not_immutable() {
    let mut entries = ticks(100);
    let ids = ids(&entries);
    entries.remove(50);
    entries.remove(0);
    let server = TestServer::with(&[], &entries).await;
    let is_immutable = async |query: &str| {
        server.get(&format!("/v1/prices?{query}")).await.header("cache-control") != "no-cache, no-transform"
    };
    assert!(!is_immutable("limit=10").await, "the first entry is missing");
    assert!(!is_immutable(&format!("after={}&limit=10", ids[0] - 1)).await);
    assert!(is_immutable(&format!("after={}&limit=10", ids[0])).await, "the client has the missing entry");
    assert!(is_immutable(&format!("since={}&limit=10", ids[1])).await);
    assert!(is_immutable(&format!("since={}&limit=10", ids[1] + 1)).await, "a time between two entries");
    assert!(!is_immutable(&format!("after={}&limit=10", ids[1] + 1)).await, "not an id of this feed");
    assert!(!is_immutable(&format!("since={}&limit=10", ids[45])).await, "an entry of the page is missing");
}

#[tokio::test]
async fn long_page_with_a_missing_entry_differs() {
    let entries = ticks(1201);
    let ids = ids(&entries);
    let whole = TestServer::with(&[], &entries).await;
    let mut part = entries.clone();
    part.remove(900);
    let lost = ids[900];
    let short = TestServer::with(&[("BTCFEED_WINDOW", "100")], &part).await;
    let part = TestServer::with(&[], &part).await;
    let get = async |server: &TestServer, query: &str| {
        let answer = server.get(&format!("/v1/prices?{query}")).await;
        let is_immutable = answer.header("cache-control").contains("immutable");
        (is_immutable, answer.headers.get("etag").cloned(), answer.text().matches("price\":").count())
    };
    for query in [format!("until={}&limit=1201", ids[1100]), "limit=2000".to_owned()] {
        let (is_immutable, tag, ticks) = get(&whole, &query).await;
        assert_eq!((is_immutable, tag.is_some()), (query.contains("until"), true), "{query}");
        for other in [&part, &short] {
            assert_eq!(get(other, &query).await, (false, None, ticks - 1), "{query}");
        }
    }
    // The missing entry would be the last one of the page.
    for until in [lost, lost + 1] {
        let query = format!("after={}&until={until}", ids[889]);
        let (is_immutable, tag, ticks) = get(&whole, &query).await;
        assert!(is_immutable && ticks == 11, "{ticks}");
        for other in [&part, &short] {
            let (is_immutable, other, ticks) = get(other, &query).await;
            assert!(!is_immutable && other != tag && ticks == 10, "{ticks}");
        }
    }
}

#[tokio::test]
async fn latest_price_has_a_tag() {
    let server = TestServer::with(&[], &ticks(3)).await;
    let latest = server.get("/v1/prices/latest").await;
    assert_eq!(latest.header("cache-control"), "no-cache, no-transform");
    let tag = [("if-none-match", latest.header("etag"))];
    assert_eq!(server.get_with("/v1/prices/latest", &tag).await.status, 304);
    assert_eq!(server.get_with("/v1/prices/latest?format=full", &tag).await.status, 200);
    server.append(usd("97001.10")).await;
    assert_eq!(server.get_with("/v1/prices/latest", &tag).await.status, 200);
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    let server = TestServer::with(&[], &ticks(3)).await;
    for path in ["/v1/prices/latest", "/v1/prices", "/v1/candles", "/v1/prices?format=csv"] {
        let head = server.request(Method::HEAD, path, &[]).await;
        let get = server.get(path).await;
        for header in ["content-type", "cache-control", "etag", "content-length"] {
            assert_eq!(head.header(header), get.header(header), "{header} of {path}");
        }
        assert_eq!((head.status, head.text()), (get.status, ""));
    }
}
