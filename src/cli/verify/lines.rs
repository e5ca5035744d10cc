//! The JSON lines of an audit stream.

use super::checker::Checker;
use crate::message::{GapMessage, StatusMessage, TickMessage};
use anyhow::{Context, ensure};
use serde::Deserialize;
use std::io::BufRead;

/// The type of a message.
#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

/// Checks each line.
///
/// # Errors
/// The first line that is not a message of the format `audit`, or the first entry that does not fit.
pub(super) fn check(checker: &mut Checker, lines: impl BufRead) -> anyhow::Result<()> {
    for (line, number) in lines.lines().zip(1..) {
        let line = line.with_context(|| format!("cannot read line {number}"))?;
        let expected = || format!("invalid line {number}: expected a message in the format audit");
        let Kind { r#type } = serde_json::from_str(&line).with_context(expected)?;
        match r#type.as_str() {
            "tick" => {
                let tick: TickMessage<'_> = serde_json::from_str(&line).with_context(expected)?;
                let timedate = tick.timedate.moment().ok();
                ensure!(timedate == Some(tick.id), "{}: the timedate is not the moment of the id", tick.id);
                checker.tick(&tick.into())?;
            }
            "status" => {
                let StatusMessage { id, prev, .. } = serde_json::from_str(&line).with_context(expected)?;
                checker.entry(id, prev)?;
            }
            "gap" => checker.gap(serde_json::from_str::<GapMessage>(&line).with_context(expected)?.before),
            // Messages that are not entries, such as `hello` and `synced`.
            _ => {}
        }
    }
    Ok(())
}
