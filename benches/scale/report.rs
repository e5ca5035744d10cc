//! Tables of the results.

use super::stack::Used;
use crate::Plan;
use crate::shared::deliveries::Faults;
use crate::shared::machine;
use std::fmt;
use std::time::Duration;

/// Results of one plan.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) plan: Plan,
    /// Time from the start until the last client was connected.
    pub(crate) connected: Duration,
    /// Memory of each replica without clients.
    pub(crate) empty_kib: Vec<u32>,
    /// Memory of each replica with all clients.
    pub(crate) kib: Vec<u32>,
    /// Memory that the kernel needs for the clients' connections. Both ends are on this machine.
    pub(crate) kernel_kib: u32,
    /// Processor time that was used during `time`.
    pub(crate) used: Used,
    /// Duration of the measurement.
    pub(crate) time: Duration,
    /// Time from the first to the last delivery of each tick.
    pub(crate) spreads: Vec<Duration>,
    pub(crate) delivered: u64,
    pub(crate) faults: Faults,
    pub(crate) failover: Option<Failover>,
}

/// Failover of the clients of a replica that was killed.
#[derive(Debug)]
pub(crate) struct Failover {
    /// Number of clients of all replicas at that time.
    pub(crate) clients: usize,
    pub(crate) was_leader: bool,
    /// Number of clients that had to reconnect to another replica.
    pub(crate) reconnected: usize,
    /// Time from the kill until the last of them was connected.
    pub(crate) connected: Duration,
    /// Time from the kill until all clients had the next tick, which the clients of the killed replica missed.
    pub(crate) in_sync: Duration,
}

/// Results of all plans.
pub(crate) struct Report {
    pub(crate) outcomes: Vec<Outcome>,
}

impl Report {
    pub(crate) fn faults(&self) -> Faults {
        self.outcomes.iter().fold(Faults::default(), |all, outcome| all.and(outcome.faults))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}.", machine::describe())?;
        self.outcomes.iter().try_for_each(|outcome| write!(f, "\n{outcome}"))?;
        if self.outcomes.len() > 1 {
            self.growth(f)?;
        }
        Ok(())
    }
}

impl Report {
    fn growth(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| replicas | clients | µs per update | first to last client, p50 / max, ms | KiB per connection | Redis, ms per tick |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for outcome in &self.outcomes {
            let Plan { replicas, clients, .. } = outcome.plan;
            let [median, longest] = outcome.spread_ms();
            let (each, kib) = (outcome.per_update_us(), outcome.per_connection_kib());
            let redis = millis(outcome.used.redis) / outcome.ticks();
            writeln!(f, "| {replicas} | {clients} | {each:.2} | {median:.0} / {longest:.0} | {kib:.2} | {redis:.2} |")?;
        }
        Ok(())
    }
}

impl Outcome {
    fn ticks(&self) -> f64 {
        float(self.plan.ticks)
    }

    fn per_update_us(&self) -> f64 {
        let used: Duration = self.used.replicas.iter().sum();
        used.as_secs_f64() * 1e6 / self.ticks() / float(self.plan.clients)
    }

    fn per_connection_kib(&self) -> f64 {
        let sum = |kib: &[u32]| kib.iter().copied().map(f64::from).sum::<f64>();
        (sum(&self.kib) - sum(&self.empty_kib)) / float(self.plan.clients)
    }

    /// Returns the median spread and the longest one.
    fn spread_ms(&self) -> [f64; 2] {
        let mut spreads = self.spreads.clone();
        spreads.sort();
        [spreads.get(spreads.len() / 2), spreads.last()].map(|spread| spread.copied().map_or(f64::NAN, millis))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { replicas, clients, interval, ticks, .. } = self.plan;
        writeln!(
            f,
            "{replicas} replicas on one Redis, {clients} clients, a tick every {interval:?}, {ticks} ticks.\n"
        )?;
        writeln!(
            f,
            "| | clients | memory, MiB | per client, KiB | µs per update | of a core, % |\n|---|---|---|---|---|---|"
        )?;
        let share = |used: Duration| used.as_secs_f64() / self.time.as_secs_f64() * 100.0;
        for (index, ((kib, empty), used)) in self.kib.iter().zip(&self.empty_kib).zip(&self.used.replicas).enumerate() {
            let clients = clients / replicas + usize::from(index < clients % replicas);
            let (mib, each) = (f64::from(*kib) / 1024.0, (f64::from(*kib) - f64::from(*empty)) / float(clients));
            let update = used.as_secs_f64() * 1e6 / self.ticks() / float(clients);
            let (name, share) = (index + 1, share(*used));
            writeln!(f, "| replica {name} | {clients} | {mib:.1} | {each:.2} | {update:.2} | {share:.1} |")?;
        }
        writeln!(f, "| Redis | | | | | {:.2} |", share(self.used.redis))?;
        writeln!(f, "| clients | | | | | {:.1} |\n", share(self.used.clients))?;
        let [median, longest] = self.spread_ms();
        writeln!(f, "| total | |\n|---|---|")?;
        writeln!(f, "| from the first to the last client, p50 / longest, ms | {median:.1} / {longest:.1} |")?;
        writeln!(f, "| time until all clients were connected, s | {:.1} |", self.connected.as_secs_f64())?;
        let kernel = f64::from(self.kernel_kib) / 2.0 / float(clients);
        writeln!(f, "| memory of the kernel for each end of a connection, KiB | {kernel:.2} |")?;
        writeln!(f, "| updates delivered | {} |", self.delivered)?;
        let Faults { lost, duplicated, unexpected, closed } = self.faults;
        writeln!(
            f,
            "| lost | {lost} |\n| duplicated or out of order | {duplicated} |\n| unexpected messages | {unexpected} |"
        )?;
        writeln!(f, "| connections that ended early | {closed} |")?;
        let Some(Failover { clients: left, was_leader, reconnected, connected, in_sync }) = self.failover else {
            return Ok(());
        };
        let role = if was_leader { "the leader" } else { "a replica" };
        writeln!(f, "| {role} killed 0.2 s before a tick, clients that had to reconnect | {reconnected} |")?;
        writeln!(f, "| all of them reconnected after, s | {:.2} |", connected.as_secs_f64())?;
        writeln!(f, "| all {left} clients have that tick after, s | {:.2} |", in_sync.as_secs_f64())?;
        if left < clients {
            let others = replicas - 1;
            writeln!(
                f,
                "\nBefore the failover, {} clients were closed: {others} replicas have too few file descriptors.",
                clients - left
            )?;
        }
        Ok(())
    }
}

fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
