//! The inputs of a poll: what each source said, and how it was used.

use crate::source::{Answer, Observation, SourceError};
use crate::tick::{Currency, Input, Tick};

/// Returns an input for each price in the answers, and for each currency in which a source gave none.
pub(super) fn of(answers: &[(&'static str, Vec<Answer>)]) -> Vec<Input> {
    let mut inputs = Vec::new();
    for (source, answer) in answers.iter().flat_map(|(source, answers)| answers.iter().map(move |of| (source, of))) {
        match answer {
            Ok(observations) => inputs.extend(observations.iter().map(|seen| {
                let Observation { currency, price, time } = seen;
                Input { last: Some(*price), value: Some(*price), time: *time, ..Input::new(source, *currency) }
            })),
            Err(SourceError { currencies, reason, .. }) => {
                inputs.extend(currencies.iter().map(|currency| Input::excluded(source, currency, reason)));
            }
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
