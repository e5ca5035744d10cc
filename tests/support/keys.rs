//! Files of API keys.

use super::exchange::Exchange;
use super::program::program;
use super::replica::Replica;
use super::{embedded, soon};
use std::fs;
use std::path::Path;
use tempfile::NamedTempFile;

/// A file of API keys.
pub struct KeysFile {
    file: NamedTempFile,
    lines: Vec<String>,
}

impl KeysFile {
    /// Creates an empty file.
    pub fn new() -> KeysFile {
        KeysFile { file: NamedTempFile::new().unwrap(), lines: Vec::new() }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Makes a key with the program, and adds its line. Returns the key.
    pub async fn add(&mut self, arguments: &[&str]) -> String {
        let new = program().args(["key", "new"]).args(arguments).output();
        let printed = soon("a key", new).await.unwrap();
        assert!(printed.status.success(), "{printed:?}");
        let printed = String::from_utf8(printed.stdout).unwrap();
        let [key, line] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
        assert!(!line.contains(key), "{line}");
        self.lines.push(line.to_owned());
        self.write();
        key.to_owned()
    }

    /// Revokes the key of the line at this index: a comment takes the place of the line.
    pub fn revoke(&mut self, place: usize) {
        self.lines[place] = "# revoked".to_owned();
        self.write();
    }

    pub fn write(&self) {
        fs::write(self.file.path(), self.lines.join("\n") + "\n").unwrap();
    }

    /// Starts a replica that serves only clients with a key of the file.
    pub async fn replica(&self, exchange: &Exchange, settings: &[(&str, &str)]) -> Replica {
        let file = [("BTCFEED_KEYS_FILE", self.file.path().to_str().unwrap())];
        embedded(exchange, &[&file, settings].concat()).await
    }
}
