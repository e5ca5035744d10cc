//! Moments, durations, numbers and other people's words, as people read them.

use crate::tick::TickId;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::time::Duration;

/// The time of day on this machine's clock, with the date if it is another day's, and the year if it is another year's.
pub(super) fn clock(id: TickId) -> String {
    seen_from(local(TickId::now()).date(), &local(id))
}

fn seen_from(today: Date, moment: &Zoned) -> String {
    let form = match moment.date() {
        day if day == today => "%H:%M:%S",
        day if day.year() == today.year() => "%-d %B %H:%M:%S",
        _ => "%-d %B %Y %H:%M:%S",
    };
    moment.strftime(form).to_string()
}

/// A moment on this machine's clock.
pub(super) fn local(id: TickId) -> Zoned {
    let ms = i64::try_from(id.ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::system())
}

/// A duration, as exactly as one would say it.
pub(super) fn brief(duration: Duration) -> String {
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

/// A duration that something took: three digits of it.
pub(super) fn exact(duration: Duration) -> String {
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

/// What a stranger wrote, without what would move a terminal's cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// Digits in groups of three: `97,116.17`.
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

/// So many things: `1 tick`, `2,000 ticks`.
pub(super) fn counted(count: u64, what: &str) -> String {
    let number = grouped(&count.to_string());
    if count == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, shown) in [("7", "7"), ("116.175", "116.175"), ("97116.17", "97,116.17"), ("1000000", "1,000,000")]
        {
            assert_eq!(grouped(number), shown);
        }
    }

    #[test]
    fn a_moment_is_said_with_as_much_of_its_date_as_is_needed() {
        let moment = Timestamp::from_second(1_751_199_177).unwrap().to_zoned(TimeZone::UTC);
        for (today, said) in
            [((2025, 6, 29), "12:12:57"), ((2025, 1, 1), "29 June 12:12:57"), ((2026, 6, 29), "29 June 2025 12:12:57")]
        {
            assert_eq!(seen_from(Date::constant(today.0, today.1, today.2), &moment), said);
        }
    }

    #[test]
    fn a_duration_is_said_briefly() {
        for (ms, said) in
            [(0, "0 s"), (340, "0.3 s"), (12_900, "12 s"), (75_000, "1 min 15 s"), (7_380_000, "2 h 3 min")]
        {
            assert_eq!(brief(Duration::from_millis(ms)), said);
        }
        assert_eq!(brief(Duration::from_secs(90_000)), "1 d 1 h");
    }

    #[test]
    fn what_something_took_is_said_with_three_digits() {
        for (micros, said) in [
            (0, "0.00 ms"),
            (1234, "1.23 ms"),
            (56_789, "56.8 ms"),
            (432_100, "432 ms"),
            (1_500_000, "1.50 s"),
            (61_000_000, "61.0 s"),
            (3_600_000_000, "3600 s"),
        ] {
            assert_eq!(exact(Duration::from_micros(micros)), said);
        }
    }

    #[test]
    fn a_stranger_cannot_move_the_cursor() {
        assert_eq!(plain("r1\x1b[2J\r\n\u{9b}x"), "r1 [2J   x");
    }
}
