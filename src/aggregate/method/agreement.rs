//! Outliers, and whether a majority of the sources agrees.
//!
//! Each value is compared with the median of the other values, so that a value does not vouch for itself. The farthest
//! one is left out first, because a wrong value also moves the median that the right ones are compared with.
//!
//! If the number of others is even, every value between the two middle ones is a median, and the median that is nearest
//! to the compared value counts. This protects the right values, whatever the wrong sources say. No right value is left
//! out if three conditions hold: the right values are more than half of all values, they differ from each other by at
//! most the allowed share, and none of their sources was an outlier before. The reason is that for each right value,
//! one of the medians is another right value, or is between two right values.

use super::combine::median;
use rust_decimal::Decimal;

/// The values that agree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agreement {
    /// The places of the values that agree, in ascending order.
    pub(super) kept: Vec<usize>,
    /// Their median.
    pub(super) median: Decimal,
}

/// Returns the values that agree, if they are more than half of all. `marked` tells which values are of sources that
/// were outliers before. The unmarked values are compared first. A marked value then counts only if it is at most half
/// of `share` away from the median of the unmarked ones that agree.
pub(super) fn agreement(values: &[Decimal], marked: &[bool], share: Decimal) -> Option<Agreement> {
    let half = share / Decimal::TWO;
    let unmarked = (0..values.len()).filter(|place| !marked[*place]).collect();
    let mut kept = agreeing(values, unmarked, share);
    if let Some(median) = median_of(values, &kept) {
        let returns = |place: &usize| marked[*place] && (values[*place] - median).abs() <= median * half;
        let returning: Vec<_> = (0..values.len()).filter(returns).collect();
        kept.extend(returning);
        kept.sort_unstable();
    }
    // Without a majority, nobody knows which sources are wrong. If some values are marked, the marks may be what
    // prevents a majority. All values are then compared anew, but with half of `share`.
    if kept.len() * 2 <= values.len() && values.len() > 1 && marked.contains(&true) {
        kept = agreeing(values, (0..values.len()).collect(), half);
    }
    let median = median_of(values, &kept)?;
    (kept.len() * 2 > values.len()).then_some(Agreement { kept, median })
}

/// Leaves out the farthest value, as long as one is further than `share` from the median of the others. Values that are
/// equally far are left out together, so that the order of the sources has no influence.
fn agreeing(values: &[Decimal], mut kept: Vec<usize>, share: Decimal) -> Vec<usize> {
    loop {
        let far: Vec<_> =
            kept.iter().filter_map(|place| Some((*place, excess(values, &kept, *place, share)?))).collect();
        let Some(farthest) = far.iter().map(|(_, distance)| *distance).max() else { return kept };
        kept.retain(|place| !far.contains(&(*place, farthest)));
    }
}

/// Returns the distance of a value from the median of the other values in `kept`, if it is more than `share` of this
/// median.
fn excess(values: &[Decimal], kept: &[usize], place: usize, share: Decimal) -> Option<Decimal> {
    let mut others: Vec<_> = kept.iter().filter(|other| **other != place).map(|other| values[*other]).collect();
    others.sort_unstable();
    let upper = *others.get(others.len() / 2)?;
    let lower = others[(others.len() - 1) / 2];
    let median = values[place].clamp(lower, upper);
    let distance = (values[place] - median).abs();
    (distance > median * share).then_some(distance)
}

fn median_of(values: &[Decimal], places: &[usize]) -> Option<Decimal> {
    median(&places.iter().map(|place| values[*place]).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the places of the values that agree, with a share of 1 %.
    fn kept(values: &[&str], marked: &[usize]) -> Option<Vec<usize>> {
        let marks: Vec<_> = (0..values.len()).map(|place| marked.contains(&place)).collect();
        let values: Vec<Decimal> = values.iter().map(|value| value.parse().unwrap()).collect();
        agreement(&values, &marks, Decimal::new(1, 2)).map(|agreement| agreement.kept)
    }

    #[test]
    fn outlier_of_any_size_is_left_out() {
        for liar in ["0.00000001", "50", "98.9", "102", "200", "1000000000"] {
            assert_eq!(kept(&["100", "100.5", liar], &[]), Some(vec![0, 1]), "{liar}");
            assert_eq!(kept(&[liar, "100", "100.5"], &[]), Some(vec![1, 2]), "{liar}");
        }
        assert_eq!(kept(&["100", "100.5", "101.505"], &[]), Some(vec![0, 1, 2]), "1 % above the nearest median");
        assert_eq!(kept(&["100", "100.5", "101.506"], &[]), Some(vec![0, 1]));
        assert_eq!(kept(&["100", "101", "101.9"], &[]), Some(vec![0, 1, 2]), "the first two agree, so both stay");
        assert_eq!(kept(&["100", "100", "100", "1", "1000000"], &[]), Some(vec![0, 1, 2]));
    }

    #[test]
    fn two_sources_must_agree_within_the_share() {
        assert_eq!(kept(&["100", "101"], &[]), Some(vec![0, 1]));
        assert_eq!(kept(&["100", "101.01"], &[]), None);
        assert_eq!(kept(&["100"], &[]), Some(vec![0]));
        assert_eq!(kept(&[], &[]), None);
    }

    #[test]
    fn outlier_returns_only_within_half_of_the_share() {
        assert_eq!(kept(&["100", "100", "100.6"], &[]), Some(vec![0, 1, 2]));
        assert_eq!(kept(&["100", "100", "100.6"], &[2]), Some(vec![0, 1]));
        assert_eq!(kept(&["100", "100", "100.5"], &[2]), Some(vec![0, 1, 2]));
        assert_eq!(kept(&["100", "100.6"], &[1]), None, "also if only one other is left");
        assert_eq!(kept(&["100", "100.5"], &[1]), Some(vec![0, 1]));
        assert_eq!(kept(&["100"], &[0]), None, "it does not vouch for itself");
    }

    #[test]
    fn there_is_no_agreement_without_a_majority() {
        assert_eq!(kept(&["100", "100", "105", "105"], &[]), None);
        assert_eq!(kept(&["100", "102", "104"], &[]), None);
        assert_eq!(kept(&["100", "100", "105", "105", "105"], &[]), Some(vec![2, 3, 4]));
        let moved = ["100", "100", "105", "105.1", "105.2"];
        assert_eq!(kept(&moved, &[2, 3, 4]), Some(vec![2, 3, 4]), "the marks are forgotten if most sources have moved");
        assert_eq!(kept(&["100", "100.1", "100"], &[0, 1, 2]), Some(vec![0, 1, 2]));
    }
}
