//! The asynchronous runtime, and the limit on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs `work` on a runtime with one thread for each core, or with `TOKIO_WORKER_THREADS` threads.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A name lookup that hangs must not keep the process alive.
    runtime.shutdown_background();
    result
}

/// Raises the limit on open files to the hard limit, because each client is an open file and shells set a low limit.
/// Returns the new limit, or `None` if the number of open files is not limited.
pub(super) fn raise_file_limit() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If the limit cannot be raised, clients above it wait in the accept queue, and the listener logs that it cannot
    // accept them.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    getrlimit(Resource::Nofile).current
}
