//! The value of a source: the middle of its book, or its last trade.

use super::reading::SourceReading;
use crate::tick::{Input, Price, TickId};
use rust_decimal::Decimal;
use std::time::Duration;

/// The sum of bid and ask must be at least this many times the spread (ask minus bid). So the spread is at most 1 % of
/// the middle, which is half of the sum. A book with a wider spread is ignored.
const SPREADS_IN_SUM: Decimal = Decimal::from_parts(200, 0, 0, false, 0);
/// The number of decimals of a value. Further digits are rounded half to even.
const DECIMALS: u32 = 8;

/// An answer is not too old if its age is at most this number of least intervals. A least interval is the minimum time
/// between two requests to the source. One interval is for the age of the answer when it arrives, one is for the time
/// in which the answer is repeated, and one is a reserve.
const LEAST_INTERVALS: u32 = 3;

/// Returns the value of a source, or the reason why it has none. If the least interval of the source is long, an answer
/// that is older than `max_age` still has a value.
pub(super) fn value(reading: &SourceReading, max_age: Duration, now: TickId) -> Result<Price, String> {
    let input = &reading.input;
    let max_age = max_age.max(reading.least_interval * LEAST_INTERVALS);
    let middle = middle(input.bid, input.ask);
    if middle.or(input.last).is_none() {
        return Err("no value: no last trade, and no book whose spread is at most 1 %".to_owned());
    }
    // The time of the last trade does not tell the age of the book.
    let trade_time = reading.trade_time.filter(|_| middle.is_none());
    let times = [("its time", input.time), ("the time of its last trade", trade_time), ("its arrival", input.fetched)];
    for (name, time) in times.into_iter().filter_map(|(name, time)| Some((name, time?))) {
        if now.since(time) > max_age {
            return Err(format!("old: {name} is {}, {} s ago", time.timedate(), now.since(time).as_secs()));
        }
        if time.since(now) > max_age {
            return Err(format!("invalid time: {name} is {}, too far in the future", time.timedate()));
        }
    }
    value_of(input).ok_or_else(|| "no value: the price is too small".to_owned())
}

/// Returns the value that an answer stands for, whatever its age.
pub(super) fn value_of(input: &Input) -> Option<Price> {
    let value = middle(input.bid, input.ask).or(input.last)?;
    Price::new(value.value().round_dp(DECIMALS).normalize())
}

/// Returns the middle of a book that is not crossed and not too wide.
fn middle(bid: Option<Price>, ask: Option<Price>) -> Option<Price> {
    let (bid, ask) = (bid?, ask?);
    let is_narrow = (ask.value() - bid.value()) * SPREADS_IN_SUM <= ask.value() + bid.value();
    (bid <= ask && is_narrow).then(|| bid.midpoint(ask))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currency;

    const NOW: TickId = TickId::from_ms(1_795_166_431_075);
    const MAX_AGE: Duration = Duration::from_secs(60);

    fn reading(bid: &str, ask: &str, last: &str) -> SourceReading {
        let price = |text: &str| text.parse().ok();
        let (bid, ask, last) = (price(bid), price(ask), price(last));
        let input = Input { bid, ask, last, ..Input::new("a", Currency::Usd) };
        SourceReading::without_price(input)
    }

    fn of(bid: &str, ask: &str, last: &str) -> Option<String> {
        value(&reading(bid, ask, last), MAX_AGE, NOW).ok().map(|price| price.to_string())
    }

    #[test]
    fn value_is_the_middle_or_the_last_trade() {
        assert_eq!(of("73367.96", "73385.27", "1").as_deref(), Some("73376.615"));
        assert_eq!(of("100", "100", "1").as_deref(), Some("100"), "a spread of zero");
        assert_eq!(of("99.5", "100.5", "1").as_deref(), Some("100"), "a spread of 1 %");
        assert_eq!(of("99.49", "100.5", "98").as_deref(), Some("98"), "a wider spread");
        assert_eq!(of("100.01", "100", "98").as_deref(), Some("98"), "a crossed book");
        assert_eq!(of("", "100", "98").as_deref(), Some("98"), "half of a book");
        assert_eq!(of("100", "90", ""), None);
        assert_eq!(of("0.00000001", "0.00000001", "").as_deref(), Some("0.00000001"));
        assert_eq!(of("1.000000005", "1.000000005", "").as_deref(), Some("1"), "half to even");
    }

    #[test]
    fn trade_time_dates_the_last_trade_only() {
        let old = Some(NOW.minus(MAX_AGE + Duration::from_millis(1)));
        let with = |bid, time, trade_time, fetched| {
            let mut reading = reading(bid, "100.1", "100");
            (reading.input.time, reading.input.fetched, reading.trade_time) = (time, fetched, trade_time);
            value(&reading, MAX_AGE, NOW).err()
        };
        assert_eq!(with("100", None, old, None), None, "a quiet market with a living book");
        assert!(with("", None, old, None).unwrap().starts_with("old: the time of its last trade is 2026-11-20T"));
        assert!(with("100", old, None, None).unwrap().starts_with("old: its time is 2026-11-20T"));
        assert!(with("100", None, None, old).unwrap().starts_with("old: its arrival is 2026-11-20T"));
        let future = Some(NOW.plus(MAX_AGE + Duration::from_millis(1)));
        assert!(with("100", future, None, None).unwrap().ends_with("in the future"));
        assert_eq!(with("100", Some(NOW.minus(MAX_AGE)), None, Some(NOW.plus(MAX_AGE))), None);
    }

    #[test]
    fn source_that_is_rarely_asked_may_be_older() {
        let with = |least_s, age_s| {
            let mut reading = reading("", "", "100");
            reading.least_interval = Duration::from_secs(least_s);
            reading.input.time = Some(NOW.minus(Duration::from_secs(age_s)));
            value(&reading, MAX_AGE, NOW).is_ok()
        };
        // An answer of CoinGecko is up to a minute old when it arrives, and is repeated for a minute.
        assert_eq!([60, 61, 125, 180, 181].map(|age| with(60, age)), [true, true, true, true, false]);
        assert_eq!([60, 61].map(|age| with(1, age)), [true, false]);
    }
}
