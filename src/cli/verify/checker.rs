//! The checks of an audit stream: ids and the chain of `prev`, and every price from its inputs.

use crate::aggregate::{VERSION, replay};
use crate::client::TickUpdate;
use crate::tick::{Audit, Currency, Input, TickId};
use anyhow::{bail, ensure};
use std::collections::BTreeSet;
use std::fmt;

/// Checks entries in their order.
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// The id of the last entry.
    last: Option<TickId>,
    /// The id of the first entry after a gap that the stream has reported.
    after_gap: Option<TickId>,
    entries: u64,
    prices: u64,
    /// The number of ticks whose prices cannot be computed again.
    unknown: u64,
}

impl Checker {
    /// Notes that entries before `before` are missing.
    pub(super) fn gap(&mut self, before: TickId) {
        self.after_gap = Some(before);
    }

    /// Checks the place of an entry.
    ///
    /// # Errors
    /// If its `prev` is not the entry before it, or if its id is not greater.
    pub(super) fn entry(&mut self, id: TickId, prev: TickId) -> anyhow::Result<()> {
        ensure!(id > prev, "{id}: its id is not greater than its prev {prev}");
        let is_expected = self.after_gap.take() == Some(id);
        if let Some(last) = self.last.replace(id) {
            ensure!(id > last, "{id}: its id is not greater than {last}, that of the entry before it");
            ensure!(prev == last || is_expected, "{id}: its prev is {prev}, but the entry before it is {last}");
        }
        self.entries += 1;
        Ok(())
    }

    /// Checks the place of a tick, and computes its prices again.
    ///
    /// # Errors
    /// If something does not fit. The error begins with the id.
    pub(super) fn tick(&mut self, tick: &TickUpdate) -> anyhow::Result<()> {
        self.entry(tick.id, tick.prev)?;
        let Some(audit) = tick.audit.as_ref().filter(|_| tick.method > 0) else {
            self.unknown += 1;
            return Ok(());
        };
        let id = tick.id;
        ensure!(tick.method == VERSION, "{id}: the method {} is unknown, expected {VERSION}", tick.method);
        let currencies = audit.inputs.iter().map(|input| input.currency).chain(tick.prices.keys().copied());
        for currency in currencies.collect::<BTreeSet<_>>() {
            check_currency(tick, audit, currency).map_err(|problem| anyhow::anyhow!("{id}: {currency}: {problem}"))?;
            self.prices += u64::from(tick.prices.contains_key(&currency));
        }
        Ok(())
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
        (Err(_), None) => return Ok(()),
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
        write!(f, "{} entries without an unreported gap, {} prices computed again", self.entries, self.prices)?;
        if self.unknown > 0 {
            write!(f, ", {} ticks that cannot be computed again", self.unknown)?;
        }
        Ok(())
    }
}
