//! The JSON lines of an audit stream.

use super::checker::{Checker, Failure};
use crate::client::GapCause;
use crate::message::{GapMessage, StatusMessage, TickMessage, Word};
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
/// The first line that cannot be read or is not a message of the format `audit`, or the first entry that fails a check.
pub(super) fn check(checker: &mut Checker, lines: impl BufRead) -> Result<(), Failure> {
    for (line, number) in lines.lines().zip(1..) {
        let line = line.with_context(|| format!("cannot read line {number}")).map_err(Failure::Unread)?;
        let expected = || format!("invalid line {number}: expected a message in the format audit");
        let message = read(&line).with_context(expected).map_err(Failure::Unread)?;
        check_message(checker, message).map_err(Failure::Wrong)?;
    }
    Ok(())
}

/// A message of an audit stream.
enum Message<'a> {
    Tick(Box<TickMessage<'a>>),
    Status(StatusMessage<'a>),
    Gap(GapMessage),
    /// A message that is not checked, such as `hello` or `synced`.
    Other,
}

fn read(line: &str) -> serde_json::Result<Message<'_>> {
    let Kind { r#type } = serde_json::from_str(line)?;
    Ok(match r#type.as_str() {
        "tick" => Message::Tick(Box::new(serde_json::from_str(line)?)),
        "status" => Message::Status(serde_json::from_str(line)?),
        "gap" => Message::Gap(serde_json::from_str(line)?),
        _ => Message::Other,
    })
}

fn check_message(checker: &mut Checker, message: Message<'_>) -> anyhow::Result<()> {
    match message {
        Message::Tick(tick) => {
            let timedate = tick.timedate.moment().ok();
            ensure!(timedate == Some(tick.id), "{}: the timedate is not the moment of the id", tick.id);
            checker.tick(&(*tick).into())
        }
        Message::Status(StatusMessage { id, prev, .. }) => checker.entry(id, prev),
        Message::Gap(GapMessage { after, before, reason, .. }) => {
            let reason = match reason {
                Word::Known(reason) => reason.into(),
                Word::Other(word) => GapCause::Other(word),
            };
            checker.gap(after, before, &reason);
            Ok(())
        }
        Message::Other => Ok(()),
    }
}
