//! Shutdown: signals cancel a token, and all tasks are tracked, so that the process can wait for them before it exits.

use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// The exit status of an interrupted program (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// Spawns tasks and waits for them to end. All tasks of the process are spawned here.
#[derive(Clone, Debug, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// Spawns a task, for which [`finish`](Self::finish) waits.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(task));
    }

    /// Runs `work` on a thread of its own, for which [`finish`](Self::finish) waits. The work may block.
    pub fn spawn_thread(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn_blocking(work));
    }

    /// Waits until all tasks have ended, for at most `deadline`. Returns true if they have.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.0.close();
        let finished = timeout(deadline, self.0.wait()).await.is_ok();
        if !finished {
            warn!(tasks = self.0.len(), "tasks did not end in time");
        }
        finished
    }
}

/// Guard for a task without which a replica is useless. If the task ends before the replica stops, as by a panic, the guard
/// stops the replica, so that its supervisor restarts it.
#[derive(Debug)]
pub struct CriticalTask {
    name: &'static str,
    stop: CancellationToken,
}

impl CriticalTask {
    /// A guard for the task `name`. When it is dropped it cancels `stop`, unless that has been cancelled.
    pub fn new(name: &'static str, stop: &CancellationToken) -> CriticalTask {
        CriticalTask { name, stop: stop.clone() }
    }
}

impl Drop for CriticalTask {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            error!(task = self.name, "a critical task ended by itself, stopping");
            self.stop.cancel();
        }
    }
}

/// Returns a token that SIGTERM or SIGINT cancels. A second signal exits the process immediately, with the status that
/// shells use for an interrupted program.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = stop.clone();
    // Not tracked, because the shutdown must not wait for it: it runs until the process exits.
    #[expect(clippy::disallowed_methods, reason = "the shutdown must not wait for this task")]
    drop(tokio::spawn(async move {
        let mut stopping = false;
        loop {
            let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            if stopping {
                warn!(signal = name, "stopping immediately");
                std::process::exit(INTERRUPTED);
            }
            info!(signal = name, "stopping");
            stopping = true;
            cancelled.cancel();
        }
    }));
    Ok(stop)
}
