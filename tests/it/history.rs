//! The history over REST: page by page, in every form, and how long an answer holds.

use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::{SERVE, TestCluster, embedded, http, soon, until};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::io::Read;

/// A history with everything in it: ticks in both currencies and in one, statuses, outages, and words that a table must quote.
async fn fill(cluster: &TestCluster, count: u64) -> Vec<u64> {
    let events = (0..count).map(|place| {
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
    });
    cluster.redis.write(events.collect()).await
}

/// What a client gets that replays everything.
async fn streamed(replica: &Replica, query: &str, count: usize) -> Vec<Value> {
    let mut client = replica.connect(&format!("{query}&since=0")).await;
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(client.json().await);
    }
    messages
}

/// The target of the link to the next page.
fn next(response: &reqwest::Response) -> Option<String> {
    let link = response.headers().get("link")?.to_str().unwrap();
    Some(
        link.strip_prefix("</v1/prices?")
            .or(link.strip_prefix("<?"))
            .unwrap()
            .strip_suffix(">; rel=\"next\"")
            .unwrap()
            .to_owned(),
    )
}

/// Every page's body, by following links.
async fn pages(replica: &Replica, query: &str) -> Vec<String> {
    let (mut pages, mut query) = (Vec::new(), Some(query.to_owned()));
    while let Some(asked) = query {
        let response = replica.ask(&format!("/v1/prices?{asked}"), &[]).await;
        assert_eq!(response.status().as_u16(), 200);
        query = next(&response);
        pages.push(response.text().await.unwrap());
    }
    pages
}

/// The rows that a message of a stream is in a table, without the moments.
fn rows(message: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let field = |name: &str| message.get(name).map(text).unwrap_or_default();
    let words = |list: &Value| list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    match message["type"].as_str().unwrap() {
        "gap" => {
            vec![row(&[
                "gap",
                &field("before"),
                &field("after"),
                &words(&message["currencies"]),
                "",
                "",
                "",
                &field("reason"),
            ])]
        }
        "status" => vec![row(&["status", &field("id"), &field("prev"), "", "", "", &field("state"), &field("reason")])],
        _ => {
            let prices = message["prices"].as_object().unwrap();
            let mut rows: Vec<_> = prices
                .iter()
                .map(|(currency, price)| {
                    let sources = words(&message["sources"][currency]);
                    row(&["tick", &field("id"), &field("prev"), currency, &price.to_string(), &sources, "", ""])
                })
                .collect();
            if rows.is_empty() {
                rows.push(row(&["tick", &field("id"), &field("prev"), "", "", "", "", ""]));
            }
            rows
        }
    }
}

fn records(table: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(table.as_bytes()).records().map(Result::unwrap).collect()
}

#[tokio::test]
async fn paging_through_everything_gives_what_one_stream_gives_in_every_form_with_any_window() {
    let cluster = TestCluster::new().await;
    fill(&cluster, 1700).await;
    for window in ["100", "20000"] {
        let replica = cluster.replica(&format!("w{window}"), &[("BTCFEED_WINDOW", window), SERVE]).await;
        for (query, count) in [
            ("currency=USD,EUR&format=full", 1734),
            ("currency=USD", 1598),
            ("currency=EUR,USD&format=timestamp", 3230),
        ] {
            let expected = streamed(&replica, query, count).await;
            for limit in [340, 601, 1700] {
                let query = format!("{query}&limit={limit}");
                let json: Vec<Value> =
                    pages(&replica, &query).await.iter().map(|page| serde_json::from_str(page).unwrap()).collect();
                let prices = json.iter().flat_map(|page| page["prices"].as_array().unwrap());
                assert!(prices.eq(&expected), "{query} with a window of {window}");
                // The link and `next` say the same. Behind a page that is full there is another one, though it may be empty.
                let (last, full) = json.split_last().unwrap();
                assert_eq!(full.len(), 1700 / limit, "{query}");
                assert!(full.iter().all(|page| page["next"].is_u64()) && last["next"].is_null(), "{query}");
                assert_eq!(last["prices"] == json!([]), 1700 % limit == 0, "{query}");

                let lines = pages(&replica, &format!("{query}&format=ndjson")).await.concat();
                let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
                assert!(lines.eq(expected.iter().cloned()), "{query} in lines");

                let tables = pages(&replica, &format!("{query}&format=csv")).await;
                let read = tables.iter().flat_map(|table| records(table));
                if query.contains("full") {
                    let read = read.map(|row| [0, 1, 2, 4, 5, 6, 7, 9].map(|column| row[column].to_owned()).to_vec());
                    assert!(read.eq(expected.iter().flat_map(rows)), "{query} in tables");
                } else {
                    let moment = if query.contains("timestamp") { "timestamp" } else { "timedate" };
                    let told = expected.iter().map(|update| {
                        let moment = update[moment].as_str().map_or_else(|| update[moment].to_string(), str::to_owned);
                        [moment, update["currency"].as_str().unwrap_or("USD").to_owned(), update["price"].to_string()]
                    });
                    let read = read.map(|row| {
                        [0, 1, 2].map(|column| {
                            row[column]
                                .parse::<f64>()
                                .map_or(row[column].to_owned(), |number| json!(number).to_string())
                        })
                    });
                    let told = told.map(|row| {
                        row.map(|cell| cell.parse::<f64>().map_or(cell.clone(), |number| json!(number).to_string()))
                    });
                    assert!(read.eq(told), "{query} in tables");
                }
            }
        }
    }
}

#[tokio::test]
async fn accept_or_format_says_what_an_answer_is_written_as() {
    let cluster = TestCluster::new().await;
    fill(&cluster, 20).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    for path in ["/v1/prices", "/v1/candles"] {
        for (query, accept, expected) in [
            ("", "*/*", "application/json"),
            ("", "text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
            ("", "text/csv", "text/csv; charset=utf-8; header=present"),
            ("?format=csv", "application/json", "text/csv; charset=utf-8; header=present"),
            ("?format=ndjson", "text/html", "application/x-ndjson"),
        ] {
            let response = replica.ask(&format!("{path}{query}"), &[("accept", accept)]).await;
            assert_eq!(response.headers()["content-type"], expected, "{path}{query} {accept}");
            let varies = response.headers().get_all("vary").iter().any(|vary| vary == "accept");
            assert_eq!(varies, query.is_empty());
        }
        let refused = replica.ask(path, &[("accept", "text/html, image/*")]).await;
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["cache-control"]),
            (406, &"no-store".parse().unwrap())
        );
        let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("application/json, application/x-ndjson, text/csv"));
    }
    let (status, body) = replica.get("/v1/prices?format=csv,full&format=json").await;
    assert!(status == 400 && body.contains("conflicting format csv and json"), "{body}");
}

#[tokio::test]
async fn a_page_that_can_no_longer_change_may_be_kept_and_one_at_the_head_is_asked_for_again() {
    let cluster = TestCluster::new().await;
    let ids = cluster.redis.fill(1200).await;
    for window in ["100", "20000"] {
        let replica = cluster.replica(&format!("w{window}"), &[SERVE, ("BTCFEED_WINDOW", window)]).await;
        let ask =
            async |query: &str, tag: &str| replica.ask(&format!("/v1/prices?{query}"), &[("if-none-match", tag)]).await;
        // Of a long one the window knows whether it is whole.
        let long = ["limit=1100&format=full".to_owned(), format!("until={}", ids[900])];
        let until = format!("until={}&limit=500", ids[400] + 1);
        let short = ["limit=10", "limit=500", "limit=5&format=csv", &until].map(str::to_owned);
        for query in short.iter().chain(long.iter().filter(|_| window == "20000")) {
            let age = (btcfeed::tick::TickId::now().ms() - ids[0]) / 1000;
            let first = ask(query, "").await;
            let kept = first.headers()["cache-control"].to_str().unwrap().to_owned();
            let seconds: u64 =
                kept.strip_prefix("public, max-age=").unwrap().strip_suffix(", immutable").unwrap().parse().unwrap();
            assert!(seconds <= 86_400 - age && seconds > 86_400 - age - 30, "{query}: {kept}");
            let tag = first.headers()["etag"].to_str().unwrap().to_owned();
            assert!(!first.text().await.unwrap().is_empty());
            let again = ask(query, &format!("\"other\", {tag}")).await;
            assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &tag.parse().unwrap()), "{query}");
            assert_eq!(again.text().await.unwrap(), "");
            assert_eq!(ask(&format!("{query}&currency=EUR"), &tag).await.status().as_u16(), 200, "another answer");
        }
        // It reaches the head, or begins after it.
        for query in [format!("after={}&limit=2000", ids[800]), format!("after={}", ids[1199])] {
            let query = &query;
            let open = ask(query, "").await;
            assert_eq!(open.headers()["cache-control"], "no-cache");
            let tag = open.headers()["etag"].to_str().unwrap().to_owned();
            assert_eq!(ask(query, &tag).await.status().as_u16(), 304, "nothing has come");
        }
    }
    let replica = cluster.replica("r1", &[SERVE]).await;
    let open = replica.ask("/v1/prices?limit=2000", &[]).await.headers()["etag"].to_str().unwrap().to_owned();
    cluster.redis.append_tick(ids[1199]).await;
    let status = async || replica.ask("/v1/prices?limit=2000", &[("if-none-match", &open)]).await.status().as_u16();
    until("another tick to change the answer", async || status().await == 200).await;
}

#[tokio::test]
async fn an_answer_whose_beginning_expired_or_is_missing_is_not_said_to_last() {
    let cluster = TestCluster::new().await;
    let ids = cluster.redis.fill(100).await;
    let mut connection = cluster.redis.connection().await;
    for lost in [ids[0], ids[50]] {
        let _: u64 = redis::AsyncCommands::zrembyscore(&mut connection, "{btcfeed}:ticks", lost, lost).await.unwrap();
    }
    let replica = cluster.replica("r1", &[SERVE]).await;
    let lasts = async |query: &str| {
        let response = replica.ask(&format!("/v1/prices?{query}"), &[]).await;
        response.headers()["cache-control"] != "no-cache"
    };
    assert!(!lasts("limit=10").await, "the feed did not begin there");
    assert!(!lasts(&format!("after={}&limit=10", ids[0] - 1)).await);
    assert!(lasts(&format!("after={}&limit=10", ids[0])).await, "what the client has is not missing");
    assert!(lasts(&format!("since={}&limit=10", ids[1])).await);
    assert!(lasts(&format!("since={}&limit=10", ids[1] + 1)).await, "a moment between two entries");
    assert!(!lasts(&format!("after={}&limit=10", ids[1] + 1)).await, "no id of this feed");
    assert!(!lasts(&format!("since={}&limit=10", ids[45])).await, "there is a hole in it");
}

#[tokio::test]
async fn a_long_answer_with_a_hole_behind_its_first_entries_is_not_taken_for_the_whole_one() {
    let cluster = TestCluster::new().await;
    let ids = cluster.redis.fill(1201).await;
    let whole = cluster.replica("whole", &[SERVE]).await;
    until("the history", async || whole.get("/v1/prices").await.0 == 200).await;
    let mut connection = cluster.redis.connection().await;
    let lost = ids[900];
    let _: u64 = redis::AsyncCommands::zrembyscore(&mut connection, "{btcfeed}:ticks", lost, lost).await.unwrap();
    let part = cluster.replica("part", &[SERVE]).await;
    let short = cluster.replica("short", &[SERVE, ("BTCFEED_WINDOW", "100")]).await;
    let said = async |replica: &Replica, query: &str| {
        let answer = replica.ask(&format!("/v1/prices?{query}"), &[]).await;
        let tag = answer.headers().get("etag").cloned();
        let kept = answer.headers()["cache-control"].to_str().unwrap().to_owned();
        (kept.ends_with("immutable"), tag, answer.text().await.unwrap().matches("price\":").count())
    };
    for query in [format!("until={}&limit=1201", ids[1100]), "limit=2000".to_owned()] {
        let (settled, tag, ticks) = said(&whole, &query).await;
        assert_eq!((settled, tag.is_some()), (query.contains("until"), true), "{query}");
        assert_eq!(said(&part, &query).await, (false, None, ticks - 1), "{query}");
        assert_eq!(said(&short, &query).await, (false, None, ticks - 1), "{query}");
    }
    // The hole is at the end, or behind what was asked for.
    for until in [lost, lost + 1] {
        let query = format!("after={}&until={until}", ids[889]);
        let (settled, tag, ticks) = said(&whole, &query).await;
        assert!(settled && ticks == 11, "{ticks}");
        for other in [&part, &short] {
            let (settled, other, ticks) = said(other, &query).await;
            assert!(!settled && other != tag && ticks == 10, "{ticks}");
        }
    }
}

#[tokio::test]
async fn the_latest_price_has_a_tag_and_head_is_answered_everywhere() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "1h")]).await;
    replica.priced().await;
    let latest = replica.ask("/v1/prices/latest", &[]).await;
    assert_eq!(latest.headers()["cache-control"], "no-cache");
    let tag = latest.headers()["etag"].to_str().unwrap();
    assert_eq!(replica.ask("/v1/prices/latest", &[("if-none-match", tag)]).await.status().as_u16(), 304);
    assert_eq!(replica.ask("/v1/prices/latest?currency=EUR", &[("if-none-match", tag)]).await.status().as_u16(), 200);
    for path in ["/v1/prices/latest", "/v1/prices", "/v1/candles", "/v1/prices?format=csv"] {
        let head = http().head(format!("http://{}{path}", replica.address)).send();
        let head = soon("an answer", head).await.unwrap();
        let got = replica.ask(path, &[]).await;
        for header in ["content-type", "cache-control", "etag", "content-length"] {
            assert_eq!(head.headers().get(header), got.headers().get(header), "{header} of {path}");
        }
        assert_eq!((head.status(), head.text().await.unwrap()), (got.status(), String::new()));
    }
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_read_it_and_short_ones_are_not() {
    let cluster = TestCluster::new().await;
    fill(&cluster, 3000).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    for path in
        ["/v1/prices?limit=3000&format=full", "/v1/prices?limit=3000&format=csv", "/v1/candles?currency=USD,EUR"]
    {
        let plain = replica.ask(path, &[]).await;
        assert!(!plain.headers().contains_key("content-encoding"));
        assert!(plain.headers().get_all("vary").iter().any(|vary| vary == "accept-encoding"));
        let head = http().head(format!("http://{}{path}", replica.address)).send();
        let head = soon("an answer", head).await.unwrap();
        assert_eq!(
            head.headers().get_all("vary").iter().filter(|vary| *vary == "accept-encoding").count(),
            1,
            "{path}"
        );
        let packed = replica.ask(path, &[("accept-encoding", "gzip, deflate, br")]).await;
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        assert_eq!(packed.headers()["etag"], plain.headers()["etag"], "weak, so for both");
        let (plain, packed) = (plain.bytes().await.unwrap(), packed.bytes().await.unwrap());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain && packed.len() * 3 < plain.len(), "{path}: {} of {}", packed.len(), plain.len());
    }
    for path in ["/v1/prices/stream?since=0", "/v1/prices/latest"] {
        let live = replica.ask(path, &[("accept-encoding", "gzip")]).await;
        assert!(live.status().is_success() && !live.headers().contains_key("content-encoding"), "{path}");
    }
    let short = replica.ask("/v1/prices?limit=3", &[("accept-encoding", "gzip")]).await;
    assert!(!short.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn a_long_answer_leaves_while_it_is_read_and_is_broken_off_where_it_cannot_go_on() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(40_000).await;
    let replica = cluster.replica("r1", &[SERVE, ("BTCFEED_WINDOW", "100")]).await;
    for encoding in ["identity", "gzip"] {
        let answer = replica.ask("/v1/prices?limit=100000&format=full", &[("accept-encoding", encoding)]).await;
        assert_eq!(answer.headers().contains_key("content-encoding"), encoding == "gzip");
        let mut body = answer.bytes_stream();
        let first = soon("the first bytes", body.next()).await.unwrap().unwrap();
        assert!(!first.is_empty());
        // What is still to come is still in Redis, which does not give it now.
        cluster.redis.pause();
        let mut end = Ok(());
        while let Some(chunk) = soon("the rest", body.next()).await {
            end = chunk.map(drop);
        }
        cluster.redis.resume();
        assert!(end.is_err(), "an answer that is not whole must not look whole");
        until("redis to be back", async || replica.get("/v1/prices?limit=1").await.0 == 200).await;
    }
}

#[tokio::test]
async fn clients_that_do_not_read_their_long_answers_cost_no_memory() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(40_000).await;
    let replica = cluster.replica("r1", &[SERVE, ("BTCFEED_WINDOW", "100")]).await;
    let before = replica.memory_kib();
    let mut slow = Vec::new();
    for client in 0..24 {
        let encoding = if client % 2 == 0 { "identity" } else { "gzip" };
        let answer = replica.ask("/v1/prices?limit=100000&format=full", &[("accept-encoding", encoding)]).await;
        slow.push(answer.bytes_stream());
    }
    for body in &mut slow {
        soon("the first bytes", body.next()).await.unwrap().unwrap();
    }
    let grown = replica.memory_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB for 24 answers of 6 MB each");
    // Nor do they keep others from reading what is not in memory.
    assert_eq!(replica.get("/v1/prices?limit=3").await.0, 200);
}
