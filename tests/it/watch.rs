//! `btcfeed watch`, in a pipe and on a terminal.

mod messages;
mod stops;

use crate::support::client::Client;
use crate::support::exchange::{Exchange, Mode};
use crate::support::foreign_server::{Answer, Server};
use crate::support::ports::free_address;
use crate::support::program::program;
use crate::support::proxy::Proxy;
use crate::support::terminal::Terminal;
use crate::support::{TestCluster, embedded, soon, unbroken, until, with_history};
use rustix::process::Signal;
use serde_json::Value;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

fn command(arguments: &[&str]) -> Command {
    let mut command = program();
    // `btcfeed watch` ignores the settings of a replica, even invalid ones.
    command.arg("watch").args(arguments).env("BTCFEED_INTERVAL", "often").env("TERM", "xterm-256color");
    command
}

/// A running `btcfeed watch`, whose output is read line by line.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(arguments: &[&str]) -> Watch {
        let mut command = command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watch { child, lines }
    }

    /// Returns the next line, or `None` at the end of the output.
    async fn line(&mut self) -> Option<String> {
        soon("a line", self.lines.next_line()).await.unwrap()
    }

    /// Returns the next tick or status in full format.
    async fn entry(&mut self) -> Value {
        loop {
            let line: Value = serde_json::from_str(&self.line().await.expect("a line")).unwrap();
            if line["id"].is_u64() && line["type"] != "synced" {
                return line;
            }
        }
    }

    /// Waits until the program exits. Returns the exit code, the rest of the output, and the errors.
    async fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        let mut rest = Vec::new();
        while let Some(line) = self.line().await {
            rest.push(line);
        }
        let (code, error) = ended(self.child).await;
        (code.code(), rest, error)
    }
}

/// Waits for the end of a process. Returns its status and its errors.
async fn ended(mut child: Child) -> (ExitStatus, String) {
    let (mut stderr, mut error) = (child.stderr.take().unwrap(), String::new());
    soon("standard error to end", stderr.read_to_string(&mut error)).await.unwrap();
    (soon("the end", child.wait()).await.unwrap(), error)
}

#[tokio::test]
async fn piped_output_is_what_the_server_sends() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    for format in ["timedate", "timestamp", "full", "audit"] {
        for currency in ["USD", "EUR", "USD,EUR"] {
            for transport in ["ws", "sse", "grpc"] {
                let arguments = [&replica.address, "--since", "1h", "--count", "4", "--transport", transport];
                let arguments = [&arguments[..], &["--format", format, "--currency", currency]].concat();
                let (code, lines, error) = Watch::start(&arguments).end().await;
                assert_eq!(code, Some(0), "{error}");
                assert_eq!(lines.len(), if format.starts_with("time") && currency == "USD,EUR" { 8 } else { 4 });
                let mut raw = replica.connect(&format!("format={format}&currency={currency}&since=0")).await;
                for line in lines {
                    assert_eq!(line, raw.text().await);
                }
                assert_eq!(error, "btcfeed: connected to r1\n");
            }
        }
    }
    // The defaults are those of the server.
    let (_, lines, _) = Watch::start(&[&replica.address, "--count", "2"]).end().await;
    let fields: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(fields.as_object().unwrap().keys().collect::<Vec<_>>(), ["timedate", "price"]);
}

#[tokio::test]
async fn watch_begins_at_the_given_start() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let history = replica.history().await;
    let (second, third) = (&history[1], &history[2]);
    let (timedate, id) = (third["timedate"].as_str().unwrap(), second["id"].to_string());
    for start in
        [["--since", timedate], ["--after", &id], ["--since", &(second["id"].as_u64().unwrap() + 1).to_string()]]
    {
        let arguments = [&[replica.address.as_str(), "--count", "1", "--format", "full"], &start[..]].concat();
        let (_, lines, _) = Watch::start(&arguments).end().await;
        assert_eq!(serde_json::from_str::<Value>(&lines[0]).unwrap(), *third, "{start:?}");
    }
    let (_, lines, _) =
        Watch::start(&[&replica.address, "--count", "3", "--every", "1s", "--format", "full"]).end().await;
    let ids: Vec<u64> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "tick")
        .map(|tick| tick["id"].as_u64().unwrap())
        .collect();
    // Each tick is the newest one at the end of a second. On a busy machine, it may already be some intervals old.
    assert!(ids[2] - ids[0] >= 1200, "{ids:?}");
}

#[tokio::test]
async fn watch_ends_cleanly_at_a_closed_pipe() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let mut watch = Watch::start(&[&replica.address, "--since", "0"]);
    for _ in 0..3 {
        watch.line().await.unwrap();
    }
    let Watch { child, lines } = watch;
    drop(lines);
    let (code, error) = ended(child).await;
    assert_eq!((code.code(), error.as_str()), (Some(0), "btcfeed: connected to r1\n"));
}

#[tokio::test]
async fn exit_code_depends_on_the_failure() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_CURRENCIES", "USD")]).await;
    let elsewhere = format!("{}/elsewhere", replica.address);
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".to_owned();
    let page = Server::start(vec![Answer::Raw(page)]).await.address.to_string();
    for (arguments, code, message) in [
        (&["--format", "xml"][..], 2, "'xml' for '--format <FORMAT>': expected timedate, timestamp, full or audit\n"),
        (&["--currency", "XBT"], 2, "'XBT' for '--currency <CODES>': expected USD, EUR, GBP, JPY, CHF, CAD or AUD\n"),
        (
            &["--since", "yesterday"],
            2,
            "for '--since <MOMENT>': expected a time before now (10m), a date, RFC 3339 (2026-",
        ),
        (
            &["--since", "-5m"],
            2,
            "'-5m' for '--since <MOMENT>': expected a time before now (10m), a date, RFC 3339 (2026-",
        ),
        (&["--since", "10m", "--after", "5"], 2, "cannot be used with"),
        (
            &["--every", "5"],
            2,
            "'5' for '--every <TIME>': expected a duration from 100ms to 24h, such as 500ms, 30s, 10m or",
        ),
        (&["--every", "1ms"], 2, "expected a duration from 100ms to 24h"),
        (&["--after", "x"], 2, "'x' for '--after <ID>': expected the id of an update such as 1795166431075\n"),
        (&["--transport", "pigeon"], 2, "ws"),
        (&["--count", "0"], 2, "'0' for '--count <N>': expected a whole number above 0\n"),
        (&["ftp://localhost"], 2, "invalid address "),
        (&[&replica.address, "--currency", "EUR"], 2, r#"invalid currency "EUR": expected USD"#),
        (&["--limit", "10001"], 2, "'10001' for '--limit <N>': expected a whole number from 1 to 10000\n"),
        (&[&replica.address, "--client-id", "a b"], 2, "invalid client_id"),
        (&[&elsewhere], 1, "404"),
        (&[&replica.ops], 1, "there is no feed at this address: it answers HTTP 404"),
        (&[&replica.ops, "--transport", "grpc"], 1, "there is no feed at this address: it answers HTTP 404"),
        (&[&page], 1, "there is no feed at this address: it answers HTTP 200"),
    ] {
        let (ended, lines, error) = Watch::start(arguments).end().await;
        assert_eq!((ended, lines.len()), (Some(code), 0), "{arguments:?}: {error}");
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
    for signal in [Signal::INT, Signal::TERM] {
        let mut watch = Watch::start(&[&replica.address]);
        watch.line().await.unwrap();
        crate::support::signal(&watch.child, signal);
        assert_eq!(watch.end().await.0, Some(0), "{signal:?}");
    }
}

#[tokio::test]
async fn killed_replica_costs_no_line() {
    let cluster = TestCluster::new().await;
    for transport in ["ws", "sse", "grpc"] {
        let [mut first, second] = cluster.replicas().await;
        let proxy = Proxy::start(first.port()).await;
        let address = proxy.address.to_string();
        let mut watch = Watch::start(&[&address, "--format", "full", "--transport", transport]);
        let mut seen = vec![watch.entry().await];
        proxy.redirect(second.port());
        first.signal(Signal::KILL);
        first.exit().await;
        while seen.len() < 15 {
            seen.push(watch.entry().await);
        }
        unbroken(&seen);
        crate::support::signal(&watch.child, Signal::TERM);
        let (_, _, error) = watch.end().await;
        assert!(
            error.contains("btcfeed: not connected: ") && error.contains("btcfeed: connected again to r2 after "),
            "{error}"
        );
    }
}

fn lines(screen: &str) -> Vec<&str> {
    screen.lines().filter(|line| !line.trim().is_empty()).collect()
}

/// Waits for some more drawings, and asserts that the screen has one footer.
async fn has_one_footer(terminal: &Terminal) {
    let drawn = || terminal.written().matches("\u{1b}[?2026l").count();
    let before = drawn();
    until("more drawings", async || drawn() > before + 3).await;
    let one = |screen: &str, begins: &str| lines(screen).iter().filter(|line| line.starts_with(begins)).count() == 1;
    let is = |screen: &str| one(screen, " ───") && one(screen, " USD ") && one(screen, " ● live");
    terminal.shows("one footer", is).await;
}

#[tokio::test]
async fn terminal_shows_a_table_that_fits() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    for (width, change) in [(120, true), (80, true), (40, false)] {
        let mut terminal =
            Terminal::run(command(&[&replica.address, "--currency", "USD,EUR", "--since", "10m"]), width);
        let screen = terminal.shows("a table", |screen| screen.contains("● live") && screen.contains('▲')).await;
        let shown = lines(&screen);
        assert!(
            shown
                .iter()
                .any(|line| line.contains("BTC/USD") && line.contains("BTC/EUR") && line.contains("change") == change),
            "{screen}"
        );
        let row = shown.iter().rev().find(|line| line.contains('▲')).unwrap();
        assert!(row.contains("  97,0") && row.contains("  8"), "{row}");
        assert!(shown.iter().all(|line| line.chars().count() <= usize::from(width)), "{screen}");
        // The footer is at the bottom: a rule, a curve for each currency, and the state.
        let [.., rule, usd, eur, state] = &shown[..] else { panic!("{screen}") };
        assert!(rule.starts_with(" ───") && state.starts_with(" ● live · "), "{screen}");
        assert!(usd.starts_with(" USD  ") && usd.contains('█') && eur.starts_with(" EUR  "), "{screen}");
        assert!(state.contains("no gaps") && (width < 80 || state.contains("r1 · ")), "{state}");
        has_one_footer(&terminal).await;
        terminal.signal(Signal::INT);
        assert_eq!(terminal.exit().await.code(), Some(0));
        let has_id = |line: &&str| line.split_once("--after ").is_some_and(|(_, id)| id.trim().len() == 13);
        let screen = terminal.shows("the last line", |screen| lines(screen).iter().any(has_id)).await;
        assert!(screen.contains("resume with"), "{screen}");
        // The emulator joins the parts of a wrapped line, which would then be longer than the width.
        assert!(lines(&screen).iter().all(|line| line.chars().count() <= usize::from(width)), "{screen}");
        assert!(!screen.contains("● live"), "the footer is removed: {screen}");
        assert!(terminal.shows_cursor());
    }
}

#[tokio::test]
async fn footer_follows_the_width_of_the_terminal() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let terminal = Terminal::run(command(&[&replica.address]), 100);
    let rule = |width: usize| format!(" {}", "─".repeat(width - 2));
    terminal.shows("a footer", |screen| screen.contains(&rule(100))).await;
    for width in [60, 110] {
        terminal.resize(width);
        let fits = |screen: &str| lines(screen).iter().rev().nth(2) == Some(&rule(usize::from(width)).as_str());
        terminal.shows("a footer that fits", fits).await;
        has_one_footer(&terminal).await;
    }
}

#[tokio::test]
async fn terminal_reports_outages_and_reconnects() {
    let exchange = Exchange::start().await;
    let address = free_address();
    let settings = [
        ("BTCFEED_LISTEN", address.as_str()),
        ("BTCFEED_STALE_AFTER", "2s"),
        ("BTCFEED_DOWN_AFTER", "5s"),
        ("BTCFEED_SOURCES", "coinbase"),
    ];
    let replica = embedded(&exchange, &settings).await;
    let terminal = Terminal::run(command(&[&address]), 100);
    terminal.shows("a price", |screen| screen.contains("● live")).await;
    exchange.set_all(&Mode::Status(500, None));
    terminal
        .shows("the outage", |screen| screen.contains("● down") && screen.contains("the feed is stale since "))
        .await;
    exchange.set_all(&Mode::Good);
    let gone =
        |screen: &str| screen.contains("no exchange gave one") && screen.contains("● live") && screen.contains("1 gap");
    terminal.shows("the gap", gone).await;
    drop(replica);
    terminal.shows("the loss", |screen| screen.contains("not connected: ") && screen.contains("○ reconnecting")).await;
    // With this interval, new rows do not push the row about the reconnect off the screen too soon.
    let slow = [("BTCFEED_LISTEN", address.as_str()), ("BTCFEED_SOURCES", "coinbase"), ("BTCFEED_INTERVAL", "3s")];
    let _replica = embedded(&exchange, &slow).await;
    terminal.shows("the reconnect", |screen| screen.contains("connected again to ")).await;
    terminal.shows("the state", |screen| screen.contains("● live")).await;
}

#[tokio::test]
async fn stale_feed_is_shown_at_once() {
    let exchange = Exchange::start().await;
    let replica =
        embedded(&exchange, &[("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "1h"), ("BTCFEED_REPLICA", "r1")])
            .await;
    replica.priced().await;
    exchange.set_all(&Mode::Status(500, None));
    replica.state("stale").await;
    for transport in ["ws", "sse", "grpc"] {
        let arguments = [&replica.address, "--count", "1", "--transport", transport];
        let (_, _, error) = Watch::start(&arguments).end().await;
        assert!(error.starts_with("btcfeed: connected to r1; the feed is stale: no price in "), "{error}");
        let terminal = Terminal::run(command(&[&replica.address, "--transport", transport]), 80);
        terminal.shows("the state", |screen| screen.contains(" ● stale · ")).await;
        assert!(!terminal.written().contains("● live"));
    }
}

#[tokio::test]
async fn limit_and_client_id_apply_to_the_replay() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let arguments = [&replica.address, "--since", "1h", "--limit", "2", "--count", "2"];
    let (_, lines, error) = Watch::start(&arguments).end().await;
    assert_eq!(lines.len(), 2);
    assert!(error.contains("btcfeed: updates are left out from ") && error.contains(": more than the limit\n"));
    let (_, lines, _) = Watch::start(&[&arguments[..], &["--format", "full"]].concat()).end().await;
    assert!(lines[0].contains(r#""reason":"replay_limit""#), "{lines:?}");
    // A client with a client_id resumes after its last tick.
    let named = [&replica.address, "--client-id", "shop-7.4f9b2c71d0e85a36", "--count", "3", "--format", "full"];
    let ticks = async || {
        let (_, lines, _) = Watch::start(&named).end().await;
        let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.into_iter().filter(|line| line["type"] == "tick").collect::<Vec<_>>()
    };
    let before = ticks().await.last().unwrap()["id"].clone();
    let ahead = async |until: &str| {
        replica.json(&format!("/v1/prices?after={before}{until}")).await["prices"].as_array().unwrap().len()
    };
    until("ten more ticks", async || ahead("").await > 10).await;
    let after = ticks().await[0]["id"].clone();
    // Ticks that were being sent when the client disconnected count as sent.
    let between = ahead(&format!("&until={after}")).await;
    assert!((1..=10).contains(&between), "{between} from {before} to {after}");
}

#[tokio::test]
async fn simulation_is_marked_and_colours_are_optional() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_SOURCES", "simulated")]).await;
    for (env, colours, moves) in
        [(("COLUMNS", "80"), true, true), (("NO_COLOR", "1"), false, true), (("TERM", "dumb"), false, false)]
    {
        let mut command = command(&[&replica.address]);
        command.env(env.0, env.1);
        let terminal = Terminal::run(command, 80);
        let is_marked = |screen: &str| screen.contains("the prices are SIMULATED") && screen.contains('▲');
        terminal.shows("a simulated price", is_marked).await;
        if moves {
            terminal.shows("the state", |screen| screen.contains("● live · SIMULATED")).await;
        }
        let written = terminal.written();
        assert_eq!(written.contains("\u{1b}[38;5;"), colours, "{env:?}: {written:?}");
        assert_eq!(written.contains('\u{1b}'), moves, "{env:?}: {written:?}");
    }
}

#[tokio::test]
async fn absent_server_is_retried() {
    let exchange = Exchange::start().await;
    let address = free_address();
    let mut watch = Watch::start(&[&address, "--count", "1"]);
    let mut line = String::new();
    let mut stderr = BufReader::new(watch.child.stderr.take().unwrap());
    soon("a line", stderr.read_line(&mut line)).await.unwrap();
    assert!(line.starts_with(&format!("btcfeed: not connected: http://{address}: connection refused")), "{line}");
    assert!(line.contains("; trying again in 0."), "{line}");
    let replica = embedded(&exchange, &[("BTCFEED_LISTEN", &address)]).await;
    replica.priced().await;
    assert!(watch.line().await.unwrap().contains(r#""price":97"#));
    assert_eq!(watch.line().await, None);
    let mut raw = Client::connect(&format!("ws://{address}/v1/ws")).await;
    raw.text().await;
}
