//! The progress, on standard error: a bar on a terminal, occasional lines otherwise.

use crate::cli::terminal::is_dumb;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::Instant;

/// The time between two lines if there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows the progress.
pub(super) enum ProgressDisplay {
    Bar(ProgressBar),
    Lines { phase: &'static str, next: Instant },
}

impl ProgressDisplay {
    pub(super) fn open() -> ProgressDisplay {
        if is_dumb() || !io::stderr().is_terminal() {
            return ProgressDisplay::Lines { phase: "", next: Instant::now() + LINE_EVERY };
        }
        let style = ProgressStyle::with_template(" {prefix} {bar:24} {wide_msg}").expect("the template is valid");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        ProgressDisplay::Bar(bar.with_style(style.progress_chars("━━─")))
    }

    /// Begins a phase that ends at position `length`.
    pub(super) fn begin(&mut self, name: &'static str, length: u64) {
        match self {
            ProgressDisplay::Bar(bar) => {
                bar.set_prefix(name);
                bar.set_length(length);
                bar.set_message("");
                bar.set_position(0);
            }
            ProgressDisplay::Lines { phase, .. } => *phase = name,
        }
    }

    /// Shows the position and a message.
    pub(super) fn show(&mut self, position: u64, message: String) {
        match self {
            ProgressDisplay::Bar(bar) => {
                bar.set_message(message);
                bar.set_position(position);
            }
            ProgressDisplay::Lines { phase, next } if *next <= Instant::now() => {
                eprintln!("btcfeed: {phase}: {message}");
                *next = Instant::now() + LINE_EVERY;
            }
            ProgressDisplay::Lines { .. } => {}
        }
    }

    /// Prints a line that stays.
    pub(super) fn print(&self, line: &str) {
        let print = || eprintln!("btcfeed: {line}");
        match self {
            ProgressDisplay::Bar(bar) => bar.suspend(print),
            ProgressDisplay::Lines { .. } => print(),
        }
    }

    /// Erases the bar.
    pub(super) fn close(self) {
        if let ProgressDisplay::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
