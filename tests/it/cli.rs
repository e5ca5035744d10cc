//! The command line, as a person or a script would use it.

use crate::support::exchange::{Exchange, Mode};
use crate::support::ports::free_address;
use crate::support::{http, signal, soon, until};
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

fn command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btcfeed"));
    command.args(arguments).env_clear().envs(settings.iter().copied()).kill_on_drop(true);
    command
}

async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = soon("the program", command(arguments, settings).output()).await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn wrong_settings_stop_the_start_with_a_line_each() {
    let settings = [("BTCFEED_INTERVAL", "often"), ("BTCFEED_SOURCES", "mtgox"), ("REDIS_URL", "http://localhost")];
    // A demo has its feed in memory, wherever Redis may be.
    for (arguments, wrong) in [(&[][..], 3), (&["serve"], 3), (&["config"], 3), (&["demo"], 2)] {
        let (code, _, error) = run(arguments, &settings).await;
        assert_eq!(code, Some(2), "{arguments:?}");
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), wrong, "{error}");
        assert!(
            error.contains(
                "invalid BTCFEED_INTERVAL \"often\": expected a duration such as 5s or 500ms, from 10ms to 1h"
            )
        );
    }
}

#[tokio::test]
async fn a_healthcheck_reads_the_one_setting_that_concerns_it() {
    let port = crate::support::ports::free_port();
    let nobody = format!("127.0.0.1:{port}");
    let settings = [("BTCFEED_INTERVAL", "often"), ("BTCFEED_OPS_LISTEN", nobody.as_str())];
    let (code, _, error) = run(&["healthcheck"], &settings).await;
    assert!(code == Some(1) && error.contains("cannot connect to 127.0.0.1:"), "{code:?} {error}");
    let (code, _, error) = run(&["healthcheck", "--ops-listen", "here"], &settings).await;
    assert!(
        code == Some(2) && error.starts_with("btcfeed: invalid --ops-listen \"here\": expected HOST:PORT such as"),
        "{error}"
    );
}

#[tokio::test]
async fn the_help_of_each_command_tells_its_exit_codes_and_no_setting_that_it_has_no_use_for() {
    for command in ["serve", "demo", "watch", "load", "healthcheck", "config", "completions"] {
        let (code, help, _) = run(&[command, "--help"], &[]).await;
        assert!(code == Some(0) && help.contains("\nExit codes: 0 "), "{help}");
        assert_eq!(run(&["help", command], &[]).await.1, help);
        let unused = ["--redis-url", "--key-prefix", "--role", "--window"].map(|flag| !help.contains(flag));
        let expected = match command {
            "serve" | "config" => [false; 4],
            "demo" => [true, true, true, false],
            _ => [true; 4],
        };
        assert_eq!(unused, expected, "{help}");
    }
    let (_, all, _) = run(&["--help"], &[]).await;
    assert!(all.contains(" 130 interrupted"), "{all}");
    assert_eq!(run(&["help"], &[]).await, (Some(0), all, String::new()));
    let (code, help, _) = run(&["help", "--help"], &[]).await;
    assert!(code == Some(0) && help.contains("Usage: btcfeed help [COMMAND]"), "{help}");
    let (code, _, error) = run(&["help", "nobody"], &[]).await;
    assert!(
        code == Some(2)
            && error.contains("[possible values: serve, demo, watch, load, healthcheck, config, completions]"),
        "{error}"
    );
    let (code, _, error) = run(&["demo", "--redis-url", "redis://localhost"], &[]).await;
    assert!(code == Some(2) && error.contains("--redis-url"), "{error}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = [("BTCFEED_LISTEN", address.as_str()), ("BTCFEED_OPS_LISTEN", "127.0.0.1:0")];
    let (code, _, error) = run(&["serve"], &settings).await;
    assert_eq!(code, Some(1));
    let expected = format!("cannot listen on {address}: ");
    assert!(error.contains(&expected) && error.contains("; choose another with --listen or BTCFEED_LISTEN"), "{error}");
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_and_both_over_the_default() {
    let (code, out, _) =
        run(&["config", "--interval", "7s"], &[("BTCFEED_INTERVAL", "6s"), ("BTCFEED_RETENTION", "1h")]).await;
    assert_eq!(code, Some(0));
    for line in ["BTCFEED_INTERVAL=7s", "BTCFEED_RETENTION=1h", "BTCFEED_LEASE_TTL=3s"] {
        assert!(out.lines().any(|printed| printed == line), "no {line} in\n{out}");
    }
}

#[tokio::test]
async fn settings_that_depend_on_others_or_on_the_machine_are_printed_as_they_come_out() {
    let (_, out, _) = run(&["config"], &[("BTCFEED_INTERVAL", "5s")]).await;
    for line in ["BTCFEED_STALE_AFTER=15s", "BTCFEED_DOWN_AFTER=1m", "BTCFEED_CURRENCIES=USD,EUR"] {
        assert!(out.lines().any(|printed| printed == line), "no {line} in\n{out}");
    }
    let value = |name: &str| out.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap();
    assert!(value("BTCFEED_MAX_CONNECTIONS").parse::<u64>().is_ok_and(|most| most > 0), "{out}");
    assert!(value("BTCFEED_REPLICA").contains('-'), "{out}");
    // As they are used, and not as they are written.
    let given =
        [("BTCFEED_CURRENCIES", " eur, usd"), ("BTCFEED_SOURCES", "kraken, coinbase"), ("BTCFEED_REPLICA", "r1")];
    let (_, out, _) = run(&["config"], &given).await;
    for line in ["BTCFEED_CURRENCIES=EUR,USD", "BTCFEED_SOURCES=kraken,coinbase", "BTCFEED_REPLICA=r1"] {
        assert!(out.lines().any(|printed| printed == line), "no {line} in\n{out}");
    }
    // What is printed can be used as it is.
    let printed: Vec<_> =
        out.lines().filter_map(|line| line.split_once('=').filter(|(name, _)| !name.contains(' '))).collect();
    assert_eq!(run(&["config"], &printed).await, (Some(0), out.clone(), String::new()));
}

#[tokio::test]
async fn a_variable_that_looks_like_a_setting_and_is_none_is_told() {
    let (code, out, error) = run(&["config"], &[("BTCFEED_INTERVALL", "3s"), ("BTCFEED_INTERVAL", "4s")]).await;
    assert_eq!(
        (code, error.as_str()),
        (Some(0), "btcfeed: unknown variable BTCFEED_INTERVALL: did you mean BTCFEED_INTERVAL?\n")
    );
    assert!(out.contains("\nBTCFEED_INTERVAL=4s\n") && !out.contains("INTERVALL"), "{out}");
}

#[tokio::test]
async fn whoever_has_read_enough_of_what_is_printed_may_go() {
    let exchange = Exchange::start().await;
    let settings = exchange.settings("r1");
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let address = free_address();
    settings.extend([("BTCFEED_LISTEN", &*address), ("BTCFEED_OPS_LISTEN", "127.0.0.1:0"), ("RUST_LOG", "info")]);
    for (subcommand, ends) in [("config", true), ("demo", false)] {
        let mut command = command(&[subcommand], &settings);
        // A pipe whose other end is closed already.
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
async fn every_setting_has_a_flag_that_help_tells_and_an_unknown_one_is_refused() {
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

/// Starts a demo and returns what it prints until the first price.
async fn demo(exchange: &Exchange) -> Vec<String> {
    let settings = exchange.settings("r1");
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    settings.extend([
        ("BTCFEED_LISTEN", "127.0.0.1:0"),
        ("BTCFEED_OPS_LISTEN", "127.0.0.1:0"),
        // Long enough for the first answers to be waited for, for they decide whether its prices are real.
        ("BTCFEED_INTERVAL", "5s"),
    ]);
    let mut child = command(&["demo"], &settings).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed: Vec<String> = Vec::new();
    until("a price", async || {
        printed.push(soon("a line", lines.next_line()).await.unwrap().expect("the demo goes on"));
        printed.last().unwrap().starts_with("{\"timedate\"")
    })
    .await;
    printed
}

#[tokio::test]
async fn a_demo_shows_real_prices_where_an_exchange_answers() {
    let exchange = Exchange::start().await;
    let printed = demo(&exchange).await.join("\n");
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
async fn a_demo_without_the_internet_says_loudly_that_its_market_is_made_up() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Status(503, None));
    let printed = demo(&exchange).await.join("\n");
    assert!(printed.contains("SIMULATED prices: no exchange could be reached from here"), "{printed}");
}
