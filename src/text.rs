//! Durations and lists, as people write and read them in settings, parameters and messages.

use jiff::SignedDuration;
use std::time::Duration;

/// Reads a duration: `500ms`, `30s`, `10m`, `1h30m`.
pub fn duration(text: &str) -> Option<Duration> {
    Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()
}

/// A duration of whole milliseconds as it is written: in the largest unit of which it is a whole number.
pub fn written(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    match units.into_iter().find(|(_, unit)| ms.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// Words as they stand in a sentence, with `and` or `or` before the last: `a, b and c`.
pub fn listed(words: &[impl AsRef<str>], before_last: &str) -> String {
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    match &words[..] {
        [others @ .., last] if !others.is_empty() => format!("{} {before_last} {last}", others.join(", ")),
        words => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_in_its_largest_whole_unit_and_read_again() {
        for (ms, text) in [(10, "10ms"), (1500, "1500ms"), (90_000, "90s"), (120_000, "2m"), (86_400_000, "24h")] {
            assert_eq!(written(Duration::from_millis(ms)), text);
            assert_eq!(duration(text), Some(Duration::from_millis(ms)));
        }
        assert_eq!(["5", "-1s", "a day", ""].map(duration), [None; 4]);
    }

    #[test]
    fn words_are_listed_as_in_a_sentence() {
        for (words, text) in [(&[][..], ""), (&["a"], "a"), (&["a", "b"], "a or b"), (&["a", "b", "c"], "a, b or c")] {
            assert_eq!(listed(words, "or"), text);
        }
    }
}
