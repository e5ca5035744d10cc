//! Access with API keys. A file contains their hashes. It is read again when it changes. A stream ends when its key is
//! no longer valid.
//!
//! A key has 256 random bits, so a fast hash is enough to protect it: nobody can try all keys (ADR 50).

mod key;
mod permission;

pub use key::{KeyLine, KeyName, generate, parse_expires, parse_streams};
pub(crate) use permission::{Ended, KeyedStream, Permission};

use crate::reload;
use key::{Digest, digest};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Time between two searches for expired keys.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// Maximum length of a text that is looked up as a key.
const MAX_KEY_BYTES: usize = 256;

/// Reason why a client has no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The file does not contain the key's hash.
    Unknown,
    /// The key has expired.
    Expired,
}

/// The keys of the file, also those that have expired.
#[derive(Debug)]
pub(crate) struct Keys {
    file: PathBuf,
    /// A std lock, held only to look up a key, to replace all keys or to find the expired ones.
    permissions: RwLock<HashMap<Digest, Arc<Permission>>>,
}

/// Reads a file of keys.
///
/// # Errors
/// The reason why the file is invalid. It quotes neither the name nor the hash of a line, because either may be a key
/// that was pasted there by mistake.
pub fn read_keys(file: &Path) -> Result<Vec<KeyLine>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read the file: {error}"))?;
    let mut lines: Vec<KeyLine> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line: KeyLine = line.parse().map_err(|error| format!("line {}: {error}", place + 1))?;
        if lines.iter().any(|other| other.digest == line.digest) {
            return Err(format!("line {}: this key is in the file twice", place + 1));
        }
        lines.push(line);
    }
    Ok(lines)
}

impl Keys {
    /// Reads the file.
    ///
    /// # Errors
    /// Like [`read_keys`].
    pub(crate) fn open(file: PathBuf) -> Result<Keys, String> {
        let keys = Keys { file, permissions: RwLock::default() };
        keys.replace(read_keys(&keys.file)?);
        Ok(keys)
    }

    /// Returns the permission of a key.
    ///
    /// # Errors
    /// If the key is not valid.
    pub(crate) fn permission(&self, key: &[u8]) -> Result<Arc<Permission>, Denied> {
        if key.len() > MAX_KEY_BYTES {
            return Err(Denied::Unknown);
        }
        // The lookup compares hashes. Its duration may reveal a part of a hash, but nobody can compute a key from it.
        let permissions = self.permissions.read().unwrap_or_else(PoisonError::into_inner);
        let permission = permissions.get(&digest(key)).cloned().ok_or(Denied::Unknown)?;
        if permission.is_expired(SystemTime::now()) { Err(Denied::Expired) } else { Ok(permission) }
    }

    /// Reads the file again when it changes and on SIGHUP, and ends the permissions of keys that are no longer valid,
    /// until `stop`. Calls `on_ended` after permissions have ended. If the new file cannot be used, the old keys stay
    /// valid.
    pub(crate) async fn watch(&self, stop: &CancellationToken, on_ended: impl Fn()) {
        let reload = || match read_keys(&self.file) {
            Ok(lines) => {
                info!(file = %self.file.display(), keys = lines.len(), "keys replaced");
                if self.replace(lines) {
                    on_ended();
                }
            }
            Err(error) => {
                warn!(file = %self.file.display(), error, "cannot use the new keys, the old ones stay");
            }
        };
        let expiring = async {
            loop {
                sleep(EXPIRE_EVERY).await;
                if self.end_expired(SystemTime::now()) {
                    on_ended();
                }
            }
        };
        let files = [self.file.clone()];
        tokio::select! { () = reload::watch(&files, stop, reload) => {}, () = expiring => {} }
    }

    /// Replaces all keys. Returns true if this ended the permission of a key.
    fn replace(&self, lines: Vec<KeyLine>) -> bool {
        let mut permissions = self.permissions.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut *permissions);
        for line in lines {
            // A key that stays keeps its permission, which counts its streams. A permission that has ended stays ended,
            // so an expired key with a new expiry gets a new permission.
            let known = old.remove(&line.digest).filter(|known| known.ended().is_none());
            let digest = line.digest;
            let permission = known.unwrap_or_else(|| Arc::new(Permission::new(line.clone())));
            permission.update(line);
            permissions.insert(digest, permission);
        }
        old.values().filter(|gone| gone.end(Ended::Revoked)).count() > 0
    }

    fn end_expired(&self, now: SystemTime) -> bool {
        let permissions = self.permissions.read().unwrap_or_else(PoisonError::into_inner);
        permissions.values().filter(|permission| permission.is_expired(now) && permission.end(Ended::Expired)).count()
            > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::NamedTempFile;

    fn line(name: &str, options: &str) -> (String, String) {
        let (key, line) = generate(&name.parse().unwrap()).unwrap();
        (key, format!("{line} {options}\n"))
    }

    fn write(file: &NamedTempFile, lines: &[&str]) {
        fs::write(file.path(), lines.concat()).unwrap();
    }

    #[test]
    fn revoked_key_ends_and_others_stay() {
        let file = NamedTempFile::new().unwrap();
        let ((alice, alice_line), (bob, bob_line)) = (line("alice", ""), line("bob", "streams=1"));
        write(&file, &["# keys\n\n", &alice_line, &bob_line]);
        let keys = Keys::open(file.path().to_owned()).unwrap();
        let (alice_permission, bob_permission) =
            (keys.permission(alice.as_bytes()).unwrap(), keys.permission(bob.as_bytes()).unwrap());
        let stream = bob_permission.open_stream().unwrap();
        assert!(bob_permission.open_stream().is_none(), "the limit is one stream");
        write(&file, &[&bob_line]);
        assert!(keys.replace(read_keys(file.path()).unwrap()), "a key has ended");
        assert_eq!((alice_permission.ended(), bob_permission.ended()), (Some(Ended::Revoked), None));
        assert_eq!(keys.permission(alice.as_bytes()).err(), Some(Denied::Unknown));
        let bob_permission = keys.permission(bob.as_bytes()).unwrap();
        assert!(bob_permission.open_stream().is_none(), "the stream still counts");
        drop(stream);
        assert!(bob_permission.open_stream().is_some());
        assert!(!keys.replace(read_keys(file.path()).unwrap()), "nothing has changed");
        write(&file, &[&bob_line.replacen("bob", "robert", 1)]);
        assert!(!keys.replace(read_keys(file.path()).unwrap()), "the key has only another name");
        assert_eq!(bob_permission.name(), "robert".parse().unwrap());
    }

    #[test]
    fn expired_key_ends() {
        let file = NamedTempFile::new().unwrap();
        let ((old, old_line), (new, new_line)) =
            (line("a", "expires=2026-01-01T00:00:00Z"), line("a", "expires=9999-01-01T00:00:00Z"));
        write(&file, &[&old_line, &new_line]);
        let keys = Keys::open(file.path().to_owned()).unwrap();
        assert_eq!(keys.permission(old.as_bytes()).err(), Some(Denied::Expired));
        let permission = keys.permission(new.as_bytes()).unwrap();
        assert!(keys.end_expired(SystemTime::now()), "the old key ends");
        assert!(!keys.end_expired(SystemTime::now()), "it has ended already");
        assert!(keys.end_expired(SystemTime::now() + Duration::from_secs(8000 * 366 * 24 * 3600)));
        assert_eq!(permission.ended(), Some(Ended::Expired));
    }

    #[test]
    fn errors_name_a_line_without_quoting_it() {
        let file = NamedTempFile::new().unwrap();
        let (key, good) = line("alice", "");
        write(&file, &[&good, &key]);
        let error = read_keys(file.path()).unwrap_err();
        assert!(error.starts_with("line 2: expected NAME HASH") && !error.contains(&key), "{error}");
        write(&file, &[&good, "# again\n", &good]);
        assert_eq!(read_keys(file.path()).unwrap_err(), "line 3: this key is in the file twice");
    }
}
