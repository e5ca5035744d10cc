//! Shutdown: signals cancel a token, and all tasks are tracked, so that the process can wait for them before it exits.

use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// The exit status of an interrupted program (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// Spawns tasks and waits for them to end. All tasks of the process are spawned here.
///
/// By default tasks run on the runtime that spawns them. Those of [`isolated`](Self::isolated) have threads of their own.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    isolated: Option<Arc<Isolated>>,
}

/// A runtime that other tasks do not share. It ends with the last of its handles, without waiting.
#[derive(Debug)]
struct Isolated(Option<Runtime>);

impl Drop for Isolated {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A runtime that waits for its threads must not be dropped by a task.
            runtime.shutdown_background();
        }
    }
}

impl Tasks {
    /// Creates a runtime with its own threads, which are named `name`. Its tasks cannot delay tasks of other runtimes.
    ///
    /// # Errors
    /// If the kernel has no more threads or descriptors.
    pub fn isolated(name: &str) -> std::io::Result<Tasks> {
        let runtime = Builder::new_multi_thread().thread_name(name).enable_all().build()?;
        Ok(Tasks { tracker: TaskTracker::new(), isolated: Some(Arc::new(Isolated(Some(runtime)))) })
    }

    /// Spawns a task, for which [`finish`](Self::finish) waits.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self.handle() {
            Some(handle) => drop(self.tracker.spawn_on(task, handle)),
            None => drop(self.tracker.spawn(task)),
        }
    }

    /// Runs `work` on a thread of its own, for which [`finish`](Self::finish) waits. The work may block.
    pub fn spawn_thread(&self, work: impl FnOnce() + Send + 'static) {
        match self.handle() {
            Some(handle) => drop(self.tracker.spawn_blocking_on(work, handle)),
            None => drop(self.tracker.spawn_blocking(work)),
        }
    }

    /// Makes the runtime of these tasks watch the sockets that the caller creates, until the guard is dropped. Otherwise the
    /// caller's runtime would have to wake these tasks for each event of such a socket.
    #[must_use]
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.handle().map(Handle::enter)
    }

    fn handle(&self) -> Option<&Handle> {
        self.isolated.as_ref()?.0.as_ref().map(Runtime::handle)
    }

    /// Waits until all tasks have ended, for at most `deadline`. Returns true if they have.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.tracker.close();
        let finished = timeout(deadline, self.tracker.wait()).await.is_ok();
        if !finished {
            warn!(tasks = self.tracker.len(), "tasks did not end in time");
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::time::{Instant, sleep};

    #[tokio::test]
    async fn isolated_tasks_do_not_delay_others() {
        let (tasks, stop) = (Tasks::isolated("test").unwrap(), Arc::new(AtomicBool::new(false)));
        for _ in 0..8 {
            let stop = stop.clone();
            // This task never yields, like a handler that has too much work.
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let begun = Instant::now();
        for _ in 0..20 {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        stop.store(true, Ordering::Relaxed);
        assert!(tasks.finish(Duration::from_secs(10)).await);
    }
}
