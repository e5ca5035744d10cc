//! OpenAPI and AsyncAPI against the server: what is described exists, and what exists is described.

use super::server::{TestServer, both, history, ids, ticks, usd};
use crate::support::description::{Description, violations};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Currencies of the requests that are compared with the description.
const CURRENCIES: [&str; 5] = ["", "currency=USD", "currency=EUR", "currency=USD,EUR", "currencies=usd&currencies=eur"];
const FORMATS: [&str; 4] = ["timedate", "timestamp", "full", "audit"];
/// Paths that are asked with invalid parameters.
const WITH_PARAMETERS: [&str; 8] = [
    "/v1/prices/at",
    "/v1/ws",
    "/ws",
    "/v1/prices/stream",
    "/prices/stream",
    "/v1/prices/latest",
    "/v1/prices",
    "/v1/candles",
];

/// Returns the documents of a server.
pub async fn description(server: &TestServer) -> Description {
    Description { openapi: server.json("/openapi.json").await, asyncapi: server.json("/asyncapi.json").await }
}

/// Currencies that the feed of these tests does not have.
const ABSENT: [&str; 5] = ["GBP", "JPY", "CHF", "CAD", "AUD"];

/// Returns a server with a price in both currencies, and its documents.
async fn priced() -> (TestServer, Description) {
    let server = TestServer::with(&[], &history([both("97000.10", "89000.20")])).await;
    let description = description(&server).await;
    (server, description)
}

/// Sends a request, and asserts that the response is described. Returns its status and body.
async fn ask(
    server: &TestServer,
    description: &Description,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let url = format!("{path}?{query}");
    let answer = server.get_with(&url, headers).await;
    let is_stream = answer.header("content-type") == "text/event-stream";
    let body = (!is_stream).then(|| answer.text());
    description.check(path, &url, answer.status, &answer.headers, body);
    (answer.status, answer.text().to_owned())
}

/// Returns the names after the word "expected" in the detail of an error response.
fn expected(problem: &str) -> BTreeSet<String> {
    let problem: Value = serde_json::from_str(problem).unwrap();
    let (_, names) =
        problem["detail"].as_str().unwrap().rsplit_once("expected ").expect("a problem that says what is expected");
    names.split(", ").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_path_is_described_and_exists() {
    let (server, description) = priced().await;
    let unknown = server.get("/nothing").await;
    // The page and `btcfeed.js` are not part of the API.
    let all = description.paths().into_iter().chain(["/".to_owned(), "/btcfeed.js".to_owned()]).collect();
    assert_eq!((unknown.status, expected(unknown.text())), (404, all));
    for path in description.paths() {
        let is_websocket = ["/v1/ws", "/ws", "/pricefeed"].contains(&&*path);
        let (status, _) = ask(&server, &description, &path, "", &[]).await;
        assert_eq!(status, if is_websocket { 426 } else { 200 }, "{path}");
        let post = server.request(Method::POST, &path, &[]).await;
        // A WebSocket over HTTP/2 begins with CONNECT.
        let allowed = if is_websocket { "GET,HEAD,CONNECT" } else { "GET,HEAD" };
        assert_eq!((post.status, post.header("allow")), (405, allowed), "{path}");
    }
}

#[tokio::test]
async fn responses_match_their_description() {
    let status = |state: &str| json!({"type": "status", "state": state, "since": 1000, "reason": "a test"});
    let mut back = both("97000.30", "89000.40");
    back["outages"] = json!([{"after": 1000, "currencies": ["EUR"]}, {"after": 1000, "currencies": ["USD", "EUR"]}]);
    let one = |eur: &str| json!({"type": "tick", "prices": {"EUR": eur}, "sources": {"EUR": ["kraken"]}});
    let events = [both("97000.10", "89000.20"), usd("97000.20"), status("stale"), status("down"), status("live"), back];
    let entries = history(events.into_iter().chain([one("89000.50"), both("97000.60", "89000.70")]));
    let last = *ids(&entries).last().unwrap();
    let server = TestServer::with(&[], &entries).await;
    let description = description(&server).await;
    let ask = async |path: &str, query: &str| ask(&server, &description, path, query, &[]).await;
    for currency in CURRENCIES {
        for format in FORMATS {
            let query = format!("{currency}&format={format}");
            assert_eq!(ask("/v1/prices/latest", &query).await.0, 200);
            for place in ["since=0", "since=0&limit=2", &format!("after={last}")] {
                let (status, body) = ask("/v1/prices", &format!("{query}&{place}&until={last}")).await;
                assert_eq!(status, 200);
                for media in ["ndjson", "csv"] {
                    if (format, media) == ("audit", "csv") {
                        continue;
                    }
                    let query = format!("{query},{media}&{place}&until={last}");
                    assert_eq!(ask("/v1/prices", &query).await.0, 200);
                }
                let has_health = matches!(format, "full" | "audit") && place == "since=0";
                assert_eq!(has_health, body.contains("gap") && body.contains("status"), "{body}");
            }
        }
    }
    for path in WITH_PARAMETERS {
        for query in ["currency=GBP", "format=xml", "nothing=1"] {
            assert_eq!(ask(path, query).await.0, 400, "{path}?{query}");
        }
    }
}

#[tokio::test]
async fn candles_and_cached_answers_match() {
    let entries = ticks(300);
    let server = TestServer::with(&[], &entries).await;
    let description = description(&server).await;
    let ask = async |path: &str, query: &str, headers: &[(&str, &str)]| {
        ask(&server, &description, path, query, headers).await
    };
    let after = format!("after={}", ids(&entries)[200]);
    for query in ["", "interval=1m&limit=2", "interval=5m&since=0", "interval=1h", &after] {
        for currency in CURRENCIES {
            for media in ["json", "ndjson", "csv"] {
                let query = format!("{query}&{currency}&format={media}");
                assert_eq!(ask("/v1/candles", &query, &[]).await.0, 200, "{query}");
            }
        }
    }
    for path in ["/v1/candles", "/v1/prices", "/v1/prices/latest", "/openapi.json", "/asyncapi.json", "/docs"] {
        assert_eq!(ask(path, "", &[("if-none-match", "*")]).await, (304, String::new()), "{path}");
    }
    for path in ["/v1/candles", "/v1/prices"] {
        assert_eq!(ask(path, "", &[("accept", "text/html")]).await.0, 406, "{path}");
        let (_, page) = ask(path, "limit=2", &[("accept", "text/csv")]).await;
        assert_eq!(page.lines().count(), 3, "expected a header and two rows: {page}");
    }
    assert_eq!(ask("/v1/prices/stream", "", &[("last-event-id", "yesterday")]).await.0, 400);
}

#[tokio::test]
async fn unavailable_answers_match() {
    let (_, description) = priced().await;
    let server = TestServer::unprimed(&[], &[]).await;
    for path in ["/v1/prices/stream", "/v1/prices/latest", "/v1/prices", "/v1/candles"] {
        assert_eq!(ask(&server, &description, path, "", &[]).await.0, 503, "{path}");
    }
    let mut events = server.events("", &[("accept", "text/event-stream")]).await;
    assert_eq!(description.event_name(&events.event().await), "goodbye");
}

#[tokio::test]
async fn rejected_handshakes_match() {
    let (server, description) = priced().await;
    let handshake = [("connection", "upgrade"), ("upgrade", "websocket")];
    for (version, key, expected) in [("12", "", 426), ("13", "short", 400)] {
        let headers = [&handshake[..], &[("sec-websocket-version", version), ("sec-websocket-key", key)]].concat();
        assert_eq!(ask(&server, &description, "/v1/ws", "", &headers).await.0, expected);
    }
}

#[tokio::test]
async fn every_parameter_is_described_and_accepted() {
    let (server, description) = priced().await;
    for path in description.paths() {
        let parameters = description.parameters(&path);
        let names: BTreeSet<_> = parameters.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        let (status, problem) = ask(&server, &description, &path, "nothing=1", &[]).await;
        let known = if status == 400 { expected(&problem) } else { BTreeSet::new() };
        assert!(known.is_subset(&names), "{path}: of {known:?} only {names:?} are described");
        assert!(!known.is_empty() || !path.starts_with("/v1/"), "the error of {path} names no parameters");
        // 426: the query is valid, but the request is not a WebSocket handshake.
        let is_accepted = async |name: &str, value: &str, is_header: bool| {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            let (query, headers) = if is_header { ("", vec![(name, value)]) } else { (&*query, vec![]) };
            let status = ask(&server, &description, &path, query, &headers).await.0;
            // 404: the moment in the example is before the first tick.
            let at_moment = ["/v1/prices/at", "/api/v1/historical-price"].contains(&path.as_str());
            matches!(status, 200 | 304 | 426) || at_moment && status == 404
        };
        for parameter in &parameters {
            let (name, is_header) = (parameter["name"].as_str().unwrap(), parameter["in"] == "header");
            let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
            let (schema, example) = (&parameter["schema"], &parameter["example"]);
            assert_eq!(violations(&description.openapi, schema, example), [""; 0], "{name}");
            let examples = example.as_array().cloned().unwrap_or_else(|| vec![example.clone()]);
            let words = [&schema["enum"], &schema["items"]["enum"]];
            // The feed of this test has two of the currencies.
            let is_of_feed = |word: &&Value| !ABSENT.iter().any(|currency| *word == currency);
            let words = words.into_iter().filter_map(Value::as_array).flatten().filter(is_of_feed);
            for value in examples.iter().chain(schema.get("default")).chain(words) {
                assert!(is_accepted(name, &text(value), is_header).await, "{path}: {name}={value} is rejected");
            }
            for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
                let Some(bound) = schema[bound].as_i64() else { continue };
                assert!(is_accepted(name, &bound.to_string(), is_header).await, "{path}: {name}={bound} is rejected");
                let outside = (bound + beyond).to_string();
                assert!(!is_accepted(name, &outside, is_header).await, "{path}: {name}={outside} is accepted");
            }
        }
    }
}

#[tokio::test]
async fn documents_and_their_examples_are_valid() {
    let (_, Description { openapi, asyncapi }) = priced().await;
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
                assert_eq!(violations(document, schema, example), [""; 0], "{name}");
                examples += 1;
            }
        }
        assert!(examples > 8, "{examples}");
    }
}

/// The reference shows the summaries of paths as headings.
#[tokio::test]
async fn summaries_are_short() {
    let (_, Description { openapi, asyncapi }) = priced().await;
    let paths = openapi["paths"].as_object().unwrap().iter().map(|(path, item)| (path, &item["get"]));
    let others = [&asyncapi["operations"], &asyncapi["components"]["messages"]];
    let others = others.into_iter().flat_map(|them| them.as_object().unwrap());
    for (name, described) in paths.chain(others) {
        let summary = described["summary"].as_str().unwrap();
        let is_one_sentence = !summary.is_empty() && !summary.contains('\n') && !summary.contains(". ");
        assert!(is_one_sentence && summary.chars().count() <= 80, "{name}: {summary}");
        // A description ends with a full stop and does not repeat the summary.
        let more = described["description"].as_str();
        assert!(more.is_none_or(|more| more.ends_with('.') && !more.starts_with(summary)), "{name}: {more:?}");
    }
}

#[tokio::test]
async fn documents_are_reviewed() {
    let (_, Description { openapi, asyncapi }) = priced().await;
    for (name, mut document) in [("openapi", openapi), ("asyncapi", asyncapi)] {
        // The version changes with each release.
        document["info"]["version"] = "VERSION".into();
        assert_reviewed!(name, serde_json::to_string_pretty(&document).unwrap());
    }
}

/// Returns the paths and queries in code samples.
fn sample_paths(samples: &Value) -> Vec<String> {
    let lines = samples.as_array().into_iter().flatten().flat_map(|sample| sample["source"].as_str().unwrap().lines());
    let path =
        |line: &str| line.split('\'').find_map(|part| part.split_once("://localhost:8080")).unwrap().1.to_owned();
    lines.map(path).collect()
}

#[tokio::test]
async fn every_code_sample_works() {
    let (server, description) = priced().await;
    let mut lines = 0;
    for (path, item) in description.openapi["paths"].as_object().unwrap() {
        for line in sample_paths(&item["get"]["x-codeSamples"]) {
            let (sample, query) = line.split_once('?').unwrap_or((&line, ""));
            assert_eq!(sample, path);
            assert!(matches!(ask(&server, &description, path, query, &[]).await.0, 200 | 426), "{line}");
            lines += 1;
        }
    }
    assert!(lines >= 8, "{lines}");
}
