//! The text form of durations and lists in settings, parameters and messages. Excerpts of long texts.

use jiff::{Span, SpanRelativeTo};
use std::time::Duration;

/// Parses a duration such as `500ms`, `30s`, `10m`, `1h30m` or `365d`. A day has 24 hours. Returns `None` if it is
/// invalid or negative.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    Duration::try_from(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?).ok()
}

/// Formats a duration of whole milliseconds in the largest unit of which it is a multiple: `90s`, `2m`, `30d`. A single
/// day is `24h`.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    match units.into_iter().find(|(name, unit)| ms.is_multiple_of(*unit) && (*name, ms) != ("d", *unit)) {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// Joins words as in a sentence, with `conjunction` before the last one: `a, b and c`.
pub fn join_list(words: &[impl AsRef<str>], conjunction: &str) -> String {
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    match &words[..] {
        [others @ .., last] if !others.is_empty() => format!("{} {conjunction} {last}", others.join(", ")),
        words => words.concat(),
    }
}

/// Returns the text, or its start if it is longer than `max` characters. The start has `max` characters, of which the
/// last one is `…`.
pub fn excerpt(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Returns the text, or its start and `…`, so that formatting it with `{:?}` gives at most `max` characters inside the
/// quotes. An escaped character counts with the length of its escape.
pub fn quotable(text: &str, max: usize) -> String {
    let escaped_len = |text: &str| text.chars().map(|character| character.escape_debug().count()).sum::<usize>();
    if escaped_len(text) <= max {
        return text.to_owned();
    }
    let mut room = max.saturating_sub(1);
    let fits = |character: &char| {
        let left = room.checked_sub(character.escape_debug().count());
        room = left.unwrap_or_default();
        left.is_some()
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_of_a_long_text_ends_with_an_ellipsis() {
        assert_eq!(["", "ab", "abc", "abcd", "äöüß"].map(|text| excerpt(text, 3)), ["", "ab", "abc", "ab…", "äö…"]);
    }

    #[test]
    fn quotable_text_is_short_after_its_escapes() {
        for (text, quoted) in
            [("abcdef", r#""abcdef""#), ("abcdefg", r#""abcde…""#), ("\t\t\tx", r#""\t\t…""#), ("a\u{1}bc", r#""a…""#)]
        {
            assert_eq!(format!("{:?}", quotable(text, 6)), quoted);
        }
    }

    #[test]
    fn duration_formats_and_parses_back() {
        for (ms, text) in [
            (0, "0s"),
            (10, "10ms"),
            (1500, "1500ms"),
            (90_000, "90s"),
            (120_000, "2m"),
            (86_400_000, "24h"),
            (90_000_000, "25h"),
            (31_536_000_000, "365d"),
        ] {
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)));
        }
        assert_eq!(["1d", "1d12h"].map(parse_duration), [24, 36].map(|hours| Some(Duration::from_secs(hours * 3600))));
        assert_eq!(["5", "-1s", "-1d", "1mo", "a day", ""].map(parse_duration), [None; 6]);
    }

    #[test]
    fn list_joins_words_as_in_a_sentence() {
        for (words, text) in [(&[][..], ""), (&["a"], "a"), (&["a", "b"], "a or b"), (&["a", "b", "c"], "a, b or c")] {
            assert_eq!(join_list(words, "or"), text);
        }
    }
}
