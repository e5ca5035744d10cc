//! What came of it: a table for people, JSON for programs.

use super::crowd::{Outcome, a_second, rate};
use super::plan::Plan;
use super::times::{SHARES, Summary, Times};
use crate::cli::words::{brief, counted, exact, grouped, plain};
use crate::client::Transport;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// The result.
pub(super) struct Report<'a> {
    plan: &'a Plan,
    outcome: &'a Outcome,
    /// The clients that were to have everything, those that have the newest entry, and those that have not.
    expected: usize,
    at_newest: usize,
    missing: usize,
}

/// The result for programs. The README says what each field means.
#[derive(Serialize)]
struct Json<'a> {
    urls: &'a [String],
    transport: &'a str,
    interrupted: bool,
    measured_seconds: f64,
    clients: Clients,
    entries: u64,
    updates: u64,
    updates_per_second: f64,
    newest: Option<u64>,
    lost: u64,
    doubled: u64,
    gaps: &'a BTreeMap<String, u64>,
    reconnects: u64,
    failures: &'a BTreeMap<String, u64>,
    age_ms: Option<Summary>,
    spread_ms: Option<Summary>,
    connect_ms: Option<Summary>,
    sync_ms: Option<Summary>,
    reconnect_ms: Option<Summary>,
}

#[derive(Serialize)]
struct Clients {
    asked: usize,
    started: usize,
    connected: usize,
    in_sync: usize,
    at_newest: usize,
    refused: usize,
}

impl Report<'_> {
    pub(super) fn of<'a>(plan: &'a Plan, outcome: &'a Outcome) -> Report<'a> {
        let Outcome { tally, started, interrupted, .. } = outcome;
        // Who was on the way when the user had enough is not missed.
        let expected = if *interrupted { tally.ever_connected() } else { *started };
        let at_newest = tally.at_newest();
        Report { plan, outcome, expected, at_newest, missing: expected.saturating_sub(at_newest) }
    }

    /// Whether every client got everything once.
    pub(super) fn is_good(&self) -> bool {
        let tally = &self.outcome.tally;
        tally.lost == 0 && tally.doubled == 0 && self.missing == 0
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        let Outcome { tally, started, measured, interrupted } = self.outcome;
        let json = Json {
            urls: &self.plan.urls,
            transport: self.transport().0,
            interrupted: *interrupted,
            measured_seconds: (measured.as_secs_f64() * 1000.0).round() / 1000.0,
            clients: Clients {
                asked: self.plan.connections,
                started: *started,
                connected: tally.ever_connected(),
                in_sync: tally.in_sync,
                at_newest: self.at_newest,
                refused: tally.refused,
            },
            entries: tally.entries,
            updates: tally.updates,
            updates_per_second: a_second(tally.updates, *measured),
            newest: Some(tally.newest().ms()).filter(|id| *id > 0),
            lost: tally.lost,
            doubled: tally.doubled,
            gaps: &tally.gaps,
            reconnects: tally.reconnects,
            failures: &tally.failures,
            age_ms: tally.age.summary(),
            spread_ms: tally.spread.summary(),
            connect_ms: tally.connect.summary(),
            sync_ms: tally.sync.summary(),
            reconnect_ms: tally.reconnect.summary(),
        };
        // Text and numbers can always be written.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// The name of the transport, for programs and for people.
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
        let Outcome { tally, measured, interrupted, .. } = self.outcome;
        let number = |number: u64| grouped(&number.to_string());
        let early = if *interrupted { ", ended early" } else { "" };
        let clients = counted(self.plan.connections as u64, "client");
        writeln!(f, " {clients} over {}, measured for {}{early}", self.transport().1, brief(*measured))?;
        writeln!(f, " {}\n", self.plan.urls.join(" "))?;
        let connected = number(tally.ever_connected() as u64);
        let expected = number(self.expected as u64);
        writeln!(f, " connected    {connected} of {expected}")?;
        writeln!(f, " up to date   {} of {expected} have the newest update", number(self.at_newest as u64))?;
        if tally.entries == 0 {
            let nothing = "none came into the feed while it was measured, so nothing is known of how they come";
            writeln!(f, " updates      {nothing}")?;
        } else {
            let (updates, entries) = (number(tally.updates), number(tally.entries));
            let rate = rate(tally.updates, *measured);
            writeln!(f, " updates      {updates} delivered of {entries} in the feed, {rate} a second")?;
        }
        writeln!(f, " lost         {}", number(tally.lost))?;
        writeln!(f, " doubled      {}", number(tally.doubled))?;
        let gaps = tally.gaps.iter().map(|(reason, count)| format!("{} {}", number(*count), plain(reason)));
        let gaps = gaps.collect::<Vec<_>>().join(", ");
        writeln!(f, " gaps         {}", if gaps.is_empty() { "none" } else { &gaps })?;
        writeln!(f, " reconnects   {}", number(tally.reconnects))?;
        write!(f, "\n         ")?;
        for name in SHARES.map(|(name, _)| name).into_iter().chain(["max"]) {
            write!(f, "{name:>10}")?;
        }
        writeln!(f)?;
        let row = |name, times| Row { name, times };
        write!(f, "{}", row("age", &tally.age))?;
        write!(f, "{}", row("spread", &tally.spread))?;
        write!(f, "{}", row("connect", &tally.connect))?;
        if self.plan.since.is_some() {
            write!(f, "{}", row("in sync", &tally.sync))?;
        }
        if !tally.reconnect.is_empty() {
            write!(f, "{}", row("back", &tally.reconnect))?;
        }
        if !tally.failures.is_empty() {
            writeln!(f, "\n connections that were lost or not made")?;
        }
        for (why, count) in &tally.failures {
            writeln!(f, " {:>9}  {why}", number(*count))?;
        }
        Ok(())
    }
}

/// A line of times.
struct Row<'a> {
    name: &'static str,
    times: &'a Times,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = SHARES.map(|(_, share)| self.times.within(share)).into_iter().chain([self.times.longest()]);
        write!(f, " {:8}", self.name)?;
        for time in times {
            let time = if self.times.is_empty() { "–".to_owned() } else { exact(time) };
            write!(f, "{time:>10}")?;
        }
        f.write_char('\n')
    }
}
