//! Standard output for the feed, and standard error for notices.
//!
//! A write to either may block, because a reader is slow (`| less`) or a terminal is stopped (Ctrl-S). It blocks a
//! thread of its own, so that signals are handled in the meantime.

use std::io;
use tokio::io::{AsyncWriteExt, Stderr, Stdout, stderr, stdout};

/// A text that has reached this size should be written before more is added to it.
const FULL_BYTES: usize = 64 * 1024;

/// A text that is to be written.
#[derive(Debug, Default)]
pub(super) struct OutputText {
    /// For standard output.
    pub(super) feed: Vec<u8>,
    /// For standard error.
    pub(super) notices: String,
}

impl OutputText {
    pub(super) fn add_notice(&mut self, notice: &str) {
        self.notices.push_str("btcfeed: ");
        self.notices.push_str(notice);
        self.notices.push('\n');
    }

    pub(super) fn is_full(&self) -> bool {
        self.feed.len().max(self.notices.len()) >= FULL_BYTES
    }
}

/// Standard output and error.
pub(super) struct OutputWriter {
    out: Stdout,
    error: Stderr,
}

impl OutputWriter {
    pub(super) fn open() -> OutputWriter {
        OutputWriter { out: stdout(), error: stderr() }
    }

    /// Writes the whole text. If the future is dropped, a part of it may have been written.
    pub(super) async fn write(&mut self, text: &OutputText) -> io::Result<()> {
        let feed = async {
            self.out.write_all(&text.feed).await?;
            self.out.flush().await
        };
        let result = feed.await;
        if !text.notices.is_empty() {
            // A closed standard error is no reason to stop.
            self.error.write_all(text.notices.as_bytes()).await.ok();
            self.error.flush().await.ok();
        }
        result
    }
}
