//! Formats moments, durations, numbers and text from a server for people.

use crate::tick::TickId;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::time::Duration;

/// Formats a moment as the local time, with the date if it is not today, and the year if it is not this year.
pub(super) fn local_time(id: TickId) -> String {
    time_seen_from(local(TickId::now()).date(), &local(id))
}

fn time_seen_from(today: Date, moment: &Zoned) -> String {
    let format = match moment.date() {
        day if day == today => "%H:%M:%S",
        day if day.year() == today.year() => "%-d %B %H:%M:%S",
        _ => "%-d %B %Y %H:%M:%S",
    };
    moment.strftime(format).to_string()
}

/// Returns a moment in the local time zone.
pub(super) fn local(id: TickId) -> Zoned {
    let ms = i64::try_from(id.ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::system())
}

/// Formats a duration in one or two units: `2 h 3 min`.
pub(super) fn brief_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.is_zero() => "0 s".to_owned(),
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// Formats a measured duration with three digits, or as whole seconds from 100 s on: `56.8 ms`, `3600 s`.
pub(super) fn measured_duration(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match duration.as_micros() {
        0..10_000 => format!("{ms:.2} ms"),
        10_000..100_000 => format!("{ms:.1} ms"),
        100_000..1_000_000 => format!("{ms:.0} ms"),
        1_000_000..10_000_000 => format!("{:.2} s", ms / 1000.0),
        10_000_000..100_000_000 => format!("{:.1} s", ms / 1000.0),
        _ => format!("{:.0} s", ms / 1000.0),
    }
}

/// Replaces the control characters in text from a server, because they could move the cursor of a terminal, and cuts
/// the text to 300 characters.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// Groups the digits of a number: `97,116.17`.
pub(super) fn grouped(number: &str) -> String {
    let (whole, decimals) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + decimals
}

/// Formats a number of things: `1 tick`, `2,000 ticks`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let number = grouped(&count.to_string());
    if count == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Returns a rate per second, rounded to one decimal.
#[expect(clippy::cast_precision_loss, reason = "no measurement counts more than 2^53 things")]
pub(super) fn rate_per_second(count: u64, time: Duration) -> f64 {
    let tenths = count as f64 * 10.0 / time.as_secs_f64().max(1e-6);
    tenths.round() / 10.0
}

/// Formats a rate per second, with a decimal only if it is below 10.
pub(super) fn rate(count: u64, time: Duration) -> String {
    let rate = rate_per_second(count, time);
    grouped(&if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (number, shown) in [("7", "7"), ("116.175", "116.175"), ("97116.17", "97,116.17"), ("1000000", "1,000,000")]
        {
            assert_eq!(grouped(number), shown);
        }
    }

    #[test]
    fn moment_shows_its_date_only_if_needed() {
        let moment = Timestamp::from_second(1_751_199_177).unwrap().to_zoned(TimeZone::UTC);
        for (today, expected) in
            [((2025, 6, 29), "12:12:57"), ((2025, 1, 1), "29 June 12:12:57"), ((2026, 6, 29), "29 June 2025 12:12:57")]
        {
            assert_eq!(time_seen_from(Date::constant(today.0, today.1, today.2), &moment), expected);
        }
    }

    #[test]
    fn brief_duration_has_at_most_two_units() {
        for (ms, expected) in
            [(0, "0 s"), (340, "0.3 s"), (12_900, "12 s"), (75_000, "1 min 15 s"), (7_380_000, "2 h 3 min")]
        {
            assert_eq!(brief_duration(Duration::from_millis(ms)), expected);
        }
        assert_eq!(brief_duration(Duration::from_secs(90_000)), "1 d 1 h");
    }

    #[test]
    fn measured_duration_has_three_digits() {
        for (micros, expected) in [
            (0, "0.00 ms"),
            (1234, "1.23 ms"),
            (56_789, "56.8 ms"),
            (432_100, "432 ms"),
            (1_500_000, "1.50 s"),
            (61_000_000, "61.0 s"),
            (3_600_000_000, "3600 s"),
        ] {
            assert_eq!(measured_duration(Duration::from_micros(micros)), expected);
        }
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        assert_eq!(printable("r1\x1b[2J\r\n\u{9b}x"), "r1 [2J   x");
    }

    #[test]
    fn rate_is_rounded_and_not_truncated() {
        for (count, ms, number, text) in
            [(5, 7000, 0.7, "0.7"), (0, 7000, 0.0, "0.0"), (99, 10_000, 9.9, "9.9"), (19_999, 10_000, 1999.9, "2,000")]
        {
            let time = Duration::from_millis(ms);
            assert_eq!((rate_per_second(count, time), rate(count, time)), (number, text.to_owned()));
        }
    }
}
