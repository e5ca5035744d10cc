//! The rule of version 0.2.0. The table of bounds in `docs/method.md` compares this rule with method 1. The price is
//! the median of the last trades that are at most 5 % away from a reference. The reference is the median of all trades
//! or, if fewer than three sources answered and there is an earlier price, that price.

use rust_decimal::Decimal;

/// A feed whose prices are made by this rule.
#[derive(Default)]
pub(super) struct OldRule {
    last: Option<Decimal>,
}

impl OldRule {
    pub(super) fn price(&mut self, values: &[Decimal]) -> Option<Decimal> {
        let middle = median(values)?;
        let reference = self.last.filter(|_| values.len() < 3).unwrap_or(middle);
        let is_close = |value: &Decimal| (*value - reference).abs() / reference <= Decimal::new(5, 2);
        let price = median(&values.iter().copied().filter(is_close).collect::<Vec<_>>());
        self.last = price.or(self.last);
        price
    }
}

fn median(values: &[Decimal]) -> Option<Decimal> {
    super::super::combine::median(values)
}
