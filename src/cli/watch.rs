//! `btcfeed watch`: shows a feed as a table for people or as JSON lines for programs. It does not use the settings of a
//! replica.

mod curve;
mod lines;
mod notices;
mod output;
mod paint;
mod row;
mod screen;
mod status_line;

use super::arguments::{self, amount};
use super::exit;
use super::runtime::block_on;
use super::terminal::{is_colourless, is_dumb};
use crate::client::{Builder, Client, Error, Start, Update};
use crate::encode::Format;
use crate::session::REPLAY_LIMIT;
use crate::shutdown;
use crate::tick::TickId;
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures_util::FutureExt;
use lines::Lines;
use output::{OutputText, OutputWriter};
use rustix::process::Signal;
use screen::Screen;
use secrecy::ExposeSecret;
use signal_hook::flag;
use std::io::{self, ErrorKind, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// The time between two refreshes of the status line, which shows the time until the next attempt to connect.
const REFRESH: Duration = Duration::from_millis(500);
/// The time after a signal in which the last output must be written. A slow reader could delay it without end.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);

const ABOUT: &str = "Show a feed as a table, or as JSON lines if the output is not a terminal";

const AFTER_HELP: &str = "\
After a disconnect it reconnects and continues with the next update. With --format, or if the output is not a terminal, it prints \
a line for each tick and currency. In the formats full and audit, it prints one line for each tick, with all currencies, and also the messages \
status, gap and synced. If it prints lines, notices about the connection and the feed go to standard error.

Examples:
  btcfeed watch                                      the feed on this machine
  btcfeed watch https://feed.example.org --since 1h  with the last hour
  btcfeed watch --currency EUR --every 1m            one price a minute, in euros
  btcfeed watch --format full --count 10 | jq .id    ten ticks for a program

Exit codes: 0 stopped by a signal, --count reached, or the output was closed; 1 the server rejected this client or is no \
feed, or the output cannot be written; 2 an argument is invalid.";

/// The arguments.
pub(super) fn command() -> Command {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let max = u32::try_from(*REPLAY_LIMIT.end()).unwrap_or(u32::MAX);
    Command::new("watch").about(ABOUT).after_long_help(AFTER_HELP).args([
        arguments::feed_argument(),
        arguments::currency_flag(),
        amount("since", "MOMENT", "Begin this long ago (10m) or at a moment (2026-11-20T09:20:31Z, Unix time)")
            .value_parser(arguments::moment)
            .conflicts_with("after"),
        amount("after", "ID", "Begin after the update with this id").value_parser(arguments::id),
        arg("format", "FORMAT", "Print JSON lines: timedate, timestamp, full or audit")
            .value_parser(|text: &str| text.parse::<Format>().map_err(|_| "expected timedate, timestamp, full or audit")),
        arguments::transport_flag(),
        arguments::authority_flag(),
        arguments::key_flag(),
        amount("count", "N", "Stop after this number of ticks").value_parser(arguments::count),
        Arg::new("changes").long("changes").action(ArgAction::SetTrue).help("Show only ticks that change a price"),
        amount("every", "TIME", "Show at most one tick in this time (30s)").value_parser(arguments::every),
        amount("limit", "N", "Replay at most this number of the newest ticks")
            .value_parser(arguments::number(1..=max)),
        arg(
            "client-id",
            "NAME",
            "Secret name (a UUID) under which the server remembers the last update. Without --since and --after, the feed continues \
             after that update",
        ),
    ])
}

/// The reason why `watch` ends.
enum WatchEnd {
    /// `watch` was stopped, has shown `--count` ticks, or its output was closed.
    Done,
    Failed(Error),
    Io(io::Error),
}

impl From<io::Error> for WatchEnd {
    fn from(error: io::Error) -> WatchEnd {
        if error.kind() == ErrorKind::BrokenPipe { WatchEnd::Done } else { WatchEnd::Io(error) }
    }
}

impl WatchEnd {
    /// Returns the exit code and the message that explains it. `address` is the feed.
    fn report(&self, address: &str) -> (u8, Option<String>) {
        match self {
            WatchEnd::Done => (0, None),
            WatchEnd::Failed(error) => (exit::client_error_code(error), Some(format!("{address}: {error}"))),
            WatchEnd::Io(error) => (1, Some(error.to_string())),
        }
    }
}

/// The form in which updates are shown.
enum Show {
    Table(Box<Screen>),
    Lines(Lines),
}

/// Shows the feed, and returns the exit code.
pub(super) fn run(flags: &ArgMatches) -> ExitCode {
    match client(flags) {
        Ok(client) => match block_on(follow(&client, flags)) {
            Ok(code) => ExitCode::from(code),
            Err(error) => exit::with_message(1, &format!("{error:#}")),
        },
        Err(error) => exit::with_message(exit::client_error_code(&error), &error.to_string()),
    }
}

fn client(flags: &ArgMatches) -> Result<Client, Error> {
    let address = flags.get_one::<String>("url").map_or("", String::as_str);
    let start = match (flags.get_one("since"), flags.get_one("after")) {
        (Some(moment), _) => Start::Since(*moment),
        (None, Some(id)) => Start::After(TickId::from_ms(*id)),
        (None, None) => Start::Latest,
    };
    let mut client = Client::builder(address).start(start).currencies(arguments::currencies(flags).iter());
    client = client.changes(flags.get_flag("changes")).transport(arguments::transport(flags));
    client = arguments::authorities(flags).map_or(client.clone(), |pem| client.authority(pem));
    client = arguments::key(flags).map_or(client.clone(), |key| client.key(key.expose_secret()));
    client = client.limit(flags.get_one("limit").copied().unwrap_or_default());
    client = client.audit(flags.get_one("format") == Some(&Format::Audit));
    client = flags.get_one::<String>("client-id").map_or(client.clone(), |name| client.client_id(name));
    flags.get_one("every").map_or(client.clone(), |every| Builder::every(client, *every)).build()
}

/// Follows the feed to the end, and returns the exit code.
async fn follow(client: &Client, flags: &ArgMatches) -> anyhow::Result<u8> {
    let stop = shutdown::on_signal()?;
    let (mut show, mut output) = (show(flags), OutputWriter::open());
    let end = show_updates(client, flags, &mut show, &mut output, &stop).await?;
    let address = flags.get_one::<String>("url").map_or("", String::as_str);
    let (mut code, message) = end.report(address);
    // Erases the footer before a message is printed.
    let mut last = show.close();
    message.inspect(|message| last.add_notice(message));
    let timeout = async {
        stop.cancelled().await;
        sleep(FLUSH_TIMEOUT).await;
    };
    let flush = async {
        if let (Err(error), WatchEnd::Done) = (output.write(&last).await, end) {
            let message;
            (code, message) = WatchEnd::from(error).report(address);
            let mut last = OutputText::default();
            message.inspect(|message| last.add_notice(message));
            output.write(&last).await.ok();
        }
    };
    tokio::select! {
        () = flush => {}
        () = timeout => {}
    }
    Ok(code)
}

async fn show_updates(
    client: &Client,
    flags: &ArgMatches,
    show: &mut Show,
    output: &mut OutputWriter,
    stop: &CancellationToken,
) -> anyhow::Result<WatchEnd> {
    let mut resized = signal(SignalKind::window_change())?;
    // True if the process was stopped and continues. The signal handler itself sets this flag, because a signal from
    // tokio could arrive after the next drawing.
    let continued = Arc::new(AtomicBool::new(false));
    flag::register(Signal::CONT.as_raw(), continued.clone())?;
    let mut refresh = interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut updates = client.subscribe();
    let mut left = flags.get_one::<u64>("count").copied();
    loop {
        // All updates that are ready are written together.
        let ready = if show.is_full() || stop.is_cancelled() { None } else { updates.next().now_or_never() };
        let update = if let Some(update) = ready {
            update
        } else {
            if continued.swap(false, Ordering::Relaxed) {
                show.forget_footer();
            }
            let text = show.take();
            tokio::select! {
                // Nothing else writes this text, so the write begins even after a stop. `follow` waits for its end, at
                // most `FLUSH_TIMEOUT`.
                biased;
                written = output.write(&text) => if let Err(error) = written {
                    return Ok(WatchEnd::from(error));
                },
                () = stop.cancelled() => return Ok(WatchEnd::Done),
            }
            // Every arm is cancel-safe.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(WatchEnd::Done),
                update = updates.next() => update,
                _ = resized.recv() => continue,
                _ = refresh.tick(), if matches!(show, Show::Table(_)) => continue,
            }
        };
        let is_shown = match update {
            Some(Ok(update)) => show.update(update),
            Some(Err(error)) => return Ok(WatchEnd::Failed(error)),
            None => return Ok(WatchEnd::Done),
        };
        left = left.map(|left| left - u64::from(is_shown));
        if left == Some(0) {
            return Ok(WatchEnd::Done);
        }
    }
}

fn show(flags: &ArgMatches) -> Show {
    let chosen = arguments::currencies(flags);
    match flags.get_one::<Format>("format") {
        None if io::stdout().is_terminal() => {
            let (can_move_cursor, has_colours) = (!is_dumb(), !is_dumb() && !is_colourless());
            let gets_every_tick = !flags.get_flag("changes") && !flags.contains_id("every");
            Show::Table(Box::new(Screen::open(chosen, has_colours, can_move_cursor, gets_every_tick)))
        }
        format => Show::Lines(Lines::new(format.copied().unwrap_or(Format::Timedate), chosen)),
    }
}

impl Show {
    /// Adds an update. Returns true if it is a tick that is shown.
    fn update(&mut self, update: Update) -> bool {
        match self {
            Show::Table(screen) => screen.update(&update),
            Show::Lines(lines) => lines.update(update),
        }
    }

    /// Returns true if the output should be written before more updates are added.
    fn is_full(&self) -> bool {
        match self {
            Show::Table(screen) => screen.is_full(),
            Show::Lines(lines) => lines.is_full(),
        }
    }

    /// Takes the output that shows the added updates.
    fn take(&mut self) -> OutputText {
        match self {
            Show::Table(screen) => screen.draw(),
            Show::Lines(lines) => lines.take(),
        }
    }

    fn forget_footer(&mut self) {
        if let Show::Table(screen) = self {
            screen.forget_footer();
        }
    }

    /// Takes the last output.
    fn close(&mut self) -> OutputText {
        match self {
            Show::Table(screen) => screen.close(),
            Show::Lines(lines) => lines.take(),
        }
    }
}
