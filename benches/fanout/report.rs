//! Table of the results.

use super::measure::{FanOut, Herd, Idle};
use crate::shared::deliveries::Faults;
use crate::shared::machine;
use crate::{Plan, TICK_EVERY};
use std::fmt;
use std::time::Duration;

/// Results of all rounds.
pub(crate) struct Report {
    plan: Plan,
    pub(crate) baseline: Vec<FanOut>,
    pub(crate) websocket: Results,
    pub(crate) events: Results,
    pub(crate) herd: Option<Herd>,
}

/// Results of one transport.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) idle: Vec<Idle>,
    pub(crate) fan_out: Vec<FanOut>,
}

impl Results {
    fn delivered(&self) -> impl Iterator<Item = (u32, Faults)> {
        let fan_out = self.fan_out.iter().map(|round| (round.delivered, round.faults));
        fan_out.chain(self.idle.iter().map(|round| (round.delivered, round.faults)))
    }
}

impl Report {
    pub(crate) fn new(plan: Plan) -> Report {
        let (websocket, events) = (Results::default(), Results::default());
        Report { plan, baseline: Vec::new(), websocket, events, herd: None }
    }

    /// Returns the number of updates that the replica delivered in all measurements, and their faults.
    pub(crate) fn delivered(&self) -> (u32, Faults) {
        let herd = self.herd.iter().map(|herd| (herd.delivered, herd.faults));
        sum(self.websocket.delivered().chain(self.events.delivered()).chain(herd))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { connections, rounds, ticks, herd, history } = self.plan;
        writeln!(f, "{connections} clients, medians of {rounds} rounds of {ticks} ticks, one every {TICK_EVERY:?}.")?;
        writeln!(f, "{}.\n", machine::describe())?;
        writeln!(f, "| | WebSocket | events | baseline |\n|---|---|---|---|")?;
        let (transports, baseline) = ([&self.websocket, &self.events], &self.baseline);
        let processor = |fan_outs: &[FanOut]| median(fan_outs.iter().map(|round| micros(round.processor)));
        let baseline_us = processor(baseline);
        let [websocket, events] = transports.map(|transport| {
            let replica_us = processor(&transport.fan_out);
            format!("{replica_us:.2} ({:.2} × the baseline)", replica_us / baseline_us)
        });
        writeln!(f, "| processor time per update, µs | {websocket} | {events} | {baseline_us:.2} |")?;
        let spread = |fan_outs: &[FanOut], share: usize| {
            let mut spreads: Vec<_> = fan_outs.iter().flat_map(|round| &round.spreads).copied().collect();
            spreads.sort();
            millis(spreads[((spreads.len() - 1) * share).div_ceil(100)])
        };
        for share in [50, 99] {
            let ([websocket, events], baseline) =
                (transports.map(|transport| spread(&transport.fan_out, share)), spread(baseline, share));
            let row = format!("{websocket:.1} | {events:.1} | {baseline:.1}");
            writeln!(f, "| from the first to the last client, p{share}, ms | {row} |")?;
        }
        let [websocket, events] = transports.map(|transport| median(transport.idle.iter().map(|round| round.kib)));
        writeln!(f, "| memory per idle connection, KiB | {websocket:.2} | {events:.2} | |")?;
        let kib = |fan_outs: &[FanOut]| median(fan_outs.iter().map(|round| round.kib));
        let ([websocket, events], baseline) = (transports.map(|transport| kib(&transport.fan_out)), kib(baseline));
        writeln!(f, "| memory per connection with ticks, KiB | {websocket:.2} | {events:.2} | {baseline:.2} |")?;
        let [websocket, events] =
            transports.map(|transport| median(transport.idle.iter().map(|round| micros(round.set_up))));
        writeln!(f, "| processor time per connection set up, µs | {websocket:.0} | {events:.0} | |")?;
        if let Some(Herd { in_sync, processor, .. }) = self.herd {
            let (in_sync, processor) = (in_sync.as_secs_f64(), micros(processor));
            writeln!(f, "| {herd} clients replay {history} ticks each, all in sync after, s | {in_sync:.2} | | |")?;
            writeln!(f, "| processor time per replayed update, µs | {processor:.2} | | |\n")?;
        }
        let (replica, baseline) =
            (self.delivered(), sum(self.baseline.iter().map(|round| (round.delivered, round.faults))));
        writeln!(f, "| total | btcfeed | baseline |\n|---|---|---|")?;
        writeln!(f, "| updates delivered | {} | {} |", replica.0, baseline.0)?;
        writeln!(f, "| lost | {} | {} |", replica.1.lost, baseline.1.lost)?;
        writeln!(f, "| duplicated or out of order | {} | {} |", replica.1.duplicated, baseline.1.duplicated)?;
        writeln!(f, "| unexpected messages | {} | {} |", replica.1.unexpected, baseline.1.unexpected)?;
        writeln!(f, "| connections that ended early | {} | {} |\n", replica.1.closed, baseline.1.closed)?;
        writeln!(
            f,
            "The baseline is one thread that writes one shared frame to every socket in a loop. Processor time is the\n\
             server's, in its own code and in the kernel. The clients are on the same machine, so this time\n\
             includes the kernel's work for the receiving sockets. Times between clients are measured by the\n\
             clients, so they include the time in which one thread reads all sockets. Memory is Pss, without the\n\
             kernel's socket buffers."
        )
    }
}

fn sum(rounds: impl Iterator<Item = (u32, Faults)>) -> (u32, Faults) {
    rounds.fold((0, Faults::default()), |all, round| (all.0 + round.0, all.1.and(round.1)))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
