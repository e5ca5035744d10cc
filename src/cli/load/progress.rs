//! How it goes, on standard error: a bar that is redrawn in place on a terminal, a line now and then elsewhere.

use crate::config::environment;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::Instant;

/// How often there is a line where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how it goes.
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines { phase: &'static str, next: Instant },
}

impl Progress {
    pub(super) fn open() -> Progress {
        let dumb = environment("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if dumb || !io::stderr().is_terminal() {
            return Progress::Lines { phase: "", next: Instant::now() + LINE_EVERY };
        }
        let style = ProgressStyle::with_template(" {prefix} {bar:24} {wide_msg}").expect("the template is in order");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Progress::Bar(bar.with_style(style.progress_chars("━━─")))
    }

    /// What is done from now on, and when it is done.
    pub(super) fn begin(&mut self, what: &'static str, length: u64) {
        match self {
            Progress::Bar(bar) => {
                bar.set_prefix(what);
                bar.set_length(length);
                bar.set_message("");
                bar.set_position(0);
            }
            Progress::Lines { phase, .. } => *phase = what,
        }
    }

    /// How far it is.
    pub(super) fn show(&mut self, position: u64, words: String) {
        match self {
            Progress::Bar(bar) => {
                bar.set_message(words);
                bar.set_position(position);
            }
            Progress::Lines { phase, next } if *next <= Instant::now() => {
                eprintln!("btcfeed: {phase}: {words}");
                *next = Instant::now() + LINE_EVERY;
            }
            Progress::Lines { .. } => {}
        }
    }

    /// What stays to be read.
    pub(super) fn tell(&self, words: &str) {
        let tell = || eprintln!("btcfeed: {words}");
        match self {
            Progress::Bar(bar) => bar.suspend(tell),
            Progress::Lines { .. } => tell(),
        }
    }

    /// The last of it.
    pub(super) fn close(self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
