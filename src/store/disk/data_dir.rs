//! The directory of a feed on disk, locked for one process.

use anyhow::Context;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that holds the lock of a directory, and the process id of its owner.
const LOCK: &str = "lock";

/// A directory that no other process of btcfeed can use until this value is dropped or this process ends.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    /// The kernel releases the lock when this file is closed.
    _lock: File,
}

/// The directory is in use.
#[derive(Debug, thiserror::Error)]
#[error("the data directory {} is in use by {owner}: stop it, or choose another BTCFEED_DATA", .path.display())]
pub struct InUse {
    /// The directory.
    pub path: PathBuf,
    /// The other process, such as `process 1234`.
    pub owner: String,
}

/// The reason why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DirError {
    /// Another process uses it.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// It cannot be created, read or written.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl DataDir {
    /// Creates the directory if it does not exist, and locks it. Only the user of this process can read a new
    /// directory, because it contains the secret `client_id`s.
    pub(super) fn open(path: &Path) -> Result<DataDir, DirError> {
        let mut directories = DirBuilder::new();
        let created = directories.recursive(true).mode(0o700).create(path);
        created.with_context(|| format!("cannot create the directory {}", path.display()))?;
        let name = path.join(LOCK);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
        let mut file = file.with_context(|| format!("cannot open {}", name.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = file.read_to_string(&mut pid);
                let known = read.is_ok() && pid.trim().parse::<u32>().is_ok();
                let owner = if known { format!("process {}", pid.trim()) } else { "another process".to_owned() };
                return Err(InUse { path: path.to_owned(), owner }.into());
            }
            Err(TryLockError::Error(error)) => {
                return Err(anyhow::Error::new(error).context(format!("cannot lock {}", name.display())).into());
            }
        }
        // The process id helps people only, so a failure to write it does not matter.
        let noted = file.set_len(0).and_then(|()| file.rewind());
        noted.and_then(|()| writeln!(file, "{}", std::process::id())).ok();
        Ok(DataDir { path: path.to_owned(), _lock: file })
    }

    /// Returns the path of a file in the directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Syncs the directory, so that a new file is still in it if the machine loses power.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_owner_is_told_the_first_ones_id() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        let DirError::InUse(refused) = DataDir::open(&path).unwrap_err() else { panic!("it is in use") };
        assert_eq!((refused.path.as_path(), refused.owner), (&*path, format!("process {}", std::process::id())));
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn path_that_is_a_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(file.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("cannot create the directory {}: ", file.path().display())), "{error}");
    }
}
