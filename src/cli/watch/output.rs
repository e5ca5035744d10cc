//! Where what is shown goes: standard output, and standard error for what is told beside it.
//!
//! Both may be full, because a reader takes nothing (`| less`) or a terminal is halted (Ctrl-S). A write waits then, on a
//! thread of its own, so that a signal need not.

use std::io;
use tokio::io::{AsyncWriteExt, Stderr, Stdout, stderr, stdout};

/// The most that is gathered before it is written.
const GATHERED_BYTES: usize = 64 * 1024;

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// On standard output.
    pub(super) shown: Vec<u8>,
    /// On standard error.
    pub(super) told: String,
}

impl Text {
    pub(super) fn tell(&mut self, words: &str) {
        self.told.push_str("btcfeed: ");
        self.told.push_str(words);
        self.told.push('\n');
    }

    pub(super) fn is_full(&self) -> bool {
        self.shown.len().max(self.told.len()) >= GATHERED_BYTES
    }
}

/// Standard output and error.
pub(super) struct Output {
    out: Stdout,
    error: Stderr,
}

impl Output {
    pub(super) fn open() -> Output {
        Output { out: stdout(), error: stderr() }
    }

    /// Writes all of it. Where the future is dropped, an unknown part of it may have been written, and comes before whatever
    /// is written next.
    pub(super) async fn write(&mut self, text: &Text) -> io::Result<()> {
        let shown = async {
            self.out.write_all(&text.shown).await?;
            self.out.flush().await
        };
        let shown = shown.await;
        if !text.told.is_empty() {
            // Nobody listening there is no reason to stop.
            self.error.write_all(text.told.as_bytes()).await.ok();
            self.error.flush().await.ok();
        }
        shown
    }
}
