//! The descriptions say what the running server does: nothing less, and nothing more.

use crate::support::client::Client;
use crate::support::description::{Description, mistakes};
use crate::support::events::Events;
use crate::support::exchange::{Exchange, Mode};
use crate::support::replica::Replica;
use crate::support::{SERVE, TestCluster, embedded, http, tick, until, without_redis};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio_tungstenite::tungstenite::Message;

/// The values of the parameters that the matrix of requests is made of.
const CURRENCIES: [&str; 5] = ["", "currency=USD", "currency=EUR", "currency=USD,EUR", "currencies=usd&currencies=eur"];
/// The paths that read a query.
const READ: [&str; 7] =
    ["/v1/ws", "/ws", "/v1/prices/stream", "/prices/stream", "/v1/prices/latest", "/v1/prices", "/v1/candles"];
const FORMATS: [&str; 3] = ["timedate", "timestamp", "full"];

async fn priced(exchange: &Exchange, settings: &[(&str, &str)]) -> (Replica, Description) {
    let replica = embedded(exchange, settings).await;
    until("a price", async || replica.get("/v1/prices/latest?currency=USD,EUR").await.0 == 200).await;
    let description = Description::of(&replica).await;
    (replica, description)
}

/// Reads as many ticks, whatever comes between them, and returns the last one.
async fn ticks(client: &mut Client, count: usize) -> Value {
    let mut last = Value::Null;
    for _ in 0..count {
        last = tick(client).await;
    }
    last
}

/// The words that a problem's detail says are expected.
fn listed(problem: &str) -> BTreeSet<String> {
    let problem: Value = serde_json::from_str(problem).unwrap();
    let (_, list) = problem["detail"].as_str().unwrap().rsplit_once("expected ").expect("what is expected");
    list.split(", ").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_path_that_there_is_is_described_and_every_described_path_is_there() {
    let exchange = Exchange::start().await;
    let (replica, description) = priced(&exchange, &[]).await;
    let (status, problem) = replica.get("/nothing").await;
    // The page and its SDK are there too; what they are made of is nobody's business.
    let with_page = description.paths().into_iter().chain(["/".to_owned(), "/btcfeed.js".to_owned()]).collect();
    assert_eq!((status, listed(&problem)), (404, with_page));
    for path in description.paths() {
        let (status, _) = description.ask(&replica, &path, "", &[]).await;
        assert!(status == 200 || status == 426 && path.ends_with("/ws"), "{path}: {status}");
        let response = http().post(format!("http://{}{path}", replica.address)).send().await.unwrap();
        assert_eq!(response.status(), 405, "only what is described");
        // Over HTTP/2 a WebSocket begins with CONNECT.
        let allowed = if path.ends_with("/ws") { "GET,HEAD,CONNECT" } else { "GET,HEAD" };
        assert_eq!(response.headers()["allow"], allowed, "{path}");
    }
}

#[tokio::test]
async fn every_answer_is_as_it_is_described() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_STALE_AFTER", "1s"), ("BTCFEED_DOWN_AFTER", "2s")];
    let (replica, description) = priced(&exchange, &settings).await;
    // A history with statuses and gaps in it, also of one currency alone.
    for name in ["coinbase BTC-EUR", "bitstamp btceur", "kraken"] {
        exchange.set(name, Mode::Silent);
    }
    ticks(&mut replica.connect("format=full").await, 4).await;
    // From the beginning, for it may be so already.
    let mut client = replica.connect("format=full&currency=USD,EUR&since=0").await;
    until("euros to be missed", async || client.json().await["state"] == "stale").await;
    exchange.set_all(&Mode::Good);
    until("a gap in euros", async || client.json().await["currencies"] == json!(["EUR"])).await;
    exchange.set_all(&Mode::Silent);
    let mut client = replica.connect("format=full&since=0").await;
    until("the feed to be down", async || client.json().await["state"] == "down").await;
    exchange.set_all(&Mode::Good);
    until("the feed to be live", async || client.json().await["state"] == "live").await;
    until("a gap", async || client.json().await["type"] == "gap").await;
    let last = ticks(&mut client, 3).await["id"].to_string();
    for currency in CURRENCIES {
        for format in FORMATS {
            let query = format!("{currency}&format={format}");
            let (status, _) = description.ask(&replica, "/v1/prices/latest", &query, &[]).await;
            assert_eq!(status, 200);
            for place in ["since=0", "since=0&limit=2", &format!("after={last}")] {
                let (status, body) =
                    description.ask(&replica, "/v1/prices", &format!("{query}&{place}&until={last}"), &[]).await;
                assert_eq!(status, 200);
                for media in ["ndjson", "csv"] {
                    let query = format!("{query},{media}&{place}&until={last}");
                    assert_eq!(description.ask(&replica, "/v1/prices", &query, &[]).await.0, 200);
                }
                let shows_health = format == "full" && place == "since=0";
                assert_eq!(shows_health, body.contains("gap") && body.contains("status"), "{body}");
            }
        }
    }
    for path in READ {
        for query in ["currency=GBP", "format=xml", "nothing=1"] {
            assert_eq!(description.ask(&replica, path, query, &[]).await.0, 400, "{path}?{query}");
        }
    }
    let wrong = [("Last-Event-ID", "yesterday")];
    assert_eq!(description.ask(&replica, "/v1/prices/stream", "", &wrong).await.0, 400);
}

#[tokio::test]
async fn candles_and_answers_that_a_client_has_or_cannot_read_are_as_they_are_described() {
    let cluster = TestCluster::new().await;
    let kept = cluster.redis.fill(300).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    let description = Description::of(&replica).await;
    for query in ["", "interval=1m&limit=2", "interval=5m&since=0", "interval=1h", &format!("after={}", kept[200])] {
        for currency in CURRENCIES {
            for media in ["json", "ndjson", "csv"] {
                let query = format!("{query}&{currency}&format={media}");
                assert_eq!(description.ask(&replica, "/v1/candles", &query, &[]).await.0, 200, "{query}");
            }
        }
    }
    for path in ["/v1/candles", "/v1/prices", "/v1/prices/latest", "/openapi.json", "/asyncapi.json"] {
        let known = description.ask(&replica, path, "", &[("If-None-Match", "*")]).await;
        assert_eq!(known, (304, String::new()), "{path}");
    }
    for path in ["/v1/candles", "/v1/prices"] {
        assert_eq!(description.ask(&replica, path, "", &[("Accept", "text/html")]).await.0, 406, "{path}");
        let (_, page) = description.ask(&replica, path, "limit=2", &[("Accept", "text/csv")]).await;
        assert_eq!(page.lines().count(), 3, "the names of the columns, and {page}");
    }
}

#[tokio::test]
async fn what_cannot_be_had_now_is_answered_as_it_is_described() {
    let exchange = Exchange::start().await;
    let (_, description) = priced(&exchange, &[]).await;
    let replica = without_redis(&exchange).await;
    for path in ["/v1/prices/stream", "/v1/prices/latest", "/v1/prices", "/v1/candles"] {
        assert_eq!(description.ask(&replica, path, "", &[]).await.0, 503, "{path}");
    }
    let url = format!("http://{}/v1/prices/stream", replica.address);
    let mut events = Events::connect(&url, &[("Accept", "text/event-stream")]).await;
    assert_eq!(description.event_name(&events.event().await), "goodbye");
}

#[tokio::test]
async fn every_message_of_a_stream_is_described_and_every_described_message_comes() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_STALE_AFTER", "500ms"), ("BTCFEED_DOWN_AFTER", "1s")];
    let (mut replica, description) = priced(&exchange, &settings).await;
    let url = format!("http://{}/v1/prices/stream", replica.address);
    let mut seen: [BTreeSet<String>; 2] = Default::default();
    for currency in CURRENCIES {
        for format in FORMATS {
            let query = format!("{currency}&format={format}&since=0");
            let (mut client, mut events) =
                (replica.connect(&query).await, Events::connect(&format!("{url}?{query}"), &[]).await);
            for _ in 0..4 {
                seen[0].insert(description.name("websocket", &client.json().await));
                seen[1].insert(description.event_name(&events.event().await));
            }
        }
    }
    let query = "format=full&hello=true&since=0&limit=1&currency=USD,EUR";
    let mut client = replica.connect(query).await;
    let mut events = Events::connect(&format!("{url}?{query}"), &[]).await;
    exchange.set_all(&Mode::Silent);
    let mut messages = Vec::new();
    loop {
        messages.push(client.json().await);
        match messages.last().unwrap()["state"].as_str() {
            Some("down") => exchange.set_all(&Mode::Good),
            Some("live") if messages.iter().any(|message| message["state"] == "down") => break,
            _ => {}
        }
    }
    seen[0].extend(messages.iter().map(|message| description.name("websocket", message)));
    replica.signal(Signal::TERM);
    let close = client.closed().await;
    let code = json!({"code": u16::from(close.code), "reason": close.reason.as_str(), "come_back": true});
    let codes = &description.asyncapi["channels"]["websocket"]["x-close-codes"];
    assert!(codes.as_array().unwrap().contains(&code), "{code} is not among {codes}");
    while let Some(event) = events.block().await {
        if event.data.is_some() {
            seen[1].insert(description.event_name(&event));
        }
    }
    assert_eq!(seen, [description.messages("websocket"), description.messages("events")]);
    replica.exit().await;
}

#[tokio::test]
async fn what_a_client_does_wrong_is_answered_with_a_described_close_code() {
    let exchange = Exchange::start().await;
    let (replica, description) = priced(&exchange, &[]).await;
    let mut client = replica.connect("").await;
    client.send(Message::text("x".repeat(5000))).await;
    let close = client.closed().await;
    let codes = description.asyncapi["channels"]["websocket"]["x-close-codes"].as_array().unwrap();
    let found = codes.iter().find(|code| code["code"] == u16::from(close.code)).expect("a described code");
    assert_eq!((found["reason"].as_str(), &found["come_back"]), (Some(close.reason.as_str()), &json!(false)));
}

#[tokio::test]
async fn every_parameter_that_there_is_is_described_and_taken_as_it_is_described() {
    let exchange = Exchange::start().await;
    let (replica, description) = priced(&exchange, &[]).await;
    for path in description.paths() {
        let parameters = description.parameters(&path);
        let names: BTreeSet<_> = parameters.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        let (status, problem) = description.ask(&replica, &path, "nothing=1", &[]).await;
        let known = if status == 400 { listed(&problem) } else { BTreeSet::new() };
        assert!(known.is_subset(&names), "{path}: of {known:?} only {names:?} are described");
        assert!(path.starts_with("/v1/") <= !known.is_empty(), "{path} says what it knows");
        // 426: the query of a WebSocket was read, and the request is no handshake.
        let taken = async |name: &str, value: &str, header: bool| {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            let (query, headers) = if header { ("", vec![(name, value)]) } else { (&*query, vec![]) };
            matches!(description.ask(&replica, &path, query, &headers).await.0, 200 | 304 | 426)
        };
        for parameter in &parameters {
            let (name, header) = (parameter["name"].as_str().unwrap(), parameter["in"] == "header");
            let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
            let example = &parameter["example"];
            let examples = example.as_array().cloned().unwrap_or_else(|| vec![example.clone()]);
            assert_eq!(mistakes(&description.openapi, &parameter["schema"], example), [""; 0], "{name}");
            for value in examples.iter().chain(parameter["schema"].get("default")) {
                assert!(taken(name, &text(value), header).await, "{path}: {name}={value} is refused");
            }
            let words = [&parameter["schema"]["enum"], &parameter["schema"]["items"]["enum"]];
            for word in words.into_iter().filter_map(Value::as_array).flatten() {
                assert!(taken(name, &text(word), header).await, "{path}: {name}={word} is refused");
            }
            for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
                let Some(bound) = parameter["schema"][bound].as_i64() else { continue };
                assert!(taken(name, &bound.to_string(), header).await, "{path}: {name}={bound} is refused");
                assert!(!taken(name, &(bound + beyond).to_string(), header).await, "{path}: {name} beyond {bound}");
            }
        }
    }
}

#[tokio::test]
async fn both_descriptions_are_what_their_formats_ask_for_and_so_are_their_examples() {
    let exchange = Exchange::start().await;
    let (_, Description { openapi, asyncapi }) = priced(&exchange, &[]).await;
    for (document, schema) in
        [(&openapi, include_str!("schemas/openapi-3.1.json")), (&asyncapi, include_str!("schemas/asyncapi-3.0.0.json"))]
    {
        let validator = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
        let found: Vec<_> =
            validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(found.is_empty(), "{found:#?}");
        let mut examples = 0;
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            for example in schema["examples"].as_array().into_iter().flatten() {
                assert_eq!(mistakes(document, schema, example), [""; 0], "{name}");
                examples += 1;
            }
        }
        assert!(examples > 8, "{examples}");
    }
}

#[tokio::test]
async fn a_wrong_handshake_is_answered_as_it_is_described() {
    let exchange = Exchange::start().await;
    let (replica, description) = priced(&exchange, &[]).await;
    let handshake = [("Connection", "upgrade"), ("Upgrade", "websocket")];
    for (version, key, expected) in [("12", "", 426), ("13", "short", 400)] {
        let headers = [&handshake[..], &[("Sec-WebSocket-Version", version), ("Sec-WebSocket-Key", key)]].concat();
        assert_eq!(description.ask(&replica, "/v1/ws", "", &headers).await.0, expected);
    }
    let (status, body) = Client::rejected(&format!("ws://{}/v1/ws?format=xml", replica.address)).await;
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    assert_eq!(mistakes(&description.openapi, &problem, &serde_json::from_str(&body).unwrap()), [""; 0]);
    assert_eq!(status, 400);
}

/// The paths with their queries in lines to paste.
fn pasted(samples: &Value) -> Vec<String> {
    let lines = samples.as_array().into_iter().flatten().flat_map(|sample| sample["source"].as_str().unwrap().lines());
    let path =
        |line: &str| line.split('\'').find_map(|part| part.split_once("://localhost:8080")).unwrap().1.to_owned();
    lines.map(path).collect()
}

#[tokio::test]
async fn every_line_to_paste_is_answered() {
    let exchange = Exchange::start().await;
    let (replica, description) = priced(&exchange, &[]).await;
    let mut lines = 0;
    for (path, item) in description.openapi["paths"].as_object().unwrap() {
        for line in pasted(&item["get"]["x-codeSamples"]) {
            let (asked, query) = line.split_once('?').unwrap_or((&line, ""));
            assert_eq!(asked, path);
            assert!(matches!(description.ask(&replica, path, query, &[]).await.0, 200 | 426), "{line}");
            lines += 1;
        }
    }
    assert!(lines >= 8, "{lines}");
}

#[tokio::test]
async fn the_page_tells_of_everything_leads_nowhere_wrong_and_loads_nothing_from_elsewhere() {
    let exchange = Exchange::start().await;
    let (replica, description) = priced(&exchange, &[]).await;
    let response = http().get(format!("http://{}/docs", replica.address)).send().await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let (policy, link, etag) = (header("content-security-policy"), header("link"), header("etag"));
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(link.contains(r#"</openapi.json>; rel="service-desc""#), "{link}");
    let page = response.text().await.unwrap();
    let values = |attribute: &str| {
        let attribute = format!(" {attribute}=\"");
        let parts = page.split(&attribute).skip(1);
        parts.map(|part| part.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (ids, paths) = (values("id"), description.paths());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id stands once");
    for place in values("href").into_iter().chain(values("src")) {
        match place.strip_prefix('#') {
            Some(id) => assert!(ids.iter().any(|known| known == id), "{place} leads nowhere"),
            // The page with the price, and its icon, are no part of the API.
            None => assert!(["/", "/icon.svg"].contains(&&*place) || paths.contains(&place), "{place} is elsewhere"),
        }
    }
    assert!(!page.contains(" style=") && !page.contains("<style"), "the policy forbids it");
    let parameters = description.paths().into_iter().flat_map(|path| description.parameters(&path));
    let parameters: BTreeSet<_> = parameters.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
    let part = |path: &String| description.openapi["paths"][path]["get"].get("x-part-of").is_some();
    let (parts, paths): (BTreeSet<_>, BTreeSet<_>) = description.paths().into_iter().partition(part);
    assert!(parts.contains("/docs.css") && !page.contains("<code>/docs.css</code>"), "{parts:?} are no API");
    let names = [paths, description.messages("websocket"), description.messages("events"), parameters];
    for name in names.into_iter().flatten() {
        assert!(page.contains(&format!("<code>{name}</code>")), "{name} is not on the page");
    }
    assert!(page.find("<h1>") < page.find("class=\"contents\""), "a phone shows the title first");
    for (message, schema) in [("status", "Health"), ("gap", "GapReason"), ("goodbye", "GoodbyeReason")] {
        let (_, article) = page.split_once(&format!("<article id=\"message-{message}\">")).unwrap();
        let article = article.split("</article>").next().unwrap();
        for word in description.openapi["components"]["schemas"][schema]["enum"].as_array().unwrap() {
            let told = format!("<code>{}</code>: ", word.as_str().unwrap());
            assert!(article.contains(&told), "{message} does not say what {word} means");
        }
    }
    let (status, body) = description.ask(&replica, "/docs", "", &[("If-None-Match", &etag)]).await;
    assert_eq!((status, &*body), (304, ""));
}
