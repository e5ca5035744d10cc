//! `btcfeed watch`: the feed as a table for people, or as JSON lines for programs. It needs a feed somewhere, and none of the
//! settings that a replica has.

mod curve;
mod lines;
mod news;
mod output;
mod row;
mod screen;
mod state;

use super::arguments::{self, amount};
use crate::client::{Builder, Client, Error, Start, Update};
use crate::config::environment;
use crate::encode::Format;
use crate::session::REPLAY_LIMIT;
use crate::shutdown;
use crate::tick::TickId;
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures_util::FutureExt;
use lines::Lines;
use output::{Output, Text};
use rustix::process::Signal;
use screen::Screen;
use signal_hook::flag;
use std::io::{self, ErrorKind, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How often what stands at the bottom is looked at, for the time to the next try.
const REFRESH: Duration = Duration::from_millis(500);
/// How long the last words may wait for a reader once it has to stop.
const LAST_WORDS: Duration = Duration::from_millis(300);

const ABOUT: &str =
    "Show a feed: a table on a terminal, JSON lines (with --format, or where the output is no terminal) else";

const EXIT_CODES: &str = "\
It goes on through every disconnect, from where it was. Lines are of --format, one a tick and currency (in full also statuses, \
gaps and synced); what happens to the connection is told on standard error.

Exit codes: 0 stopped (Ctrl-C, SIGTERM), --count reached, or nobody reads the output any more; 1 the server does not want this \
client, or answers as no feed does; 2 an argument is wrong, or the server refused one.";

/// The arguments.
pub(super) fn command() -> Command {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let most = u32::try_from(*REPLAY_LIMIT.end()).unwrap_or(u32::MAX);
    Command::new("watch").about(ABOUT).after_help(EXIT_CODES).args([
        Arg::new("url")
            .value_name("URL")
            .default_value(arguments::FEED)
            .help("The feed: http://host:port (https, ws, wss too), or host:port"),
        arguments::currency(),
        amount("since", "MOMENT", "Begin so long ago (10m), or at a moment (2026-11-20T09:20:31Z, Unix time)")
            .value_parser(arguments::moment)
            .conflicts_with("after"),
        amount("after", "ID", "Begin right after the update with this id").value_parser(arguments::id),
        arg("format", "FORMAT", "JSON lines as timedate, timestamp or full, also on a terminal")
            .value_parser(|text: &str| text.parse::<Format>().map_err(|_| "it reads timedate, timestamp or full")),
        arguments::how(),
        amount("count", "N", "Stop after so many ticks").value_parser(arguments::count),
        Arg::new("changes").long("changes").action(ArgAction::SetTrue).help("Only ticks that bring another price"),
        amount("every", "TIME", "One tick in so much time at most (30s)").value_parser(arguments::every),
        amount("limit", "N", "Of what was missed only the newest ticks").value_parser(arguments::number(1..=most)),
        arg("client-id", "NAME", "Go on where the last one of this name ended, if neither --since nor --after is said"),
    ])
}

/// Why it ended.
enum End {
    /// As was asked for, or because nobody reads any more.
    Done,
    Failed(Error),
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        if error.kind() == ErrorKind::BrokenPipe { End::Done } else { End::Io(error) }
    }
}

impl End {
    /// The exit code, and what there is to say about it.
    fn told(&self) -> (u8, Option<String>) {
        match self {
            End::Done => (0, None),
            End::Failed(error) => (arguments::exit_code(error), Some(error.to_string())),
            End::Io(error) => (1, Some(error.to_string())),
        }
    }
}

/// What updates are shown on.
enum Show {
    Table(Box<Screen>),
    Lines(Lines),
}

/// Runs until it is stopped.
pub(super) fn run(flags: &ArgMatches) -> ExitCode {
    let code = match client(flags) {
        Ok(client) => super::block_on(follow(&client, flags)),
        Err(error) => {
            let (code, said) = End::Failed(error).told();
            eprintln!("btcfeed: {}", said.unwrap_or_default());
            Ok(code)
        }
    };
    let code = code.unwrap_or_else(|error| {
        eprintln!("btcfeed: {error:#}");
        1
    });
    ExitCode::from(code)
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
    client = client.limit(flags.get_one("limit").copied().unwrap_or_default());
    client = flags.get_one::<String>("client-id").map_or(client.clone(), |name| client.client_id(name));
    flags.get_one("every").map_or(client.clone(), |every| Builder::every(client, *every)).build()
}

/// Follows the feed to the end; the exit code.
async fn follow(client: &Client, flags: &ArgMatches) -> anyhow::Result<u8> {
    let stop = shutdown::on_signal()?;
    let (mut show, mut output) = (show(flags), Output::open());
    let end = show_updates(client, flags, &mut show, &mut output, &stop).await?;
    let (mut code, said) = end.told();
    // The terminal is as it was before anything is said on it.
    let mut last = show.close();
    said.inspect(|said| last.tell(said));
    let patience = async {
        stop.cancelled().await;
        sleep(LAST_WORDS).await;
    };
    let last_words = async {
        if let (Err(error), End::Done) = (output.write(&last).await, end) {
            let said;
            (code, said) = End::from(error).told();
            let mut last = Text::default();
            said.inspect(|said| last.tell(said));
            output.write(&last).await.ok();
        }
    };
    tokio::select! {
        () = last_words => {}
        () = patience => {}
    }
    Ok(code)
}

async fn show_updates(
    client: &Client,
    flags: &ArgMatches,
    show: &mut Show,
    output: &mut Output,
    stop: &CancellationToken,
) -> anyhow::Result<End> {
    let mut resized = signal(SignalKind::window_change())?;
    // Set by the signal's handler itself, which runs before anything else does: a signal by tokio may come after an update.
    let continued = Arc::new(AtomicBool::new(false));
    flag::register(Signal::CONT.as_raw(), continued.clone())?;
    let mut refresh = interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut updates = client.subscribe();
    let mut left = flags.get_one::<u64>("count").copied();
    loop {
        // Whatever is there already goes out with one write.
        let ready = if show.is_full() || stop.is_cancelled() { None } else { updates.next().now_or_never() };
        let update = if let Some(update) = ready {
            update
        } else {
            if continued.swap(false, Ordering::Relaxed) {
                show.forget_foot();
            }
            let text = show.take();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(End::Done),
                written = output.write(&text) => if let Err(error) = written {
                    return Ok(End::from(error));
                }
            }
            // Every arm is cancel-safe.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(End::Done),
                update = updates.next() => update,
                _ = resized.recv() => continue,
                _ = refresh.tick(), if matches!(show, Show::Table(_)) => continue,
            }
        };
        let is_shown = match update {
            Some(Ok(update)) => show.update(update),
            Some(Err(error)) => return Ok(End::Failed(error)),
            None => return Ok(End::Done),
        };
        left = left.map(|left| left - u64::from(is_shown));
        if left == Some(0) {
            return Ok(End::Done);
        }
    }
}

fn show(flags: &ArgMatches) -> Show {
    let chosen = arguments::currencies(flags);
    match flags.get_one::<Format>("format") {
        None if io::stdout().is_terminal() => {
            let is_set = |name| environment(name).is_some_and(|value| !value.is_empty());
            let dumb = environment("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
            Show::Table(Box::new(Screen::open(chosen, !dumb && !is_set("NO_COLOR"), !dumb)))
        }
        format => Show::Lines(Lines::new(format.copied().unwrap_or(Format::Timedate), chosen)),
    }
}

impl Show {
    /// Takes an update in. Whether it was a tick that is to be seen.
    fn update(&mut self, update: Update) -> bool {
        match self {
            Show::Table(screen) => screen.update(&update),
            Show::Lines(lines) => lines.update(update),
        }
    }

    /// Whether so much waits to be written that no more should be taken in.
    fn is_full(&self) -> bool {
        match self {
            Show::Table(screen) => screen.is_full(),
            Show::Lines(lines) => lines.is_full(),
        }
    }

    /// What shows what was taken in.
    fn take(&mut self) -> Text {
        match self {
            Show::Table(screen) => screen.draw(),
            Show::Lines(lines) => lines.take(),
        }
    }

    fn forget_foot(&mut self) {
        if let Show::Table(screen) = self {
            screen.forget_foot();
        }
    }

    /// The last of it.
    fn close(&mut self) -> Text {
        match self {
            Show::Table(screen) => screen.close(),
            Show::Lines(lines) => lines.take(),
        }
    }
}
