//! The command line: settings, help, errors and exit codes.

use crate::support::exchange::{Exchange, Mode};
use crate::support::ports::free_address;
use crate::support::program::program;
use crate::support::{http, signal, soon, until};
use serde_json::Value;
use std::fmt::Write;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

fn command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = program();
    // `serve` is the default command.
    if arguments.first().is_none_or(|first| *first == "serve" || first.starts_with('-')) {
        command.env("BTCFEED_DATA", "none");
    }
    command.args(arguments).envs(settings.iter().copied()).kill_on_drop(true);
    command
}

/// Runs the program. Returns its exit code, its output and its errors.
async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = soon("the program", command(arguments, settings).output()).await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn invalid_settings_are_all_reported() {
    let settings = [("BTCFEED_INTERVAL", "often"), ("BTCFEED_SOURCES", "mtgox"), ("REDIS_URL", "http://localhost")];
    // A demo has its feed in memory, so it ignores REDIS_URL.
    for (arguments, count) in [(&[][..], 3), (&["serve"], 3), (&["config"], 3), (&["demo"], 2)] {
        let (code, _, error) = run(arguments, &settings).await;
        assert_eq!(code, Some(2), "{arguments:?}");
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), count, "{error}");
        assert!(
            error.contains(
                "invalid BTCFEED_INTERVAL \"often\": expected a duration such as 5s or 500ms, from 10ms to 1h"
            )
        );
    }
}

#[tokio::test]
async fn healthcheck_ignores_other_settings() {
    let unused = free_address();
    let settings = [("BTCFEED_INTERVAL", "often"), ("BTCFEED_OPS_LISTEN", unused.as_str())];
    let (code, _, error) = run(&["healthcheck"], &settings).await;
    assert!(code == Some(1) && error.contains("cannot connect to 127.0.0.1:"), "{code:?} {error}");
    let (code, _, error) = run(&["healthcheck", "--ops-listen", "here"], &settings).await;
    assert!(
        code == Some(2) && error.starts_with("btcfeed: invalid --ops-listen \"here\": expected HOST:PORT such as"),
        "{error}"
    );
}

/// All subcommands.
const COMMANDS: [&str; 12] =
    ["serve", "demo", "watch", "at", "load", "healthcheck", "check", "config", "key", "store", "verify", "completions"];

#[tokio::test]
async fn help_is_reviewed() {
    for (name, arguments) in [("help", &["--help"][..]), ("help_short", &["-h"])] {
        let (code, help, _) = run(arguments, &[]).await;
        assert_eq!(code, Some(0));
        assert_reviewed!(name, help);
    }
    for command in COMMANDS {
        let (code, help, _) = run(&[command, "--help"], &[]).await;
        assert_eq!(code, Some(0));
        assert_reviewed!(format!("help_{command}"), help);
    }
}

#[tokio::test]
async fn errors_of_the_command_line_are_reviewed() {
    let mut found = String::new();
    for arguments in [
        &["config", "--interval", "often"][..],
        &["config", "--currencies", "XBT"],
        &["config", "--sources", "mtgox"],
        &["config", "--sources", "simulated,kraken"],
        &["config", "--redis-url", "http://localhost"],
        &["config", "--role", "serve"],
        &["config", "--listen", "here"],
        &["config", "--max-connections", "0"],
        &["config", "--outlier-share", "5"],
        &["config", "--cors-origins", "example.org"],
        &["config", "--rust-log", "loud=yes"],
        &["--intervall", "5s"],
        &["help", "unknown"],
        &["completions", "ksh"],
        &["healthcheck", "--ops-listen", "here"],
        &["watch", "--format", "xml"],
        &["watch", "--currency", "XBT"],
        &["watch", "--since", "yesterday"],
        &["watch", "--since", "10m", "--after", "5"],
        &["watch", "--every", "1ms"],
        &["watch", "--after", "x"],
        &["watch", "--transport", "pigeon"],
        &["watch", "--count", "0"],
        &["watch", "--limit", "10001"],
        &["watch", "ftp://localhost"],
        &["load", "--connections", "-1"],
        &["load", "--rate", "fast"],
        &["load", "--duration", "0s"],
        &["load", "--source-address", "eth0"],
        &["load", "--source-address", "127.0.0.1,192.0.2.7"],
        &["load", "localhost", "http://host?x"],
    ] {
        let (code, output, error) = run(arguments, &[]).await;
        assert_eq!((code, &*output), (Some(2), ""), "{arguments:?}: {error}");
        writeln!(found, "$ btcfeed {}\n{error}", arguments.join(" ")).unwrap();
    }
    assert_reviewed!("errors", found);
}

#[tokio::test]
async fn help_has_exit_codes_and_only_used_settings() {
    for command in COMMANDS {
        let (code, help, _) = run(&[command, "--help"], &[]).await;
        assert!(code == Some(0) && help.contains("\nExit codes: 0 "), "{help}");
        assert_eq!(run(&["help", command], &[]).await.1, help);
        let unused = ["--redis-url", "--key-prefix", "--role", "--window"].map(|flag| !help.contains(flag));
        let expected = match command {
            "serve" | "config" | "check" => [false; 4],
            "demo" | "at" => [true, true, true, false],
            "store" => [false, false, true, true],
            _ => [true; 4],
        };
        assert_eq!(unused, expected, "{help}");
    }
    let (_, all, _) = run(&["--help"], &[]).await;
    assert!(all.contains(" 130 interrupted"), "{all}");
    assert_eq!(run(&["help"], &[]).await, (Some(0), all, String::new()));
    let (code, help, _) = run(&["help", "--help"], &[]).await;
    assert!(code == Some(0) && help.contains("Usage: btcfeed help [COMMAND]"), "{help}");
    let (code, _, error) = run(&["help", "unknown"], &[]).await;
    assert!(
        code == Some(2)
            && error.contains(
                "[possible values: serve, demo, watch, at, load, healthcheck, check, config, key, store, verify, completions]"
            ),
        "{error}"
    );
    let (code, _, error) = run(&["demo", "--redis-url", "redis://localhost"], &[]).await;
    assert!(code == Some(2) && error.contains("--redis-url"), "{error}");
}

#[tokio::test]
async fn busy_port_names_its_flag() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    for command in ["serve", "demo"] {
        for (flag, variable, other) in
            [("--listen", "BTCFEED_LISTEN", "--ops-listen"), ("--ops-listen", "BTCFEED_OPS_LISTEN", "--listen")]
        {
            let (code, out, error) = run(&[command, flag, &address, other, "127.0.0.1:0"], &[]).await;
            // The demo prints a line before it asks the exchanges. So an empty output shows that it binds the ports
            // first.
            assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
            let expected = format!("cannot listen on {address}: ");
            let advice = format!("; choose another with {flag} or {variable}\n");
            assert!(error.contains(&expected) && error.ends_with(&advice), "{error}");
        }
    }
    // If both ports are busy, both are named.
    let (code, _, error) = run(&["serve", "--listen", &address, "--ops-listen", &address], &[]).await;
    let named =
        error.lines().filter(|line| line.starts_with(&format!("btcfeed: cannot listen on {address}: "))).count();
    assert_eq!((code, named), (Some(1), 2), "{error}");
}

#[tokio::test]
async fn completions_are_scripts_for_three_shells() {
    for (shell, expected) in
        [("bash", "complete -F _btcfeed"), ("zsh", "#compdef btcfeed"), ("fish", "complete -c btcfeed")]
    {
        let (code, script, _) = run(&["completions", shell], &[]).await;
        assert_eq!(code, Some(0));
        assert!(script.contains(expected) && script.contains("ops-listen") && script.contains("watch"), "{script}");
    }
    let (code, _, error) = run(&["completions", "csh"], &[]).await;
    assert!(code == Some(2) && error.contains("[possible values: bash, zsh, fish]"), "{error}");
}

#[tokio::test]
async fn host_name_is_resolved_at_the_start() {
    let settings = [("BTCFEED_LOG_FORMAT", "json"), ("BTCFEED_SOURCES", "simulated")];
    let mut command = command(&["--listen", "localhost:0", "--ops-listen", "localhost:0"], &settings);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut line = String::new();
    while !line.contains(r#""message":"listening","#) {
        line = soon("a line", lines.next_line()).await.unwrap().expect("another line");
    }
    assert!(line.contains(r#""address":"127.0.0.1:"#), "{line}");
    let (code, _, error) = run(&["--listen", "nowhere.invalid:80"], &[]).await;
    let expected = r#"btcfeed: invalid --listen "nowhere.invalid:80": cannot resolve the host name: "#;
    assert!(code == Some(2) && error.starts_with(expected), "{error}");
}

#[tokio::test]
async fn flag_overrides_environment_and_default() {
    let (code, out, _) =
        run(&["config", "--interval", "7s"], &[("BTCFEED_INTERVAL", "6s"), ("BTCFEED_RETENTION", "1h")]).await;
    assert_eq!(code, Some(0));
    for line in ["BTCFEED_INTERVAL=7s", "BTCFEED_RETENTION=1h", "BTCFEED_LEASE_TTL=3s"] {
        assert!(out.lines().any(|printed| printed == line), "no {line} in\n{out}");
    }
}

#[tokio::test]
async fn config_prints_the_effective_settings() {
    let (_, out, _) = run(&["config"], &[("BTCFEED_INTERVAL", "5s")]).await;
    // A value that depends on other settings is a comment: an `.env` file must not freeze it.
    for line in ["# BTCFEED_STALE_AFTER=15s", "# BTCFEED_DOWN_AFTER=1m", "BTCFEED_CURRENCIES=USD,EUR"] {
        assert!(out.lines().any(|printed| printed == line), "no {line} in\n{out}");
    }
    let value = |name: &str| out.lines().find_map(|line| line.strip_prefix(&format!("# {name}="))).unwrap();
    assert!(value("BTCFEED_MAX_CONNECTIONS").parse::<u64>().is_ok_and(|max| max > 0), "{out}");
    assert!(value("BTCFEED_REPLICA").contains('-'), "{out}");
    // Values are printed in their normal form.
    let given =
        [("BTCFEED_CURRENCIES", " eur, usd"), ("BTCFEED_SOURCES", "kraken, coinbase"), ("BTCFEED_REPLICA", "r1")];
    let (_, out, _) = run(&["config"], &given).await;
    for line in ["BTCFEED_CURRENCIES=EUR,USD", "BTCFEED_SOURCES=kraken,coinbase", "BTCFEED_REPLICA=r1"] {
        assert!(out.lines().any(|printed| printed == line), "no {line} in\n{out}");
    }
    // A URL with a password is printed as a comment, without the password.
    let (_, secret, _) = run(&["config"], &[("REDIS_URL", "redis://u:secret@localhost")]).await;
    let expected = "# URL of the Redis that all replicas share (the password is not printed)\n# REDIS_URL=redis://u:***@localhost\n";
    assert!(secret.contains(expected), "{secret}");
    // The output is a valid environment.
    let printed: Vec<_> =
        out.lines().filter_map(|line| line.split_once('=').filter(|(name, _)| !name.contains([' ', '#']))).collect();
    assert_eq!(run(&["config"], &printed).await, (Some(0), out.clone(), String::new()));
}

#[tokio::test]
async fn unknown_variable_is_reported() {
    let (code, out, error) = run(&["config"], &[("BTCFEED_INTERVALL", "3s"), ("BTCFEED_INTERVAL", "4s")]).await;
    assert_eq!(
        (code, error.as_str()),
        (Some(0), "btcfeed: unknown variable BTCFEED_INTERVALL: did you mean BTCFEED_INTERVAL?\n")
    );
    assert!(out.contains("\nBTCFEED_INTERVAL=4s\n") && !out.contains("INTERVALL"), "{out}");
}

#[tokio::test]
async fn closed_output_is_not_an_error() {
    let exchange = Exchange::start().await;
    let settings = exchange.settings("r1");
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let address = free_address();
    settings.extend([("BTCFEED_LISTEN", &*address), ("BTCFEED_OPS_LISTEN", "127.0.0.1:0"), ("RUST_LOG", "info")]);
    for (subcommand, ends) in [("config", true), ("demo", false)] {
        let mut command = command(&[subcommand], &settings);
        // The reading end of the pipe is closed.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut printed = Vec::new();
        if !ends {
            let url = format!("http://{address}/v1/prices/latest");
            until("a price", async || http().get(&url).send().await.is_ok_and(|answer| answer.status() == 200)).await;
            signal(&child, rustix::process::Signal::TERM);
        }
        while let Some(line) = soon("a line", lines.next_line()).await.unwrap() {
            printed.push(line);
        }
        assert_eq!(soon("the end", child.wait()).await.unwrap().code(), Some(0), "{subcommand}: {printed:#?}");
        assert_eq!(printed.is_empty(), ends, "{subcommand}: {printed:#?}");
    }
}

#[tokio::test]
async fn every_setting_has_a_flag() {
    let (code, help, _) = run(&["--help"], &[]).await;
    assert_eq!(code, Some(0));
    for setting in btcfeed::config::settings() {
        assert!(
            help.contains(&format!("--{} <VALUE>", setting.flag())) && help.contains(setting.env),
            "{}",
            setting.env
        );
    }
    let (code, _, error) = run(&["--intervall", "5s"], &[]).await;
    assert!(code == Some(2) && error.contains("--intervall") && error.contains("--interval"), "{error}");
}

/// Starts a demo with additional settings. Returns what it prints up to the first price.
async fn demo(exchange: &Exchange, more: &[(&str, &str)]) -> (String, Child) {
    let settings = exchange.settings("r1");
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    settings.extend([
        ("BTCFEED_LISTEN", "127.0.0.1:0"),
        ("BTCFEED_OPS_LISTEN", "127.0.0.1:0"),
        // The first poll decides whether the prices are real. With this interval, the exchanges have 3 s to answer.
        ("BTCFEED_INTERVAL", "5s"),
    ]);
    settings.extend(more);
    let mut child = command(&["demo"], &settings).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed: Vec<String> = Vec::new();
    until("a price", async || {
        printed.push(soon("a line", lines.next_line()).await.unwrap().expect("the demo runs"));
        printed.last().unwrap().starts_with("{\"timedate\"")
    })
    .await;
    (printed.join("\n"), child)
}

#[tokio::test]
async fn demo_shows_real_prices_if_possible() {
    let exchange = Exchange::start().await;
    let (printed, _) = demo(&exchange, &[]).await;
    assert!(
        printed.contains("REAL prices from coinbase, kraken, bitstamp") && !printed.contains("SIMULATED"),
        "{printed}"
    );
    let watch = format!("{} watch 127.0.0.1:", env!("CARGO_BIN_EXE_btcfeed"));
    for paste in ["/v1/prices/latest'", "ws://127.0.0.1:", "since=0", &watch] {
        assert!(printed.contains(paste), "{printed}");
    }
}

#[tokio::test]
async fn demo_without_exchanges_is_simulated() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Status(503, None));
    let (printed, _demo) = demo(&exchange, &[]).await;
    assert!(printed.contains("SIMULATED prices: the exchanges gave no valid price"), "{printed}");
    let (_, address) = printed.split_once("the page         ").unwrap();
    let answer = http().get(format!("{}v1/status", address.lines().next().unwrap())).send().await.unwrap();
    let status: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let names: Vec<_> = status["sources"].as_array().unwrap().iter().map(|source| &source["name"]).collect();
    assert_eq!(names, ["simulated"]);
}

#[tokio::test]
async fn demo_names_the_sources_of_its_prices() {
    let exchange = Exchange::start().await;
    let (printed, _) = demo(&exchange, &[("BTCFEED_SOURCES", "simulated")]).await;
    assert!(printed.contains("demo: SIMULATED prices") && !printed.contains("REAL"), "{printed}");
    exchange.set("kraken", Mode::Status(503, None));
    let (printed, _) = demo(&exchange, &[]).await;
    assert!(printed.contains("REAL prices from coinbase, bitstamp\n"), "{printed}");
}

#[tokio::test]
async fn demo_serves_the_currencies_it_prints() {
    let exchange = Exchange::start().await;
    let (printed, _) = demo(&exchange, &[("BTCFEED_CURRENCIES", "EUR")]).await;
    assert!(printed.contains("latest?currency=EUR'") && !printed.contains("USD"), "{printed}");
}
