//! The inputs of a poll: what each source said, and how it was used.

use crate::source::{Answer, Observation, SourceError};
use crate::tick::{Currency, Input, Price, Tick};

/// Returns an input for each price in the answers, and for each currency in which a source gave none.
pub(super) fn of(answers: &[(&'static str, Vec<Answer>)]) -> Vec<Input> {
    let mut inputs = Vec::new();
    for (source, answer) in answers.iter().flat_map(|(source, answers)| answers.iter().map(move |of| (source, of))) {
        inputs.extend(answer.observations.iter().map(|seen| {
            let Observation { currency, bid, ask, last, time, .. } = *seen;
            let (value, fetched) = (value(seen), Some(answer.fetched));
            let latency_ms = u32::try_from(answer.latency.as_millis()).ok();
            Input { bid, ask, last, value, time, fetched, latency_ms, ..Input::new(source, currency) }
        }));
        for SourceError { currencies, reason, .. } in &answer.errors {
            inputs.extend(currencies.iter().map(|currency| Input::excluded(source, currency, reason)));
        }
    }
    inputs
}

/// Marks each input as used, or as excluded with the reason. `fault_of` returns the fault of a source in a currency.
pub(super) fn judge<'a>(inputs: &mut [Input], tick: &Tick, fault_of: impl Fn(&str, Currency) -> Option<&'a str>) {
    for input in inputs.iter_mut().filter(|input| input.excluded.is_none()) {
        let is_used = tick.sources.get(&input.currency).is_some_and(|sources| sources.contains(&input.source));
        if is_used {
            input.used = input.value;
        } else {
            let reason = fault_of(&input.source, input.currency).unwrap_or("no price was agreed on");
            input.excluded = Input::excluded(&input.source, input.currency, reason).excluded;
        }
    }
}

/// Returns the price of an observation: the last trade, or the middle of the book.
pub(super) fn value(seen: &Observation) -> Option<Price> {
    seen.last.or_else(|| Some(seen.bid?.midpoint(seen.ask?)))
}
