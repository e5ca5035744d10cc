//! Marks of the window's entries. They tell where prices change, and which entries are not plain. A plain entry is a
//! tick that ends no outage and has prices in the same currencies as the tick before it. With the marks, a reader that
//! wants few ticks skips the others with a binary search, so the cost of a replay depends on the ticks that it sends,
//! and not on its length.

use crate::feed::{Entry, Event};
use crate::tick::{Currencies, Currency, Price, TickId};
use std::collections::VecDeque;
use std::sync::Arc;

/// Two conditions for the ticks that a reader may skip. The reader has examined an entry, and skips the ticks directly
/// after it, up to the first entry that must not be skipped. A skipped tick meets both conditions, is plain, and has
/// the id of the entry before it as its `prev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Upper bound of their ids, exclusive.
    pub before: TickId,
    /// Currencies in which their prices must be the same as in the tick before them. If `None`, any price may differ.
    pub unchanged: Option<Currencies>,
}

/// Counters at one entry. They never decrease, so a binary search finds the entry where a counter changes. Overflow is
/// harmless, because they are only compared for equality within one window.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// Number of entries so far that are not plain or do not continue the entry before them.
    notable: u32,
    /// Number of changes of the price in each currency.
    changes: [u32; Currency::ALL.len()],
}

/// Marks of all entries of a window.
#[derive(Default)]
pub(super) struct Marks {
    list: VecDeque<Mark>,
    newest: Mark,
    currencies: Currencies,
    prices: [Option<Price>; Currency::ALL.len()],
}

impl Marks {
    /// Adds the mark of the next entry. `is_next` is true if this entry continues the previous one.
    pub(super) fn push(&mut self, entry: &Entry, is_next: bool) {
        let is_plain = match &entry.event {
            Event::Status(_) => false,
            Event::Tick { tick, outages } => {
                for (currency, price) in &tick.prices {
                    let last = self.prices[*currency as usize].replace(*price);
                    let count = &mut self.newest.changes[*currency as usize];
                    *count = count.wrapping_add(u32::from(last != Some(*price)));
                }
                let before = std::mem::replace(&mut self.currencies, tick.currencies());
                outages.is_empty() && before == self.currencies
            }
        };
        self.newest.notable = self.newest.notable.wrapping_add(u32::from(!is_plain || !is_next));
        self.list.push_back(self.newest);
    }

    pub(super) fn pop_front(&mut self) {
        self.list.pop_front();
    }

    /// Returns the index of the last entry that can be skipped after the one at `index`, or `index` if there is none.
    pub(super) fn last_skipped(&self, entries: &VecDeque<Arc<Entry>>, index: usize, skip: Skip) -> usize {
        let Some(here) = self.list.get(index) else { return index };
        let is_skipped = |other: usize| {
            let mark = &self.list[other];
            let is_unchanged = |currency| mark.changes[currency as usize] == here.changes[currency as usize];
            mark.notable == here.notable
                && skip.unchanged.is_none_or(|currencies| currencies.iter().all(is_unchanged))
                && entries[other].id < skip.before
        };
        let (mut skipped, mut end) = (index, self.list.len());
        while end - skipped > 1 {
            let middle = usize::midpoint(skipped, end);
            if is_skipped(middle) { skipped = middle } else { end = middle }
        }
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{FeedState, Outage, Status};
    use crate::tick::Tick;

    const ANY_PRICE: Skip = Skip { before: TickId::from_ms(u64::MAX), unchanged: None };

    #[derive(Default)]
    struct Feed {
        marks: Marks,
        entries: VecDeque<Arc<Entry>>,
    }

    impl Feed {
        fn push(&mut self, event: Event) {
            let number = self.entries.len() as u64;
            let entry = Entry { id: TickId::from_ms(number + 1), prev: TickId::from_ms(number), event };
            self.marks.push(&entry, true);
            self.entries.push_back(Arc::new(entry));
        }

        fn tick(&mut self, prices: &[(Currency, u32)], outages: Vec<Outage>) {
            let prices = prices.iter().map(|(currency, price)| (*currency, price.to_string().parse().unwrap()));
            self.push(Event::Tick { tick: Tick { prices: prices.collect(), ..Tick::default() }, outages });
        }

        fn last_skipped(&self, index: usize, skip: Skip) -> usize {
            self.marks.last_skipped(&self.entries, index, skip)
        }
    }

    #[test]
    fn skip_ends_where_a_price_changes() {
        let mut feed = Feed::default();
        for (usd, eur) in [(1, 1), (1, 2), (1, 2), (1, 1), (2, 1), (2, 1)] {
            feed.tick(&[(Currency::Usd, usd), (Currency::Eur, eur)], vec![]);
        }
        let unchanged = |currencies| Skip { unchanged: Some(currencies), ..ANY_PRICE };
        let ends = |skip| [0, 1, 2, 3, 4, 5].map(|index| feed.last_skipped(index, skip));
        assert_eq!(ends(unchanged(Currency::Usd.into())), [3, 3, 3, 3, 5, 5]);
        assert_eq!(ends(unchanged(Currency::Eur.into())), [0, 2, 2, 5, 5, 5]);
        assert_eq!(ends(unchanged(Currencies::USD_EUR)), [0, 2, 2, 3, 5, 5]);
        assert_eq!(ends(ANY_PRICE), [5; 6]);
        assert_eq!(ends(Skip { before: TickId::from_ms(4), unchanged: None }), [2, 2, 2, 3, 4, 5]);
    }

    #[test]
    fn skip_ends_where_an_entry_is_not_plain() {
        let (usd, both) = ([(Currency::Usd, 1)], [(Currency::Usd, 1), (Currency::Eur, 1)]);
        let mut feed = Feed::default();
        feed.tick(&usd, vec![]);
        feed.tick(&usd, vec![]);
        feed.push(Event::Status(Status { state: FeedState::Live, since: TickId::ZERO, reason: String::new() }));
        feed.tick(&usd, vec![]);
        feed.tick(&both, vec![]);
        feed.tick(&both, vec![Outage::of_sources(TickId::ZERO, vec![Currency::Usd])]);
        feed.tick(&both, vec![]);
        let ends: Vec<_> = (0..feed.entries.len()).map(|index| feed.last_skipped(index, ANY_PRICE)).collect();
        assert_eq!(ends, [1, 1, 3, 3, 4, 6, 6]);
    }
}
