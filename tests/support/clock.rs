//! A clock that a test can shift, for a Redis or a replica.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::NamedTempFile;

/// The library that shifts the clock, compiled once in each process that runs tests.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (library, source) = (folder.join("clock.so"), concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c"));
    let new = folder.join(format!("clock-{}.so", std::process::id()));
    let done = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&new).arg(source).status();
    assert!(done.expect("cc is installed, because Rust needs it").success());
    std::fs::rename(new, &library).unwrap();
    library
});

/// A clock that differs from the true time.
pub struct ShiftedClock(NamedTempFile);

impl ShiftedClock {
    /// A clock that is `ahead_ms` milliseconds ahead.
    pub fn new(ahead_ms: i64) -> ShiftedClock {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&ahead_ms.to_ne_bytes()).unwrap();
        ShiftedClock(file)
    }

    /// Sets the clock to `ahead_ms` milliseconds ahead, also in processes that already run.
    pub fn shift(&self, ahead_ms: i64) {
        self.0.as_file().write_all_at(&ahead_ms.to_ne_bytes(), 0).unwrap();
    }

    /// Returns the environment of a process with this clock.
    pub fn environment(&self) -> [(String, String); 2] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [("LD_PRELOAD".to_owned(), text(&LIBRARY)), ("TEST_CLOCK".to_owned(), text(self.0.path()))]
    }
}
