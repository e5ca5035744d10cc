//! Moments, durations and other people's words, as people read them.

use crate::tick::TickId;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::Duration;

/// The time of day on this machine's clock, with the date if it is another day's.
pub(super) fn clock(id: TickId) -> String {
    let (moment, now) = (local(id), local(TickId::now()));
    let form = if moment.date() == now.date() { "%H:%M:%S" } else { "%-d %B %H:%M:%S" };
    moment.strftime(form).to_string()
}

/// A moment on this machine's clock.
pub(super) fn local(id: TickId) -> jiff::Zoned {
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

/// What a stranger wrote, without what would move a terminal's cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_stranger_cannot_move_the_cursor() {
        assert_eq!(plain("r1\x1b[2J\r\n\u{9b}x"), "r1 [2J   x");
    }
}
