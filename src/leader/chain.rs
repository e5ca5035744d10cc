//! The chain that ends with the newest entry of this replica's copy of the feed. In a chain, the `prev` of each entry
//! is the id of the entry before it.

use crate::feed::Entry;
use crate::tick::TickId;
use std::sync::Arc;

/// Returns those of `entries` that are in the same chain as the newest one. If Redis has two primaries at the same
/// time, this copy may get entries of two chains. An entry belongs to the other chain if its id is between the `prev`
/// and the id of an entry of the newest chain.
pub(super) fn newest_chain(entries: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
    let mut expected = TickId::from_ms(u64::MAX);
    let fits = |entry: &Arc<Entry>| {
        let fits = entry.id <= expected;
        if fits {
            expected = entry.prev;
        }
        fits
    };
    let mut chain: Vec<_> = entries.into_iter().rev().filter(fits).collect();
    chain.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Event;
    use crate::tick::Tick;

    #[test]
    fn entry_of_another_chain_is_not_restored() {
        let event = Event::Tick { tick: Tick::default(), outages: vec![] };
        let entry =
            |id, prev| Arc::new(Entry { id: TickId::from_ms(id), prev: TickId::from_ms(prev), event: event.clone() });
        // A primary that was cut off has taken the entry 3. This copy lacks the entry 5.
        let entries = [(1, 0), (2, 1), (3, 2), (4, 2), (6, 5), (7, 6)].map(|(id, prev)| entry(id, prev)).to_vec();
        let ids: Vec<_> = newest_chain(entries).iter().map(|entry| entry.id.ms()).collect();
        assert_eq!(ids, [1, 2, 4, 6, 7]);
        assert!(newest_chain(vec![]).is_empty());
    }
}
