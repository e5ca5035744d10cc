//! What the kernel tells and lets us do: processor time, memory, limits, cores.

use anyhow::Context;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::fs::{read_dir, read_to_string};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// Does nothing for a while.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
pub(crate) fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// Raises the limit on open files as far as it goes: how many clients that is enough for.
pub(crate) fn most_clients(spare: u64) -> anyhow::Result<usize> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("cannot raise the limit on open files")?;
    let files = maximum.unwrap_or(1 << 20);
    Ok(usize::try_from(files.saturating_sub(spare).max(1))?)
}

/// The processor time that a process has used, user and kernel.
pub(crate) fn processor_time(pid: Pid) -> anyhow::Result<Duration> {
    // Nanoseconds on a processor, thread by thread: finer than the ticks of `stat`.
    let mut total = Duration::ZERO;
    for thread in read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = read_to_string(thread?.path().join("schedstat")).context("no scheduler statistics")?;
        let running = schedstat.split_whitespace().next().context("an empty schedstat")?;
        total += Duration::from_nanos(running.parse()?);
    }
    Ok(total)
}

/// The memory that a process has for itself, and its share of what it has with others, in KiB. The kernel's own memory
/// for its sockets is not in it.
pub(crate) fn memory_kib(pid: Pid) -> anyhow::Result<u32> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    share.trim().trim_end_matches(" kB").parse().context("a Pss that is no number")
}

/// This moment by the clock that all processes of a machine share and nobody sets, in nanoseconds.
pub(crate) fn monotonic_ns(moment: Instant) -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default());
    nanoseconds(now.saturating_sub(moment.elapsed()))
}

/// This moment by the clock on the wall, in nanoseconds since 1970.
pub(crate) fn unix_ns(moment: Instant) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    nanoseconds(now.saturating_sub(moment.elapsed()))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

static CORES: OnceLock<Option<(usize, usize)>> = OnceLock::new();

/// Has all processes share all cores.
pub(crate) fn share_cores() {
    CORES.get_or_init(|| None);
}

/// The cores for the server and for the clients: two of those that we may use; `None` where all are shared.
fn cores() -> Option<(usize, usize)> {
    *CORES.get_or_init(|| {
        let allowed = sched_getaffinity(None).ok()?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Some((allowed.next()?, allowed.next()?))
    })
}

/// Keeps this thread, and what it starts, on one core. If that is refused, everything shares all cores.
fn stay_on(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).ok();
}

/// Keeps this thread on the clients' core.
pub(crate) fn stay_on_load_core() {
    if let Some((_, load)) = cores() {
        stay_on(load);
    }
}

/// Runs `start` such that the process which it starts is on the server's core.
pub(crate) fn on_server_core<T>(start: impl FnOnce() -> T) -> T {
    if let Some((server, _)) = cores() {
        stay_on(server);
    }
    let started = start();
    stay_on_load_core();
    started
}

/// The machine in a few words.
pub(crate) fn describe() -> String {
    let processor = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("a processor without a name", |(_, name)| name.trim());
    let kernel = rustix::system::uname();
    let pinned = cores().map_or("servers and clients on the same cores", |_| "server on one core, clients on another");
    format!("{model}, Linux {}, {pinned}", kernel.release().to_string_lossy())
}
