//! What was measured, as tables.

use crate::Plan;
use crate::shared::book::Faults;
use crate::shared::machine;
use crate::stack::Used;
use std::fmt;
use std::time::Duration;

/// How one plan came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) plan: Plan,
    /// From the start of everything until the last client was connected.
    pub(crate) connected: Duration,
    /// The memory of each replica before it had clients, and with all of them.
    pub(crate) empty_kib: Vec<u32>,
    pub(crate) kib: Vec<u32>,
    /// Processor time, over this time.
    pub(crate) used: Used,
    pub(crate) time: Duration,
    /// From the first to the last of all clients, tick by tick.
    pub(crate) spreads: Vec<Duration>,
    pub(crate) delivered: u64,
    pub(crate) faults: Faults,
    pub(crate) death: Option<Death>,
}

/// What became of the clients of a replica that died.
#[derive(Debug)]
pub(crate) struct Death {
    /// All clients, of every replica, at that time.
    pub(crate) clients: usize,
    pub(crate) victim_led: bool,
    /// Clients that had to go to another replica.
    pub(crate) returned: usize,
    /// From the death until the last of them was connected, and until all clients had the tick that came meanwhile.
    pub(crate) connected: Duration,
    pub(crate) in_sync: Duration,
}

/// The outcome of every plan.
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
            let [half, most] = outcome.spread_ms();
            let (each, kib) = (outcome.per_update_us(), outcome.per_connection_kib());
            let redis = millis(outcome.used.redis) / outcome.ticks();
            writeln!(f, "| {replicas} | {clients} | {each:.2} | {half:.0} / {most:.0} | {kib:.2} | {redis:.2} |")?;
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

    /// The spread in the middle, and the longest.
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
        for (place, ((kib, empty), used)) in self.kib.iter().zip(&self.empty_kib).zip(&self.used.replicas).enumerate() {
            let mine = clients / replicas + usize::from(place < clients % replicas);
            let (mib, each) = (f64::from(*kib) / 1024.0, (f64::from(*kib) - f64::from(*empty)) / float(mine));
            let update = used.as_secs_f64() * 1e6 / self.ticks() / float(mine);
            let (name, share) = (place + 1, share(*used));
            writeln!(f, "| replica {name} | {mine} | {mib:.1} | {each:.2} | {update:.2} | {share:.1} |")?;
        }
        writeln!(f, "| Redis | | | | | {:.2} |", share(self.used.redis))?;
        writeln!(f, "| the clients themselves | | | | | {:.1} |\n", share(self.used.clients))?;
        let [half, most] = self.spread_ms();
        writeln!(f, "| all together | |\n|---|---|")?;
        writeln!(f, "| from the first to the last client, p50 / longest, ms | {half:.1} / {most:.1} |")?;
        writeln!(f, "| start until all were connected, s | {:.1} |", self.connected.as_secs_f64())?;
        writeln!(f, "| updates delivered | {} |", self.delivered)?;
        let Faults { lost, doubled, strange, closed } = self.faults;
        writeln!(f, "| lost | {lost} |\n| doubled or out of order | {doubled} |\n| strange messages | {strange} |")?;
        writeln!(f, "| connections that ended early | {closed} |")?;
        let Some(Death { clients: left, victim_led, returned, connected, in_sync }) = self.death else {
            return Ok(());
        };
        let role = if victim_led { "the leader" } else { "a replica" };
        writeln!(f, "| {role} killed 0.2 s before a tick, clients that had to go elsewhere | {returned} |")?;
        writeln!(f, "| all of them connected again after, s | {:.2} |", connected.as_secs_f64())?;
        writeln!(f, "| all {left} clients have that tick after, s | {:.2} |", in_sync.as_secs_f64())?;
        if left < clients {
            let others = replicas - 1;
            writeln!(
                f,
                "\nFor the death {} clients left before: {others} replicas have no descriptors for more.",
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
