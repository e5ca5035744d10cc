//! Shutdown: signals cancel a token, and the process waits for its tasks before it exits. Therefore all tasks are
//! tracked. The exceptions are the task that waits for signals, and the blocking calls that use the file of a feed.

mod drain;

pub use drain::{Drain, DrainOptions, GROUPS};

use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// The exit status of a program that SIGINT ended (128 + 2), as shells report it. Also used for SIGTERM.
const INTERRUPTED: i32 = 130;

/// Spawns tasks and waits until they end.
///
/// By default, a task runs on the runtime of the code that spawns it. The tasks of [`isolated`](Self::isolated) have
/// their own threads.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    isolated: Option<Arc<Isolated>>,
}

/// A separate runtime for some tasks. When the last [`Tasks`] is dropped, the runtime ends without waiting for its
/// threads.
#[derive(Debug)]
struct Isolated(Option<Runtime>);

impl Drop for Isolated {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // This does not wait for the threads. A plain drop would wait, and would panic in a task.
            runtime.shutdown_background();
        }
    }
}

impl Tasks {
    /// Creates a runtime with its own threads, which are named `name`. Its tasks cannot delay tasks of other runtimes.
    ///
    /// # Errors
    /// If the kernel cannot create more threads or file descriptors.
    pub fn isolated(name: &str) -> std::io::Result<Tasks> {
        let runtime = Builder::new_multi_thread().thread_name(name).enable_all().build()?;
        Ok(Tasks { tracker: TaskTracker::new(), isolated: Some(Arc::new(Isolated(Some(runtime)))) })
    }

    /// Spawns a task. [`finish`](Self::finish) waits for it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self.handle() {
            Some(handle) => drop(self.tracker.spawn_on(task, handle)),
            None => drop(self.tracker.spawn(task)),
        }
    }

    /// Runs `work`, which may block, on its own thread. [`finish`](Self::finish) waits for it.
    pub fn spawn_thread(&self, work: impl FnOnce() + Send + 'static) {
        match self.handle() {
            Some(handle) => drop(self.tracker.spawn_blocking_on(work, handle)),
            None => drop(self.tracker.spawn_blocking(work)),
        }
    }

    /// Returns a guard. Sockets that the caller creates until the guard is dropped belong to the runtime of these
    /// tasks. Otherwise the caller's runtime would have to wake these tasks for each event of such a socket.
    #[must_use]
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.handle().map(Handle::enter)
    }

    fn handle(&self) -> Option<&Handle> {
        self.isolated.as_ref()?.0.as_ref().map(Runtime::handle)
    }

    /// Waits until all tasks have ended, for at most `limit`. Returns true if they have.
    pub async fn finish(&self, limit: Duration) -> bool {
        self.tracker.close();
        let finished = timeout(limit, self.tracker.wait()).await.is_ok();
        if !finished {
            warn!(tasks = self.tracker.len(), "tasks did not end in time");
        }
        finished
    }
}

/// Guard for a task without which a replica is useless. If the task ends before the replica is stopped, for example by
/// a panic, the guard stops the replica, so that its supervisor restarts it.
#[derive(Debug)]
pub struct CriticalTask {
    name: &'static str,
    stop: CancellationToken,
}

impl CriticalTask {
    /// Creates a guard for the task `name`. The guard cancels `stop` when it is dropped.
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

/// Returns a token that SIGTERM or SIGINT cancels. A second signal exits the process immediately, with status 130.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    // This task is not tracked, because the shutdown must not wait for it: it runs until the process exits.
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
            token.cancel();
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
        let started = Instant::now();
        for _ in 0..20 {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        stop.store(true, Ordering::Relaxed);
        assert!(tasks.finish(Duration::from_secs(10)).await);
    }
}
