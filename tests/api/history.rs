//! The history over REST: pages, formats, and bounds.

use super::server::{TestServer, history};
use btcfeed::feed::Entry;
use serde_json::{Value, json};

/// Returns a history with ticks in one or both currencies, statuses, outages, and texts that a CSV table must quote.
fn varied(count: usize) -> Vec<Entry> {
    history((0..count).map(|place| {
        let (usd, eur) = (format!("97{:03}.25", place % 1000), format!("89{:03}.5", place % 1000));
        match place % 50 {
            7 => {
                json!({"type": "status", "state": "stale", "since": 1000, "reason": "no price: \"kraken\", and others"})
            }
            8 => json!({"type": "status", "state": "live", "since": 1000, "reason": "prices are back"}),
            9 => json!({"type": "tick", "prices": {"USD": usd, "EUR": eur}, "sources": {"USD": ["kraken"]},
                "outages": [{"after": 1000, "currencies": ["EUR"]}]}),
            11 => json!({"type": "tick", "prices": {"EUR": eur}, "sources": {}}),
            _ => {
                json!({"type": "tick", "prices": {"USD": usd, "EUR": eur}, "sources": {"USD": ["coinbase", "kraken"]}})
            }
        }
    }))
}

/// Returns the first `count` messages of a replay of everything.
async fn streamed(server: &TestServer, query: &str, count: usize) -> Vec<Value> {
    let mut events = server.events(&format!("{query}&since=0"), &[]).await;
    let mut messages = Vec::new();
    while messages.len() < count {
        let event = events.event().await;
        // An event stream sends statuses and gaps in every format. Without `notices`, a page in a short format lists
        // none among its prices.
        if event.name.is_none() || query.contains("full") {
            messages.push(event.json());
        }
    }
    messages
}

/// Follows the `Link` headers, and returns the bodies of all pages.
async fn pages(server: &TestServer, query: &str) -> Vec<String> {
    let (mut pages, mut query) = (Vec::new(), Some(query.to_owned()));
    while let Some(current) = query {
        let answer = server.get(&format!("/v1/prices?{current}")).await;
        assert_eq!(answer.status, 200);
        let next = |link: &str| {
            let target = link.strip_prefix("<http://localhost:8080/v1/prices?").unwrap();
            target.strip_suffix(">; rel=\"next\"").unwrap().to_owned()
        };
        query = Some(answer.header("link")).filter(|link| !link.is_empty()).map(next);
        pages.push(answer.text().to_owned());
    }
    pages
}

/// Returns the rows of a message in a table of the format `full`, without the columns of times.
fn rows(message: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let field = |name: &str| message.get(name).map(text).unwrap_or_default();
    let words = |list: &Value| list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let (id, prev) = (field("id"), field("prev"));
    match message["type"].as_str().unwrap() {
        "gap" => {
            let currencies = words(&message["currencies"]);
            vec![row(&["gap", &field("before"), &field("after"), &currencies, "", "", "", &field("reason")])]
        }
        "status" => vec![row(&["status", &id, &prev, "", "", "", &field("state"), &field("reason")])],
        _ => {
            let prices = message["prices"].as_object().unwrap();
            let mut rows: Vec<_> = prices
                .iter()
                .map(|(currency, price)| {
                    let sources = words(&message["sources"][currency]);
                    row(&["tick", &id, &prev, currency, &price.to_string(), &sources, "", ""])
                })
                .collect();
            if rows.is_empty() {
                rows.push(row(&["tick", &id, &prev, "", "", "", "", ""]));
            }
            rows
        }
    }
}

/// Returns a number in the same notation for all formats. Returns any other text unchanged.
fn normalized(cell: &str) -> String {
    cell.parse::<f64>().map_or(cell.to_owned(), |number| json!(number).to_string())
}

/// Returns the row of an update in a table of a short format.
fn short_row(update: &Value, time: &str) -> [String; 3] {
    let time = update[time].as_str().map_or_else(|| update[time].to_string(), str::to_owned);
    let currency = update["currency"].as_str().unwrap_or("USD").to_owned();
    [time, currency, update["price"].to_string()].map(|cell| normalized(&cell))
}

fn records(table: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(table.as_bytes()).records().map(Result::unwrap).collect()
}

/// Asserts that the pages of `query` in every format contain exactly `expected`.
async fn assert_pages(server: &TestServer, query: &str, limit: usize, expected: &[Value]) {
    let json = pages(server, query).await;
    let json: Vec<Value> = json.iter().map(|page| serde_json::from_str(page).unwrap()).collect();
    assert!(json.iter().flat_map(|page| page["prices"].as_array().unwrap()).eq(expected), "{query}");
    // The `Link` header and `next` agree. A full page always has a next page, which may be empty.
    let (last, full) = json.split_last().unwrap();
    assert_eq!(full.len(), 1700 / limit, "{query}");
    assert!(full.iter().all(|page| page["next"].is_u64()) && last["next"].is_null(), "{query}");
    assert_eq!(last["prices"] == json!([]), 1700 % limit == 0, "{query}");

    let lines = pages(server, &format!("{query}&format=ndjson")).await.concat();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(lines.eq(expected.iter().cloned()), "{query} as lines");

    let tables = pages(server, &format!("{query}&format=csv")).await;
    let read = tables.iter().flat_map(|table| records(table));
    if query.contains("full") {
        let read = read.map(|row| [0, 1, 2, 4, 5, 6, 7, 9].map(|column| row[column].to_owned()).to_vec());
        assert!(read.eq(expected.iter().flat_map(rows)), "{query} as a table");
    } else {
        let time = if query.contains("timestamp") { "timestamp" } else { "timedate" };
        let read = read.map(|row| [0, 1, 2].map(|column| normalized(&row[column])));
        assert!(read.eq(expected.iter().map(|update| short_row(update, time))), "{query} as a table");
    }
}

#[tokio::test]
async fn pages_equal_the_stream_in_every_format() {
    let entries = varied(1700);
    for window in ["100", "20000"] {
        let server = TestServer::with(&[("BTCFEED_WINDOW", window)], &entries).await;
        for (query, count) in [
            ("currency=USD,EUR&format=full", 1734),
            ("currency=USD&format=timedate", 1598),
            ("currency=EUR,USD&format=timestamp", 3230),
        ] {
            let expected = streamed(&server, query, count).await;
            for limit in [340, 601, 1700] {
                assert_pages(&server, &format!("{query}&limit={limit}"), limit, &expected).await;
            }
        }
    }
}

/// Splits a page in the format `full`, oldest entry first, into its entries, each with the gaps before it.
fn entries_with_gaps(lines: &[Value]) -> Vec<Vec<Value>> {
    let mut entries = vec![Vec::new()];
    for line in lines {
        entries.last_mut().unwrap().push(line.clone());
        if line["type"] != "gap" {
            entries.push(Vec::new());
        }
    }
    assert_eq!(entries.pop(), Some(Vec::new()), "no page ends with a gap");
    entries
}

#[tokio::test]
async fn newest_first_is_the_reverse() {
    let mut entries = varied(1700);
    // Three entries are missing. One is just before the newest 500, because the server reads blocks of 500 entries. One
    // is just before the newest 600, where a page of 200 ends. One is in the middle of a page.
    for place in [1199, 1098, 600] {
        entries.remove(place);
    }
    for window in ["100", "20000"] {
        let server = TestServer::with(&[("BTCFEED_WINDOW", window)], &entries).await;
        let oldest_first = server.json("/v1/prices?format=full&currency=USD,EUR&limit=100000").await;
        let mut expected = entries_with_gaps(oldest_first["prices"].as_array().unwrap());
        assert!(expected.iter().flatten().filter(|line| line["reason"] == "history_expired").count() >= 3);
        expected.reverse();
        let expected: Vec<_> = expected.into_iter().flat_map(|entry| entry.into_iter().rev()).collect();
        for limit in [10, 200, 601, 1697, 100_000] {
            let query = format!("format=full&currency=USD,EUR&order=desc&limit={limit}");
            let read = pages(&server, &query).await;
            let read: Vec<Value> = read.iter().map(|page| serde_json::from_str(page).unwrap()).collect();
            assert_eq!(read.len(), 1697usize.div_ceil(limit), "{limit}");
            let lines: Vec<_> = read.iter().flat_map(|page| page["prices"].as_array().unwrap()).collect();
            assert!(lines.iter().copied().eq(&expected), "{limit}");
            let rows = pages(&server, &format!("{query}&format=csv")).await;
            let rows = rows.iter().flat_map(|table| records(table));
            let rows = rows.map(|row| [0, 1, 2, 4, 5, 6, 7, 9].map(|column| row[column].to_owned()).to_vec());
            assert!(rows.eq(expected.iter().flat_map(self::rows)), "{limit} as a table");
        }
    }
}

#[tokio::test]
async fn newest_ten_are_one_request() {
    let entries = varied(700);
    let server = TestServer::with(&[("BTCFEED_WINDOW", "100")], &entries).await;
    let newest = server.json("/v1/prices?order=desc&limit=10&format=full").await;
    let ids: Vec<_> = newest["prices"].as_array().unwrap().iter().map(|tick| tick["id"].as_u64().unwrap()).collect();
    let expected: Vec<_> = entries.iter().rev().take(10).map(|entry| entry.id.ms()).collect();
    assert_eq!(ids, expected);
    assert_eq!(newest["next"], entries[689].id.ms(), "the page continues at the next older entry");
    // Ticks in two currencies keep the order of the currencies.
    let short = server.json("/v1/prices?order=desc&limit=2&currency=USD,EUR").await;
    let currencies: Vec<_> = short["prices"].as_array().unwrap().iter().map(|price| &price["currency"]).collect();
    assert_eq!(currencies, ["USD", "EUR", "USD", "EUR"]);
    let range = format!("order=desc&format=full&since={}&until={}", entries[650].id, entries[660].id);
    let range = server.json(&format!("/v1/prices?{range}")).await;
    let ids: Vec<_> = range["prices"].as_array().unwrap().iter().filter_map(|tick| tick["id"].as_u64()).collect();
    assert_eq!((ids.len(), ids[0], ids[10]), (11, entries[660].id.ms(), entries[650].id.ms()));
    assert!(range["next"].is_null());
}

#[tokio::test]
async fn pages_newest_first_can_be_cached() {
    let entries = varied(700);
    let server = TestServer::with(&[], &entries).await;
    let get = async |query: &str| server.get(&format!("/v1/prices?order=desc&{query}")).await;
    let open = get("limit=10").await;
    assert_eq!(open.header("cache-control"), "no-cache, no-transform");
    assert!(!open.header("etag").is_empty() && open.header("etag") == get("limit=10").await.header("etag"));
    let settled = get(&format!("limit=10&until={}", entries[300].id)).await;
    assert!(settled.header("cache-control").starts_with("public, max-age="), "{:?}", settled.headers);
    // The `Link` header asks for the next page with `until`, as a client can do itself.
    let link = open.header("link");
    let target =
        link.strip_prefix("<http://localhost:8080/v1/prices?").and_then(|link| link.split_once('>')).unwrap().0;
    assert_eq!(target, format!("order=desc&limit=10&until={}", entries[689].id));
    server.append(json!({"type": "tick", "prices": {"USD": "1.5"}, "sources": {}})).await;
    assert_ne!(open.header("etag"), get("limit=10").await.header("etag"));
}

#[tokio::test]
async fn since_is_inclusive_and_after_exclusive() {
    let server = TestServer::with(&[], &varied(7)).await;
    let all = server.json("/v1/prices?format=full").await["prices"].as_array().unwrap().clone();
    let (id, time) = (|place: usize| all[place]["id"].clone(), all[5]["timedate"].as_str().unwrap());
    for (query, expected) in [
        (format!("since={time}&until={}", id(6)), 5..7),
        (format!("since={}&until={}", id(5), id(6)), 5..7),
        (format!("after={}&until={}", id(5), id(6)), 6..7),
        (format!("since={}&until={}", id(3), id(4)), 3..5),
    ] {
        let page = server.json(&format!("/v1/prices?format=full&{query}")).await;
        assert_eq!(page["prices"].as_array().unwrap()[..], all[expected], "{query}");
    }
}

#[tokio::test]
async fn short_formats_list_gaps_beside_prices() {
    let mut entries = varied(20);
    entries.remove(15);
    let server = TestServer::with(&[], &entries).await;
    let gaps_of = |messages: &Value| {
        let gaps = messages["prices"].as_array().unwrap().iter().filter(|message| message["type"] == "gap");
        let gaps = gaps.map(|gap| {
            let mut gap = gap.clone();
            gap.as_object_mut().unwrap().remove("type");
            gap
        });
        gaps.collect::<Vec<_>>()
    };
    for order in ["asc", "desc"] {
        let query = format!("currency=USD,EUR&order={order}");
        let full = server.json(&format!("/v1/prices?{query}&format=full")).await;
        let expected = gaps_of(&full);
        let reasons: Vec<_> = expected.iter().map(|gap| gap["reason"].as_str().unwrap()).collect();
        let mut oldest_first = ["source_outage", "history_expired"];
        if order == "desc" {
            oldest_first.reverse();
        }
        assert_eq!(reasons, oldest_first);
        assert!(full["gaps"].is_null(), "gaps are among the messages");
        let short = server.json(&format!("/v1/prices?{query}")).await;
        assert_eq!(short["gaps"].as_array().unwrap(), &expected, "{order}");
        // With `notices`, gaps and statuses are among the messages. The updates stay the same.
        let noticed = server.json(&format!("/v1/prices?{query}&notices=true")).await;
        assert_eq!((gaps_of(&noticed), &noticed["gaps"]), (expected, &Value::Null));
        let is_update = |message: &&Value| message["type"].is_null();
        let updates = noticed["prices"].as_array().unwrap().iter().filter(is_update);
        assert!(updates.eq(short["prices"].as_array().unwrap()));
        let statuses = noticed["prices"].as_array().unwrap().iter().filter(|message| message["type"] == "status");
        assert_eq!(statuses.count(), 2);
        let lines = server.get(&format!("/v1/prices?{query}&notices=true&format=ndjson")).await;
        assert_eq!(lines.text().lines().count(), noticed["prices"].as_array().unwrap().len());
    }
    let table = server.get("/v1/prices?notices=true&format=csv").await;
    assert!(table.status == 400 && table.text().contains("conflicting notices and csv"), "{}", table.text());
    assert_eq!(server.get("/v1/prices?notices=true&format=csv,full").await.status, 200);
}

#[tokio::test]
async fn ids_before_bitcoin_are_the_beginning() {
    let server = TestServer::with(&[], &varied(20)).await;
    let all = server.json("/v1/prices?format=full&after=0").await;
    assert_eq!(server.json("/v1/prices?format=full&after=1").await, all);
    let lost = server.json("/v1/prices?format=full&after=1295166431075").await;
    assert_eq!(lost["prices"][0]["reason"], "history_lost", "another feed may have had this id");
}
