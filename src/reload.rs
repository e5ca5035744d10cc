//! Files that are read again while the process runs: when they change, and on SIGHUP.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Time between two checks of the files.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Version of a file: inode, size, and the time of its last change in seconds and nanoseconds. `None` if there is no
/// file.
type Version = Option<(u64, u64, i64, i64)>;

/// Calls `reload` on SIGHUP and after one of the files has changed, until `stop`. After a change, waits until the files
/// have not changed for a second, because files that belong together, such as a certificate and its key, are replaced
/// one after the other.
pub(crate) async fn watch(files: &[PathBuf], stop: &CancellationToken, mut reload: impl FnMut()) {
    let mut hangups = signal(SignalKind::hangup())
        .inspect_err(|error| warn!(%error, "cannot receive SIGHUP, only changes of files are noticed"))
        .ok();
    let (mut used, mut seen) = (versions(files), versions(files));
    loop {
        let is_hangup = tokio::select! {
            () = stop.cancelled() => return,
            () = hangup(&mut hangups) => true,
            () = sleep(CHECK_EVERY) => false,
        };
        let found = versions(files);
        let is_stable = found == seen;
        seen = found;
        if is_hangup || (is_stable && seen != used) {
            used.clone_from(&seen);
            reload();
        }
    }
}

/// Prevents SIGHUP from ending this process, even if it has no files to read again.
pub fn survive_hangup() {
    // The handler remains until the process ends, even after its receiver is dropped.
    drop(signal(SignalKind::hangup()));
}

async fn hangup(hangups: &mut Option<Signal>) {
    if let Some(hangups) = hangups
        && hangups.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

fn versions(files: &[PathBuf]) -> Vec<Version> {
    files.iter().map(|file| version(file)).collect()
}

fn version(file: &Path) -> Version {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn change_is_noticed_once_the_files_are_stable() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&files[0], "1").unwrap();
        let (stop, reloads) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let counter = reloads.clone();
        let watching = watch(&files, &stop, move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let changing = async {
            // This time is in the middle between two checks.
            sleep(CHECK_EVERY * 7 / 2).await;
            assert_eq!(reloads.load(Ordering::Relaxed), 0, "nothing has changed");
            fs::write(&files[0], "22").unwrap();
            sleep(CHECK_EVERY).await;
            fs::write(&files[1], "1").unwrap();
            sleep(CHECK_EVERY).await;
            assert_eq!(reloads.load(Ordering::Relaxed), 0, "the files are still being changed");
            sleep(CHECK_EVERY * 4).await;
            assert_eq!(reloads.load(Ordering::Relaxed), 1);
            fs::remove_file(&files[1]).unwrap();
            sleep(CHECK_EVERY * 4).await;
            assert_eq!(reloads.load(Ordering::Relaxed), 2);
            stop.cancel();
        };
        timeout(CHECK_EVERY * 60, async { tokio::join!(watching, changing) }).await.unwrap();
    }
}
