//! The result of a poll.

use crate::telemetry::traces::TraceStep;
use crate::tick::{Currencies, Currency, Input, MethodParameters, Tick, TickId};
use std::collections::BTreeMap;

/// The result of a poll.
#[derive(Debug, Default)]
pub struct Poll {
    /// The prices, if at least one currency has a valid one.
    pub tick: Option<Tick>,
    /// The faults of sources, each with the currencies in which the source did not contribute.
    pub faults: Vec<SourceFault>,
    /// The currencies that have no price although sources gave prices, each with the reason.
    pub shortfalls: BTreeMap<Currency, String>,
    /// The currencies whose price comes from few of their configured sources, each with a description.
    pub thin: BTreeMap<Currency, String>,
    /// What each source said, and how it was used.
    pub inputs: Vec<Input>,
    /// What a computation of the prices needs besides the inputs.
    pub parameters: MethodParameters,
    /// The times at which sources answered, by their own clocks: at most one for each source.
    pub times: Vec<TickId>,
    /// The poll and its requests, for the trace of the tick.
    pub trace: Option<TraceStep>,
}

/// The reason why a source did not contribute a price in some currencies.
#[derive(Debug)]
pub struct SourceFault {
    /// The name of the source.
    pub source: &'static str,
    /// The currencies in which no price of this source was used.
    pub currencies: Currencies,
    /// The reason, as text for people. Clients can read it in a status.
    pub reason: String,
    /// What the log adds: the address and the cause of a failed request.
    pub cause: Option<String>,
}

impl Poll {
    /// Returns the reason why there is no price in `currencies`, in one line.
    pub fn reason(&self, currencies: Currencies) -> String {
        let short = self.shortfalls.iter().filter(|(currency, _)| currencies.contains(**currency));
        let faults = self.faults.iter().filter(|fault| !fault.currencies.and(currencies).is_empty());
        let faults = faults.map(|fault| format!("{}: {}", fault.source, fault.reason));
        let mut reasons: Vec<_> = short.map(|(_, reason)| reason.clone()).chain(faults).collect();
        // A source with one request for each currency often has the same fault in all of them.
        reasons.dedup();
        if reasons.is_empty() { "no source was asked".to_owned() } else { reasons.join("; ") }
    }

    pub(super) fn add_fault(&mut self, source: &'static str, currencies: Currencies, reason: String) {
        self.faults.push(SourceFault { source, currencies, reason, cause: None });
    }
}
