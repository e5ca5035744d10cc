//! How the process ends: signals become a token, and every task is tracked so that the end can wait for it.

use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

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
