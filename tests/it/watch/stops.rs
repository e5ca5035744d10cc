//! Stops of `btcfeed watch`: it stops immediately even if its output is not read, and restores the terminal.

use super::{Watch, command, ended, lines, with_history};
use crate::support::exchange::Exchange;
use crate::support::foreign_server::{Answer, Server, tick};
use crate::support::terminal::Terminal;
use crate::support::{INTERVAL, signal, until};
use rustix::io::ioctl_fionread;
use rustix::process::Signal;
use std::process::Stdio;

/// Starts a server with more ticks than a pipe holds.
async fn endless() -> Server {
    let messages = (1..4000).map(|id| tick(id * 10, id * 10 - 10)).collect();
    Server::start(vec![Answer::WebSocket(messages, None)]).await
}

#[tokio::test]
async fn watch_stops_while_its_output_is_blocked() {
    let server = endless().await;
    for sent in [Signal::TERM, Signal::INT] {
        let Watch { child, lines } = Watch::start(&[&server.address.to_string(), "--format", "full"]);
        let pipe = lines.into_inner().into_inner();
        until("a full pipe", async || ioctl_fionread(&pipe).unwrap() > 60_000).await;
        signal(&child, sent);
        let (status, error) = ended(child).await;
        assert_eq!(status.code(), Some(0), "{sent:?}: {error}");
    }
}

#[tokio::test]
async fn watch_stops_while_its_errors_are_blocked() {
    let gap = |id: u64| format!(r#"{{"type":"gap","after":0,"before":{id},"reason":"{}"}}"#, "long ".repeat(99));
    let messages = (1..4000).flat_map(|id| [gap(id), tick(id, id - 1)]).collect();
    let server = Server::start(vec![Answer::WebSocket(messages, None)]).await;
    let mut command = command(&[&server.address.to_string()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let pipe = child.stderr.take().unwrap();
    until("a full pipe", async || ioctl_fionread(&pipe).unwrap() > 60_000).await;
    signal(&child, Signal::TERM);
    assert_eq!(crate::support::soon("the end", child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn slow_reader_gets_every_line() {
    let server = endless().await;
    let arguments = ["--format", "full", "--count", "2000"];
    let mut watch = Watch::start(&[&[server.address.to_string().as_str()], &arguments[..]].concat());
    let pipe = watch.lines.get_mut().get_ref();
    until("a full pipe", async || ioctl_fionread(pipe).unwrap() > 60_000).await;
    let (code, lines, error) = watch.end().await;
    assert_eq!((code, lines.len()), (Some(0), 2000), "{error}");
    assert!(lines[1999].contains(r#""id":20000,"#), "{}", lines[1999]);
}

#[tokio::test]
async fn write_error_is_reported() {
    let server = endless().await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(&[&server.address.to_string(), "--count", "5"]);
    let child = command.stdout(full).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let (status, error) = ended(child).await;
    assert!(status.code() == Some(1) && error.contains("btcfeed: No space left on device"), "{status}: {error}");
}

#[tokio::test]
async fn count_includes_only_ticks_with_a_line() {
    let without =
        |id: u64| format!(r#"{{"type":"tick","id":{id},"prev":{},"prices":{{"EUR":2}},"sources":{{}}}}"#, id - 10);
    let messages = [tick(20, 10), without(30), without(40), tick(50, 40), tick(60, 50)];
    let server = Server::start(vec![Answer::messages(&messages.each_ref().map(String::as_str), None)]).await;
    let address = server.address.to_string();
    let watch = Watch::start(&[&address, "--count", "2", "--currency", "USD"]);
    let (code, lines, _) = watch.end().await;
    assert_eq!(code, Some(0));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("00.050Z"), "{lines:?}");
    // In full format every tick has a line.
    let watch = Watch::start(&[&address, "--count", "3", "--currency", "USD", "--format", "full"]);
    assert!(watch.end().await.1.last().unwrap().contains(r#""id":40,"#));
}

#[tokio::test]
async fn watch_stops_on_a_halted_terminal() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let mut terminal = Terminal::run(command(&[&replica.address]), 80);
    terminal.shows("the feed", |screen| screen.contains("● live")).await;
    // Ctrl-S halts the output of the terminal.
    terminal.press(b"\x13");
    let entries = replica.history().await.len();
    until("more ticks", async || replica.history().await.len() > entries + 5).await;
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.exit().await.code(), Some(0));
}

#[tokio::test]
async fn terminal_is_restored_between_drawings() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let mut terminal = Terminal::run(command(&[&replica.address]), 80);
    terminal.shows("the feed", |screen| screen.contains("● live")).await;
    until("a visible cursor", async || terminal.shows_cursor()).await;
    terminal.signal(Signal::STOP);
    until("the end of the drawing", async || {
        let before = terminal.written().len();
        tokio::time::sleep(INTERVAL * 2).await;
        terminal.written().len() == before
    })
    .await;
    // A shell writes this while the program is stopped.
    terminal.write_as_another("\r\n[1]+  Stopped\r\n$ fg\r\nbtcfeed watch\r\n");
    let before = terminal.written().len();
    terminal.signal(Signal::CONT);
    until("more drawings", async || terminal.written().len() > before + 1000).await;
    let screen = terminal.shows("a new footer", |screen| lines(screen).last().unwrap().starts_with(" ● live")).await;
    assert!(screen.contains("[1]+  Stopped\n$ fg\nbtcfeed watch\n"), "{screen}");
    terminal.signal(Signal::KILL);
    terminal.exit().await;
    until("a visible cursor", async || terminal.shows_cursor()).await;
    let written = terminal.written();
    assert_eq!(written.matches("\x1b[?2026h").count(), written.matches("\x1b[?2026l").count());
    assert_eq!(written.matches("\x1b[?25l").count(), written.matches("\x1b[?25h").count());
}
