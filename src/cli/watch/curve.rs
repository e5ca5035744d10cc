//! A small curve of the last prices, one line high.

use crate::tick::Price;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const TOP: Decimal = Decimal::from_parts(7, 0, 0, false, 0);

/// Returns the curve of the newest prices that fit into `width` characters, with one bar for each price.
pub(super) fn curve<'a>(prices: impl DoubleEndedIterator<Item = &'a Price>, width: usize) -> Option<Curve> {
    let mut shown: Vec<_> = prices.rev().take(width).copied().collect();
    shown.reverse();
    let (low, high) = (*shown.iter().min()?, *shown.iter().max()?);
    let range = high.change_from(low);
    let bar = |price: &Price| {
        // If all prices are equal, the bar has the middle height.
        let step = (price.change_from(low) * TOP).checked_div(range).map_or(Some(3), |step| step.round().to_usize());
        step.and_then(|step| BARS.get(step)).copied().unwrap_or('█')
    };
    Some(Curve { bars: shown.iter().map(bar).collect(), low, high })
}

/// A curve, and the lowest and the highest of its prices.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Curve {
    pub(super) bars: String,
    pub(super) low: Price,
    pub(super) high: Price,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(prices: &[&str], width: usize) -> Option<String> {
        let prices: Vec<Price> = prices.iter().map(|price| price.parse().unwrap()).collect();
        curve(prices.iter(), width).map(|curve| curve.bars)
    }

    #[test]
    fn curve_spans_lowest_to_highest_price() {
        assert_eq!(bars(&["100", "107", "103.2", "101", "100"], 80).unwrap(), "▁█▄▂▁");
        assert_eq!(bars(&["5", "5"], 80).unwrap(), "▄▄");
        assert_eq!(bars(&[], 80), None);
    }

    #[test]
    fn curve_shows_the_newest_prices_that_fit() {
        assert_eq!(bars(&["1", "900000000", "100", "107"], 2).unwrap(), "▁█");
    }
}
