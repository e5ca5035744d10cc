//! The rows of the table: the time, and for each currency the price and its change. Prices are rounded to two decimals,
//! so that they are aligned. If `btcfeed watch` prints JSON lines instead of the table, prices have all digits.

use super::paint::Paint;
use crate::cli::format::{self, grouped};
use crate::client::TickUpdate;
use crate::tick::{Currencies, Currency, Price};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// The content of a currency's cell, which depends on the width of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// The price, its change, and the change in percent.
    Wide,
    /// The price and its change.
    Middle,
    /// The price and an arrow.
    Narrow,
}

/// The width of the margin and the time.
const TIME_WIDTH: usize = 9;

impl Cell {
    /// Returns the widest cell that fits for all currencies, or `Narrow` if none does.
    pub(super) fn fitting(width: usize, currencies: usize) -> Cell {
        let fits = |cell: &Cell| TIME_WIDTH + cell.width() * currencies < width;
        [Cell::Wide, Cell::Middle].into_iter().find(fits).unwrap_or(Cell::Narrow)
    }

    /// Returns the currencies whose cells fit, at least one. The table leaves out the others.
    pub(super) fn visible(self, width: usize, currencies: Currencies) -> Currencies {
        let count = (width.saturating_sub(TIME_WIDTH + 1) / self.width()).max(1);
        currencies.iter().take(count).collect()
    }

    const fn width(self) -> usize {
        match self {
            Cell::Wide => 32,
            Cell::Middle => 23,
            Cell::Narrow => 13,
        }
    }

    /// Returns the names of the columns.
    pub(super) fn header(self, currencies: Currencies) -> String {
        let names = currencies.iter().map(|currency| match self {
            Cell::Wide => format!("{:>12}{:>11}{:>9}", format!("BTC/{currency}"), "change", "%"),
            Cell::Middle => format!("{:>12}{:>11}", format!("BTC/{currency}"), "change"),
            Cell::Narrow => format!("{:>11}  ", format!("BTC/{currency}")),
        });
        [format!(" {:<8}", "time")].into_iter().chain(names).collect()
    }

    /// Returns the row of a tick, with the changes since the prices in `before`.
    pub(super) fn row(
        self,
        tick: &TickUpdate,
        currencies: Currencies,
        before: &BTreeMap<Currency, Price>,
        paint: Paint,
    ) -> String {
        let time = format::local(tick.id).strftime("%H:%M:%S").to_string();
        let mut row = paint.dim(&format!(" {time}"));
        for currency in currencies.iter() {
            row += &match tick.prices.get(&currency) {
                Some(price) => self.cell(*price, before.get(&currency), paint),
                None => paint.dim(&format!("{:>12}{:1$}", "—", self.width() - 12)),
            };
        }
        row
    }

    fn cell(self, price: Price, before: Option<&Price>, paint: Paint) -> String {
        let change = before.map(|before| price.change_from(*before));
        let shown = grouped(&price.rounded().to_string());
        let (arrow, amount, percent) = match (change, before) {
            (Some(change), Some(before)) if !change.is_zero() => {
                let (arrow, sign) = if change.is_sign_positive() { ("▲", '+') } else { ("▼", '-') };
                let percent = (before.deviation(price) * Decimal::ONE_HUNDRED).round_dp(3);
                (arrow, grouped(&format!("{:.2}", change.abs().round_dp(2))), format!("{sign}{percent:.3}"))
            }
            (Some(_), _) => ("·", String::new(), String::new()),
            (None, _) => ("", String::new(), String::new()),
        };
        let change = match self {
            Cell::Wide => format!("  {arrow:1}{amount:>8}{percent:>9}"),
            Cell::Middle => format!("  {arrow:1}{amount:>8}"),
            Cell::Narrow => format!(" {arrow:1}"),
        };
        let change = match arrow {
            "▲" => paint.good(&change),
            "▼" => paint.bad(&change),
            _ => paint.dim(&change),
        };
        let width = if self == Cell::Narrow { 11 } else { 12 };
        format!("{shown:>width$}{change}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_content_depends_on_its_width() {
        let cell = |cell: Cell, price: &str, before: &str| {
            cell.cell(price.parse().unwrap(), before.parse().ok().as_ref(), Paint::NONE)
        };
        assert_eq!(cell(Cell::Wide, "97116.17", "97000.00"), "   97,116.17  ▲  116.17   +0.120");
        assert_eq!(cell(Cell::Wide, "97000.00", "97116.17"), "   97,000.00  ▼  116.17   -0.120");
        assert_eq!(cell(Cell::Middle, "97116.17", "97116.17"), "   97,116.17  ·        ");
        assert_eq!(cell(Cell::Narrow, "97116.17", "97000"), "  97,116.17 ▲");
        assert_eq!(cell(Cell::Middle, "97116.175", "97000.10000"), "   97,116.18  ▲  116.08");
        assert_eq!(cell(Cell::Wide, "97116.17", "none"), "   97,116.17                    ");
        for any in [Cell::Wide, Cell::Middle, Cell::Narrow] {
            assert_eq!(cell(any, "97116.17", "97000").chars().count(), any.width());
            assert_eq!(any.header(Currency::Usd.into()).chars().count(), TIME_WIDTH + any.width());
        }
    }

    #[test]
    fn two_currencies_fit_into_80_columns() {
        assert_eq!(
            [120, 80, 60, 40].map(|width| Cell::fitting(width, 2)),
            [Cell::Wide, Cell::Wide, Cell::Middle, Cell::Narrow]
        );
        let visible = |width: usize| {
            let cell = Cell::fitting(width, Currency::ALL.len());
            cell.visible(width, Currencies::all()).len()
        };
        assert_eq!([240, 120, 101, 80, 40, 10].map(visible), [7, 7, 7, 5, 2, 1], "as many as fit, but at least one");
    }
}
