//! The checks of an audit stream: ids and the chain of `prev`, and every price from its inputs.

use crate::aggregate::{VERSION, replay};
use crate::client::{GapCause, TickUpdate};
use crate::tick::{Audit, Currency, Input, TickId};
use anyhow::{bail, ensure};
use std::collections::BTreeSet;
use std::fmt;

/// The reason why the verification of a stream failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// An entry does not fit. The error begins with its id.
    Wrong(anyhow::Error),
    /// The arguments are invalid.
    Invalid(anyhow::Error),
    /// The stream could not be read, or it had no price to verify.
    Unread(anyhow::Error),
}

/// Checks entries in their order.
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// The id of the last entry.
    last: Option<TickId>,
    /// The gap that the stream has reported since the last entry: the ids before and after the missing entries.
    missing: Option<(TickId, TickId)>,
    entries: u64,
    prices: u64,
    /// The number of places where entries are missing.
    gaps: u64,
    /// The number of ticks whose prices cannot be computed again.
    unknown: u64,
}

impl Checker {
    /// Notes a gap between two ids, if its reason means that entries are missing.
    pub(super) fn gap(&mut self, after: TickId, before: TickId, reason: &GapCause) {
        match reason {
            GapCause::HistoryExpired | GapCause::HistoryLost | GapCause::ReplayLimit => {
                self.missing = Some((after, before));
            }
            // The server does not know the last entry that it sent, but the checker does.
            GapCause::UnknownClientId => self.missing = Some((self.last.unwrap_or(after), before)),
            _ => {}
        }
    }

    /// Checks the place of an entry.
    ///
    /// # Errors
    /// - If its id is not greater than its `prev`, or not greater than the id of the entry before it.
    /// - If its `prev` is not the id of the entry before it, and the stream has not reported a gap between the two.
    pub(super) fn entry(&mut self, id: TickId, prev: TickId) -> anyhow::Result<()> {
        ensure!(id > prev, "{id}: its id is not greater than its prev {prev}");
        let missing = self.missing.take();
        if let Some(last) = self.last.replace(id) {
            ensure!(id > last, "{id}: its id is not greater than {last}, that of the entry before it");
            if prev != last {
                let is_reported = missing == Some((last, id));
                ensure!(is_reported, "{id}: its prev is {prev}, but the entry before it is {last}");
                self.gaps += 1;
            }
        }
        self.entries += 1;
        Ok(())
    }

    /// Checks the place of a tick, and computes its prices again.
    ///
    /// # Errors
    /// If the place is wrong, if the method is unknown, or if a value is not the one that the inputs give. The error
    /// begins with the id.
    pub(super) fn tick(&mut self, tick: &TickUpdate) -> anyhow::Result<()> {
        self.entry(tick.id, tick.prev)?;
        let Some(audit) = tick.audit.as_ref().filter(|_| tick.method > 0) else {
            self.unknown += 1;
            return Ok(());
        };
        let id = tick.id;
        ensure!(tick.method == VERSION, "{id}: the method {} is unknown, expected {VERSION}", tick.method);
        let stated =
            tick.prices.keys().chain(tick.confidence.keys()).chain(tick.spread.keys()).chain(tick.sources.keys());
        let currencies = audit.inputs.iter().map(|input| input.currency).chain(stated.copied());
        for currency in currencies.collect::<BTreeSet<_>>() {
            check_currency(tick, audit, currency).map_err(|problem| anyhow::anyhow!("{id}: {currency}: {problem}"))?;
            self.prices += u64::from(tick.prices.contains_key(&currency));
        }
        Ok(())
    }

    /// Returns the number of entries that have been checked.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Checks, after the last entry, that something was verified.
    ///
    /// # Errors
    /// If no price was computed again.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let nothing = "no price was computed again: expected ticks with inputs, in the format audit";
        if self.prices > 0 { Ok(()) } else { Err(Failure::Unread(anyhow::anyhow!(nothing))) }
    }
}

/// Computes the price in one currency again, and compares everything that follows from the answers of the sources.
fn check_currency(tick: &TickUpdate, audit: &Audit, currency: Currency) -> anyhow::Result<()> {
    let stated = tick.prices.get(&currency);
    let (inputs, price) = match replay(&audit.inputs, &audit.parameters, currency) {
        Ok(replayed) => replayed,
        Err(problem) => bail!(problem),
    };
    let given = audit.inputs.iter().filter(|input| input.currency == currency);
    for (given, expected) in given.zip(&inputs) {
        ensure!(given == expected, "{} should be {}", describe(given), describe(expected));
    }
    let (price, stated) = match (price, stated) {
        (Ok(price), Some(stated)) => (price, stated),
        (Err(_), None) => {
            let has_more = tick.confidence.contains_key(&currency)
                || tick.spread.contains_key(&currency)
                || tick.sources.contains_key(&currency);
            ensure!(!has_more, "there is no price, but there is a confidence, a spread or a source");
            return Ok(());
        }
        (Ok(price), None) => bail!("there is no price, but the inputs give {}", price.price),
        (Err(reason), Some(stated)) => bail!("the price is {stated}, but the inputs give none: {reason}"),
    };
    // The texts are compared, because every digit counts.
    let amount = |of: Option<&rust_decimal::Decimal>| of.map(ToString::to_string).unwrap_or_default();
    let found = [stated.to_string(), amount(tick.confidence.get(&currency)), amount(tick.spread.get(&currency))];
    let expected = [price.price.to_string(), price.confidence.to_string(), price.spread.to_string()];
    for ((name, found), expected) in ["price", "confidence", "spread"].into_iter().zip(found).zip(expected) {
        ensure!(found == expected, "the {name} is {found}, but the inputs give {expected}");
    }
    let used: Vec<_> = inputs.iter().filter(|input| input.used.is_some()).map(|input| &input.source).collect();
    let sources: Vec<_> = tick.sources.get(&currency).into_iter().flatten().collect();
    ensure!(sources == used, "its sources are {sources:?}, but the inputs give {used:?}");
    Ok(())
}

fn describe(input: &Input) -> String {
    match (&input.used, &input.excluded) {
        (Some(used), _) => format!("{}: used {used}", input.source),
        (None, Some(reason)) => format!("{}: excluded ({reason})", input.source),
        (None, None) => format!("{}: neither used nor excluded", input.source),
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checker { entries, prices, gaps, .. } = self;
        match gaps {
            0 => write!(f, "{entries} entries in an unbroken chain, {prices} prices computed again")?,
            gaps => write!(f, "{entries} entries with {gaps} reported gaps, {prices} prices computed again")?,
        }
        if self.unknown > 0 {
            write!(f, ", {} ticks that cannot be computed again", self.unknown)?;
        }
        Ok(())
    }
}
