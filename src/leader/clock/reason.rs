//! Reasons of a status about clocks.

use crate::text::format_duration;
use crate::tick::TickId;
use std::time::Duration;

/// The beginnings of the texts about clocks that contradict each other.
const STORE_IS_WRONG: &str = "the clock of the store is ";
const FEED_IS_AHEAD: &str = "the feed is ";
/// The reason of the status which says that the clocks no longer contradict each other.
pub(in crate::leader) const CLOCKS_AGREE: &str = "the clocks agree again";

/// Returns true if the reason of a status says that the clocks contradict each other, false if it says that they agree
/// again, and `None` if it is not about clocks.
pub(in crate::leader) fn clock_is_wrong(reason: &str) -> Option<bool> {
    let is_wrong = reason.starts_with(STORE_IS_WRONG) || reason.starts_with(FEED_IS_AHEAD);
    (is_wrong || reason == CLOCKS_AGREE).then_some(is_wrong)
}

/// Describes the difference between the time of the store's clock and another time, which `others` names.
pub(super) fn contradiction(store: TickId, other: TickId, others: &str) -> String {
    let direction = if store > other { "ahead of" } else { "behind" };
    format!("{STORE_IS_WRONG}{} {direction} {others}", words_of(store.differs(other)))
}

/// Says that the feed is ahead of the true time. `next` says what the feed does about it.
pub(super) fn feed_is_ahead(by: Duration, next: &str) -> String {
    format!("{FEED_IS_AHEAD}{} ahead of the time, {next}", words_of(by))
}

/// Formats a duration in whole hours, minutes or seconds.
fn words_of(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = [3600, 60].into_iter().find(|unit| seconds >= *unit).unwrap_or(1);
    format_duration(Duration::from_secs(seconds / unit * unit))
}
