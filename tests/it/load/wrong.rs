//! Reports of `btcfeed load` about a faulty feed, and about invalid arguments.

use super::{Load, command, with_history};
use crate::support::embedded;
use crate::support::exchange::Exchange;
use crate::support::foreign_server::{Answer, Server, tick};
use crate::support::ports::free_address;
use serde_json::{Value, json};
use tokio::process::Command;

const SYNCED: &str = r#"{"type":"synced","id":10}"#;

/// Runs two clients against a server with these answers. Returns the exit code and the result.
async fn found(answers: Vec<Answer>) -> (Option<i32>, Value) {
    let server = Server::start(answers).await;
    let arguments = ["--connections", "2", "--duration", "200ms", "--json"];
    Load::start(&[&[server.address.to_string().as_str()], &arguments[..]].concat()).json().await
}

fn gap(after: u64, before: u64, reason: &str) -> String {
    format!(r#"{{"type":"gap","after":{after},"before":{before},"reason":"{reason}"}}"#)
}

#[tokio::test]
async fn lost_and_doubled_updates_are_counted() {
    let (lost, again) = ([tick(20, 10), tick(40, 30)], [tick(20, 10), tick(20, 10)]);
    let explained = |reason, prev| [gap(10, 40, reason), tick(40, prev)];
    for (then, code, losses, doubles, gaps) in [
        ([tick(20, 10), tick(30, 20)], 0, 0, 0, json!({})),
        (lost, 1, 2, 0, json!({"unexplained": 2})),
        (again, 1, 0, 2, json!({})),
        (explained("source_outage", 10), 0, 0, 0, json!({"source_outage": 2})),
        (explained("source_outage", 30), 1, 2, 0, json!({"source_outage": 2, "unexplained": 2})),
        (explained("history_lost", 30), 1, 2, 0, json!({"history_lost": 2})),
    ] {
        let [then, last] = &then;
        let (ended, result) = found(vec![Answer::messages(&[&tick(10, 5), SYNCED, then, last], None)]).await;
        assert_eq!(ended, Some(code), "{result}");
        assert_eq!((&result["lost"], &result["doubled"]), (&json!(losses), &json!(doubles)), "{result}");
        assert_eq!((&result["gaps"], &result["clients"]["at_newest"]), (&gaps, &json!(2)));
    }
}

#[tokio::test]
async fn client_that_lags_behind_is_counted() {
    let (all, some) = ([&*tick(10, 5), SYNCED, &tick(20, 10)], [&*tick(10, 5), SYNCED]);
    let (code, result) = found(vec![Answer::messages(&all, None), Answer::messages(&some, None)]).await;
    assert_eq!((code, &result["lost"]), (Some(1), &json!(0)), "{result}");
    assert_eq!((&result["newest"], &result["clients"]["at_newest"]), (&json!(20), &json!(1)));
}

#[tokio::test]
async fn run_without_updates_is_reported() {
    let answers = vec![Answer::messages(&[&tick(10, 5), SYNCED], None)];
    let (code, result) = found(answers.clone()).await;
    assert_eq!((code, &result["entries"], &result["age_ms"]), (Some(0), &json!(0), &Value::Null), "{result}");
    assert_eq!(result["updates_per_second"], 0.0);
    let server = Server::start(answers).await.address.to_string();
    let (code, result, _) = Load::start(&[&server, "--connections", "2", "--duration", "200ms"]).end().await;
    assert!(code == Some(0) && result.contains("\n updates      none in the feed during"), "{result}");
}

#[tokio::test]
async fn late_updates_of_the_run_are_awaited() {
    let event = |data: &str| format!("data: {data}\n\n");
    let begin = [event(&tick(10, 5)), event(SYNCED)];
    let (soon, late) = (vec![event(&tick(20, 10))], [vec![":\n".to_owned(); 75], vec![event(&tick(20, 10))]].concat());
    let answers = [soon, late].map(|then| Answer::Events([&begin[..], &then].concat())).to_vec();
    let server = Server::start(answers).await;
    let arguments = ["--connections", "2", "--duration", "200ms", "--transport", "sse", "--json"];
    let (_, result) = Load::start(&[&[server.address.to_string().as_str()], &arguments[..]].concat()).json().await;
    assert_eq!((&result["newest"], &result["clients"]["at_newest"]), (&json!(20), &json!(2)), "{result}");
    assert!(result["measured_seconds"].as_f64().unwrap() < 1.2, "{result}");
}

#[tokio::test]
async fn unusable_address_fails_at_once() {
    let unused = free_address();
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n".to_owned();
    let page = Server::start(vec![Answer::Raw(page)]).await.address.to_string();
    let exchange = Exchange::start().await;
    let dollars = embedded(&exchange, &[("BTCFEED_CURRENCIES", "USD")]).await;
    for (arguments, code, message) in [
        (&[&*unused][..], 1, ": connection refused"),
        (&[&unused, &page], 1, "there is no feed at this address: "),
        (&[&page], 1, "there is no feed at this address: "),
        (&[&dollars.address, "--currency", "EUR"], 2, "invalid currency \"EUR\": expected USD"),
    ] {
        let (ended, result, error) = Load::start(arguments).end().await;
        assert_eq!((ended, &*result), (Some(code), ""), "{error}");
        assert!(error.starts_with("btcfeed: ") && error.contains(message), "{error}");
    }
    // One address with a feed is enough.
    let arguments = [&*unused, &dollars.address, "--connections", "4", "--duration", "300ms", "--json"];
    let (code, result) = Load::start(&arguments).json().await;
    assert_eq!((code, &result["clients"]["at_newest"]), (Some(0), &json!(4)), "{result}");
}

#[tokio::test]
async fn invalid_arguments_are_reported() {
    for (arguments, message) in [
        (&["--connections", "x"][..], "'x' for '--connections <N>': expected a whole number from 1 to 1000000\n"),
        (&["--connections", "-1"], "'-1' for '--connections <N>': expected a whole number from 1 to 1000000\n"),
        (&["--rate", "fast"], "'fast' for '--rate <N>': expected a whole number from 1 to 1000000\n"),
        (&["--duration", "0s"], "'0s' for '--duration <TIME>': expected a duration above 0, such as 500ms, 30s, "),
        (&["--since", "-5m"], "'-5m' for '--since <MOMENT>': expected a time before now (10m), a date, RFC 3339 ("),
        (&["--transport", "udp"], "ws, sse, grpc"),
        (&["--source-address", "eth0"], "expected IP addresses with commas between them (127.0.0.2,127.0.0.3)\n"),
        // An address for documentation, which no machine has (RFC 5737).
        (
            &["--source-address", "127.0.0.1,192.0.2.7"],
            "invalid --source-address \"192.0.2.7\": expected addresses of this machine\n",
        ),
        (&["ftp://host"], "invalid address "),
        (&["localhost", "http://host?x"], "invalid address "),
    ] {
        let (code, _, error) = Load::start(arguments).end().await;
        assert!(code == Some(2) && error.contains(message), "{arguments:?}: {code:?} {error}");
    }
}

#[tokio::test]
async fn too_few_descriptors_are_reported() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let limited = |connections: &str| {
        let mut shell = Command::new("sh");
        let program = command(&[&replica.address, "--connections", connections, "--duration", "300ms"]);
        let program = program.as_std();
        shell.arg("-c").arg("ulimit -Sn 70; ulimit -Hn 100; exec \"$@\"").arg("sh");
        shell.arg(program.get_program()).args(program.get_args()).env_clear();
        shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
        Load::spawn(shell)
    };
    let (code, result, error) = limited("37").end().await;
    assert_eq!((code, &*result), (Some(2), ""), "{error}");
    assert!(
        error.contains("invalid --connections \"37\": expected at most 36, because each is an open file"),
        "{error}"
    );
    // `btcfeed load` raises its soft limit to the hard limit.
    let (code, _, error) = limited("36").end().await;
    assert_eq!(code, Some(0), "{error}");
}
