//! Clamp, median, rounding, confidence and spread. All steps before the rounding are exact.

use crate::tick::{MoveBound, Price};
use rust_decimal::Decimal;

/// The number of decimals of a price: cents, rounded half to even.
const CENTS: u32 = 2;
const FOUR: Decimal = Decimal::from_parts(4, 0, 0, false, 0);

/// A price, and how far the sources differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Combined {
    /// The median of the used values, rounded to the cent.
    pub price: Price,
    /// The distance from the price to the farther of the 25th and the 75th percentile of the used values.
    pub confidence: Decimal,
    /// The highest minus the lowest used value.
    pub spread: Decimal,
    /// The number of used values.
    pub sources: usize,
    /// True if the price comes from a single source that moved further than its [`MoveBound`] allows.
    pub is_bounded: bool,
}

/// Combines values that agree. Returns the price, and the used values: each value after the clamp. `bound` applies if
/// there is only one value.
pub(super) fn combine(
    values: &[Decimal],
    clamp_share: Decimal,
    bound: Option<MoveBound>,
) -> (Option<Combined>, Vec<Decimal>) {
    let Some(middle) = median(values) else { return (None, Vec::new()) };
    let (lowest, highest) = match bound.filter(|_| values.len() == 1) {
        Some(MoveBound { previous, max_move }) => (previous.value() - max_move, previous.value() + max_move),
        None => (middle - middle * clamp_share, middle + middle * clamp_share),
    };
    let used: Vec<_> = values.iter().map(|value| (*value).clamp(lowest, highest)).collect();
    let is_bounded = values.len() == 1 && used != values;
    let combined = median(&used).and_then(rounded_price).map(|price| {
        let mut sorted = used.clone();
        sorted.sort_unstable();
        let far = |quarters| (percentile(&sorted, quarters) - price.value()).abs();
        let confidence = cents(far(1).max(far(3)));
        let spread = cents(sorted[sorted.len() - 1] - sorted[0]);
        Combined { price, confidence, spread, sources: used.len(), is_bounded }
    });
    (combined, used)
}

/// Returns the median: the middle value, or the mean of the two middle values.
pub(super) fn median(values: &[Decimal]) -> Option<Decimal> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[sorted.len() / 2 - 1] + upper) / Decimal::TWO })
}

/// Returns a percentile: the 25th if `quarters` is 1, the 75th if it is 3. It is interpolated linearly between the two
/// nearest values.
fn percentile(sorted: &[Decimal], quarters: usize) -> Decimal {
    let position = (sorted.len() - 1) * quarters;
    let (below, part) = (position / 4, position % 4);
    let step = sorted.get(below + 1).map_or(Decimal::ZERO, |above| above - sorted[below]);
    sorted[below] + step * Decimal::from(part) / FOUR
}

/// Rounds a value to the cent, half to even. The result always has two decimals.
fn cents(value: Decimal) -> Decimal {
    let mut cents = value.round_dp(CENTS);
    cents.rescale(CENTS);
    cents
}

/// Returns a value as a price, rounded to the cent. A value that would be rounded to zero keeps its digits.
fn rounded_price(value: Decimal) -> Option<Price> {
    Price::new(cents(value)).or_else(|| Price::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> [String; 3] {
        let values: Vec<Decimal> = values.iter().map(|value| value.parse().unwrap()).collect();
        let combined = combine(&values, Decimal::new(5, 3), None).0.unwrap();
        [combined.price.to_string(), combined.confidence.to_string(), combined.spread.to_string()]
    }

    #[test]
    fn price_is_the_median_in_cents_half_to_even() {
        assert_eq!(of(&["97120.5", "97100.10", "97110.25"]), ["97110.25", "5.12", "20.40"]);
        assert_eq!(of(&["97110.245"])[0], "97110.24");
        assert_eq!(of(&["97110.255"])[0], "97110.26");
        assert_eq!(of(&["97110.24", "97110.25"])[0], "97110.24");
        assert_eq!(of(&["73285"]), ["73285.00", "0.00", "0.00"]);
        assert_eq!(of(&["0.00000001"])[0], "0.00000001", "a price is never zero");
    }

    #[test]
    fn confidence_is_the_farther_percentile() {
        // Percentiles as statistics.quantiles(values, n=4, method="inclusive") of Python has them: 1001 and 1004.
        assert_eq!(of(&["1000", "1001", "1002", "1004", "1004"]), ["1002.00", "2.00", "4.00"]);
        // 1000.75 and 1003.25.
        assert_eq!(of(&["1000", "1001", "1003", "1004"]), ["1002.00", "1.25", "4.00"]);
        assert_eq!(of(&["1000", "1001"]), ["1000.50", "0.25", "1.00"]);
    }

    #[test]
    fn values_are_clamped_around_their_median() {
        let values = [Decimal::from(1000), Decimal::from(1009), Decimal::from(1000)];
        let (combined, used) = combine(&values, Decimal::new(5, 3), None);
        assert_eq!(used, [Decimal::from(1000), Decimal::from(1005), Decimal::from(1000)]);
        assert_eq!(combined.unwrap().spread.to_string(), "5.00");
    }

    #[test]
    fn bound_applies_to_a_single_value_only() {
        let bound = MoveBound { previous: "1000".parse().unwrap(), max_move: Decimal::ONE };
        let price = |values: &[i64]| {
            let values: Vec<_> = values.iter().map(|value| Decimal::from(*value)).collect();
            let combined = combine(&values, Decimal::new(5, 3), Some(bound)).0.unwrap();
            (combined.price.to_string(), combined.is_bounded)
        };
        assert_eq!(price(&[1003]), ("1001.00".to_owned(), true));
        assert_eq!(price(&[990]), ("999.00".to_owned(), true));
        assert_eq!(price(&[1001]), ("1001.00".to_owned(), false));
        assert_eq!(price(&[1003, 1003]), ("1003.00".to_owned(), false));
    }
}
