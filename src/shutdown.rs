//! How the process ends: signals become a token, and every task is tracked so that the end can wait for it.

use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// The exit code of a program that was interrupted (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// Spawns tasks and waits for them. The only place that spawns.
#[derive(Clone, Debug, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// Spawns a task that the end waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(task));
    }

    /// Runs `work` on a thread of its own, which the end waits for. It may wait for the kernel as long as it likes.
    pub fn spawn_thread(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn_blocking(work));
    }

    /// Waits for every task to end, for `deadline` at most. Whether all did.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.0.close();
        let finished = timeout(deadline, self.0.wait()).await.is_ok();
        if !finished {
            warn!(tasks = self.0.len(), "tasks did not end in time");
        }
        finished
    }
}

/// Something without which a replica is of no use. Should it end before the replica does, by a panic, the replica stops,
/// so that whoever runs it starts it anew.
#[derive(Debug)]
pub struct Vital {
    name: &'static str,
    stop: CancellationToken,
}

impl Vital {
    /// To be dropped when what is called `name` ends; it cancels `stop` if nobody has.
    pub fn new(name: &'static str, stop: &CancellationToken) -> Vital {
        Vital { name, stop: stop.clone() }
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            error!(part = self.name, "a vital part ended by itself, stopping");
            self.stop.cancel();
        }
    }
}

/// A token that is cancelled by SIGTERM or SIGINT. A second signal ends the process at once, with the status that shells
/// give an interrupted program.
///
/// # Errors
/// If signals cannot be listened to.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = stop.clone();
    // Not tracked, since the end must not wait for it: it goes with the process.
    #[expect(clippy::disallowed_methods, reason = "nobody waits for this task")]
    drop(tokio::spawn(async move {
        let mut stopping = false;
        loop {
            let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            if stopping {
                warn!(signal = name, "stopping at once");
                std::process::exit(INTERRUPTED);
            }
            info!(signal = name, "stopping");
            stopping = true;
            cancelled.cancel();
        }
    }));
    Ok(stop)
}
