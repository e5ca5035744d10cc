//! Interface to the kernel: processor time, memory, limits and cores.

use anyhow::{Context, ensure};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::fs::{read_dir, read_to_string};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// Sleeps.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// Raises the limit on open files to its maximum. Returns the number of clients that it allows, with `spare` files
/// left.
pub(crate) fn max_clients(spare: u64) -> anyhow::Result<usize> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("cannot raise the limit on open files")?;
    let files = maximum.unwrap_or(1 << 20);
    Ok(usize::try_from(files.saturating_sub(spare).max(1))?)
}

/// Returns the processor time that a process has used, user and kernel.
pub(crate) fn processor_time(pid: Pid) -> anyhow::Result<Duration> {
    // `schedstat` has nanoseconds for each thread, which is more exact than the clock ticks of `stat`.
    let mut total = Duration::ZERO;
    for thread in read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has ended since the directory was read is left out.
        let Ok(schedstat) = read_to_string(thread?.path().join("schedstat")) else { continue };
        let running = schedstat.split_whitespace().next().context("an empty schedstat")?;
        total += Duration::from_nanos(running.parse()?);
    }
    ensure!(total > Duration::ZERO, "no scheduler statistics");
    Ok(total)
}

/// Returns the proportional set size of a process in KiB: its own memory and its share of shared memory. It does not
/// include the kernel's socket buffers.
pub(crate) fn memory_kib(pid: Pid) -> anyhow::Result<u32> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    share.trim().trim_end_matches(" kB").parse().context("invalid Pss: expected a number")
}

/// Returns the memory in KiB that the kernel uses for its objects, such as sockets, and for the data in TCP buffers.
pub(crate) fn kernel_kib() -> anyhow::Result<u32> {
    let number = |path: &str, line: &str, name: &str| -> anyhow::Result<u32> {
        let text = read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        let line = text.lines().find(|of| of.starts_with(line)).with_context(|| format!("no {line} in {path}"))?;
        let words = line.split_whitespace().skip_while(|word| *word != name).nth(1);
        Ok(words.with_context(|| format!("no {name} in {path}"))?.parse()?)
    };
    let pages = number("/proc/net/sockstat", "TCP:", "mem")?;
    Ok(number("/proc/meminfo", "SUnreclaim:", "SUnreclaim:")?
        + pages * u32::try_from(rustix::param::page_size() / 1024)?)
}

/// Returns a moment by the monotonic clock, which all processes share, in nanoseconds.
pub(crate) fn monotonic_ns(moment: Instant) -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default());
    nanoseconds(now.saturating_sub(moment.elapsed()))
}

/// Returns a moment by the system clock, in nanoseconds since 1970.
pub(crate) fn unix_ns(moment: Instant) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    nanoseconds(now.saturating_sub(moment.elapsed()))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

static CORES: OnceLock<Option<(usize, usize)>> = OnceLock::new();

/// Makes all processes share all cores.
pub(crate) fn share_cores() {
    CORES.get_or_init(|| None);
}

/// Returns the cores for the server and for the clients, or `None` if all cores are shared.
fn cores() -> Option<(usize, usize)> {
    *CORES.get_or_init(|| {
        let allowed = sched_getaffinity(None).ok()?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Some((allowed.next()?, allowed.next()?))
    })
}

/// Pins this thread, and the processes that it starts, to one core. If that fails, they may still use the same cores as
/// before.
fn stay_on(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).ok();
}

/// Pins this thread to the clients' core.
pub(crate) fn stay_on_load_core() {
    if let Some((_, load)) = cores() {
        stay_on(load);
    }
}

/// Runs `start`. The process that it starts is pinned to the server's core.
pub(crate) fn on_server_core<T>(start: impl FnOnce() -> T) -> T {
    if let Some((server, _)) = cores() {
        stay_on(server);
    }
    let started = start();
    stay_on_load_core();
    started
}

/// Returns a short description of the machine.
pub(crate) fn describe() -> String {
    let processor = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let kernel = rustix::system::uname();
    let pinned = cores().map_or("servers and clients on the same cores", |_| "server on one core, clients on another");
    format!("{model}, Linux {}, {pinned}", kernel.release().to_string_lossy())
}
