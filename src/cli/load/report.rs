//! The result of a load test: a table for people, JSON for programs.

use super::latencies::{Latencies, LatencySummary, QUANTILES};
use super::load_test::LoadResult;
use super::plan::Plan;
use crate::cli::format::{brief_duration, counted, grouped, measured_duration, printable, rate, rate_per_second};
use crate::client::Transport;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// The result of a load test, for people and for programs.
pub(super) struct Report<'a> {
    plan: &'a Plan,
    outcome: &'a LoadResult,
    /// Clients that should have the newest entry.
    expected: usize,
    /// Clients that have the newest entry.
    at_newest: usize,
    /// Clients that should have the newest entry, but do not have it.
    missing: usize,
}

/// The result for programs, as JSON.
#[derive(Serialize)]
struct JsonReport<'a> {
    urls: &'a [String],
    transport: &'a str,
    interrupted: bool,
    measured_seconds: f64,
    clients: ClientCounts,
    entries: u64,
    updates: u64,
    updates_per_second: f64,
    newest: Option<u64>,
    lost: u64,
    doubled: u64,
    gaps: &'a BTreeMap<String, u64>,
    reconnects: u64,
    failures: &'a BTreeMap<String, u64>,
    age_ms: Option<LatencySummary>,
    spread_ms: Option<LatencySummary>,
    connect_ms: Option<LatencySummary>,
    sync_ms: Option<LatencySummary>,
    reconnect_ms: Option<LatencySummary>,
}

#[derive(Serialize)]
struct ClientCounts {
    asked: usize,
    started: usize,
    connected: usize,
    in_sync: usize,
    at_newest: usize,
    refused: usize,
}

impl Report<'_> {
    pub(super) fn of<'a>(plan: &'a Plan, outcome: &'a LoadResult) -> Report<'a> {
        let LoadResult { stats, started, interrupted, .. } = outcome;
        // Clients that were still connecting when the user ended the test are not missing.
        let expected = if *interrupted { stats.ever_connected() } else { *started };
        let at_newest = stats.at_newest();
        Report { plan, outcome, expected, at_newest, missing: expected.saturating_sub(at_newest) }
    }

    /// Returns true if no entry was lost or doubled, and every client has the newest one.
    pub(super) fn is_good(&self) -> bool {
        let stats = &self.outcome.stats;
        stats.lost == 0 && stats.doubled == 0 && self.missing == 0
    }

    /// Returns the result as one line of JSON.
    pub(super) fn json(&self) -> String {
        let LoadResult { stats, started, measured, interrupted } = self.outcome;
        let json = JsonReport {
            urls: &self.plan.urls,
            transport: self.transport().0,
            interrupted: *interrupted,
            measured_seconds: (measured.as_secs_f64() * 1000.0).round() / 1000.0,
            clients: ClientCounts {
                asked: self.plan.connections,
                started: *started,
                connected: stats.ever_connected(),
                in_sync: stats.in_sync,
                at_newest: self.at_newest,
                refused: stats.rejected,
            },
            entries: stats.entries,
            updates: stats.updates,
            updates_per_second: rate_per_second(stats.updates, *measured),
            newest: Some(stats.newest().ms()).filter(|id| *id > 0),
            lost: stats.lost,
            doubled: stats.doubled,
            gaps: &stats.gaps,
            reconnects: stats.reconnects,
            failures: &stats.failures,
            age_ms: stats.age.summary(),
            spread_ms: stats.spread.summary(),
            connect_ms: stats.connect.summary(),
            sync_ms: stats.sync.summary(),
            reconnect_ms: stats.reconnect.summary(),
        };
        // Text and numbers can always be serialised.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// Returns the name of the transport for programs and for people.
    fn transport(&self) -> (&'static str, &'static str) {
        match self.plan.transport {
            Transport::WebSocket => ("ws", "WebSocket"),
            Transport::Sse => ("sse", "server-sent events"),
            Transport::Grpc => ("grpc", "gRPC"),
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadResult { stats, measured, interrupted, .. } = self.outcome;
        let number = |number: u64| grouped(&number.to_string());
        let early = if *interrupted { ", ended early" } else { "" };
        let clients = counted(self.plan.connections as u64, "client");
        writeln!(f, " {clients} over {}, measured for {}{early}", self.transport().1, brief_duration(*measured))?;
        writeln!(f, " {}\n", self.plan.urls.join(" "))?;
        let connected = number(stats.ever_connected() as u64);
        let expected = number(self.expected as u64);
        writeln!(f, " connected    {connected} of {expected}")?;
        writeln!(f, " up to date   {} of {expected} have the newest update", number(self.at_newest as u64))?;
        if stats.entries == 0 {
            writeln!(f, " updates      none in the feed during the measurement")?;
        } else {
            let (updates, entries) = (number(stats.updates), number(stats.entries));
            let rate = rate(stats.updates, *measured);
            writeln!(
                f,
                " updates      {entries} in the feed, {updates} delivered to all clients together, {rate} a second"
            )?;
        }
        writeln!(f, " lost         {}", number(stats.lost))?;
        writeln!(f, " doubled      {}", number(stats.doubled))?;
        let gaps = stats.gaps.iter().map(|(reason, count)| format!("{} {}", number(*count), printable(reason)));
        let gaps = gaps.collect::<Vec<_>>().join(", ");
        writeln!(f, " gaps         {}", if gaps.is_empty() { "none" } else { &gaps })?;
        writeln!(f, " reconnects   {}", number(stats.reconnects))?;
        write!(f, "\n          ")?;
        for name in QUANTILES.map(|(name, _)| name).into_iter().chain(["max"]) {
            write!(f, "{name:>10}")?;
        }
        writeln!(f)?;
        let row = |name, latencies| LatencyRow { name, latencies };
        write!(f, "{}", row("age", &stats.age))?;
        write!(f, "{}", row("spread", &stats.spread))?;
        write!(f, "{}", row("connect", &stats.connect))?;
        if self.plan.since.is_some() {
            write!(f, "{}", row("in sync", &stats.sync))?;
        }
        if !stats.reconnect.is_empty() {
            write!(f, "{}", row("reconnect", &stats.reconnect))?;
        }
        if !stats.failures.is_empty() {
            writeln!(f, "\n connections that were lost or could not be opened")?;
        }
        for (why, count) in &stats.failures {
            writeln!(f, " {:>9}  {why}", number(*count))?;
        }
        Ok(())
    }
}

/// A line of the table of latencies.
struct LatencyRow<'a> {
    name: &'static str,
    latencies: &'a Latencies,
}

impl fmt::Display for LatencyRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantiles = QUANTILES.map(|(_, share)| self.latencies.quantile(share));
        write!(f, " {:9}", self.name)?;
        for time in quantiles.into_iter().chain([self.latencies.max()]) {
            let time = if self.latencies.is_empty() { "–".to_owned() } else { measured_duration(time) };
            write!(f, "{time:>10}")?;
        }
        f.write_char('\n')
    }
}
