//! Sources that repeat themselves while the others move.
//!
//! A cache in front of an exchange, or an exchange whose matching has stopped, repeats its last answer. If a source
//! gives no time, the age of this answer is not known. A quiet market is not frozen: its book or a time in its answers
//! moves.

use super::reading::SourceReading;
use crate::tick::{Input, Price, TickId};
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

/// What is compared between two answers of a source. The first part is prices and volume, the second times.
type Fingerprint = ((Option<Price>, Option<Price>, Option<Price>, Option<Decimal>), (Option<TickId>, Option<TickId>));

/// The last answers of the sources in one currency.
#[derive(Debug, Default)]
pub(super) struct FrozenDetector(BTreeMap<String, LastAnswer>);

#[derive(Debug)]
struct LastAnswer {
    fingerprint: Fingerprint,
    /// True if the answer comes from an audit, which has neither the volume nor the time of the last trade.
    is_partial: bool,
    /// The number of polls in which the source repeated this answer while most of the others moved.
    repeats: u32,
}

/// The difference between the last two answers of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// A price or the volume differs.
    Moved,
    /// Only a time differs.
    Alive,
    /// Nothing differs.
    Nothing,
}

impl FrozenDetector {
    /// Notes the answers of a poll. Returns the sources that have repeated themselves in `polls` polls.
    pub(super) fn update(&mut self, readings: &[SourceReading], polls: u32) -> BTreeSet<String> {
        let answered = readings.iter().filter(|reading| reading.input.excluded.is_none() && !reading.is_repeated);
        let mut changes: Vec<(&str, Change)> = Vec::new();
        for reading in answered {
            let input = &reading.input;
            let market = (input.bid, input.ask, input.last, reading.volume);
            let fingerprint = (market, (input.time, reading.trade_time));
            if let Some(last) = self.0.get_mut(&input.source) {
                let ((bid, ask, price, _), (time, _)) = last.fingerprint;
                if std::mem::take(&mut last.is_partial)
                    && (bid, ask, price, time) == (input.bid, input.ask, input.last, input.time)
                {
                    // Volume or trade time may have changed, so this answer counts as neither repeat nor change.
                    last.fingerprint = fingerprint;
                    continue;
                }
                let change = match &last.fingerprint {
                    (of, _) if *of != market => Change::Moved,
                    known if *known != fingerprint => Change::Alive,
                    _ => Change::Nothing,
                };
                last.fingerprint = fingerprint;
                changes.push((&input.source, change));
            } else {
                self.0.insert(input.source.clone(), LastAnswer { fingerprint, is_partial: false, repeats: 0 });
            }
        }
        for (source, change) in &changes {
            let Some(last) = self.0.get_mut(*source) else { continue };
            let others = || changes.iter().filter(|(other, _)| other != source);
            let moved = others().filter(|(_, change)| *change == Change::Moved).count();
            match change {
                Change::Moved | Change::Alive => last.repeats = 0,
                Change::Nothing if moved * 2 > others().count() => last.repeats = last.repeats.saturating_add(1),
                Change::Nothing => {}
            }
        }
        self.0.iter().filter(|(_, last)| last.repeats >= polls).map(|(source, _)| source.clone()).collect()
    }

    /// Returns the number of repeats of each source that has repeated its answer.
    pub(super) fn repeats(&self) -> BTreeMap<String, u32> {
        let repeating = self.0.iter().filter(|(_, last)| last.repeats > 0);
        repeating.map(|(source, last)| (source.clone(), last.repeats)).collect()
    }

    /// Sets the last answer of a source, from the audit of an earlier term, and its number of repeats.
    pub(super) fn resume(&mut self, input: &Input, repeats: u32) {
        let fingerprint = ((input.bid, input.ask, input.last, None), (input.time, None));
        self.0.insert(input.source.clone(), LastAnswer { fingerprint, is_partial: true, repeats });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currency;

    fn reading(source: &str, last: u32, time_ms: Option<u64>) -> SourceReading {
        let (last, time) = (last.to_string().parse().ok(), time_ms.map(TickId::from_ms));
        let input = Input { last, time, ..Input::new(source, Currency::Usd) };
        SourceReading { volume: Some(Decimal::ONE), ..SourceReading::without_price(input) }
    }

    /// Returns the first of 20 polls in which `a` is frozen. `of` gives the readings of a poll.
    fn frozen_after(of: impl Fn(u32) -> Vec<SourceReading>) -> Option<u32> {
        let mut detector = FrozenDetector::default();
        (1..=20).find(|poll| detector.update(&of(*poll), 3).contains("a"))
    }

    #[test]
    fn source_is_frozen_while_the_others_move() {
        let moving = |poll| vec![reading("a", 100, None), reading("b", 100 + poll, None), reading("c", 100, None)];
        assert_eq!(frozen_after(moving), None, "only one of two others moves");
        let moving = |poll| vec![reading("a", 100, None), reading("b", poll, None), reading("c", 100 + poll, None)];
        assert_eq!(frozen_after(moving), Some(4), "the first answer, and three that repeat it");
        assert_eq!(frozen_after(|_| vec![reading("a", 100, None), reading("b", 100, None)]), None, "a quiet market");
        assert_eq!(frozen_after(|_| vec![reading("a", 100, None)]), None, "a single source");
        let paused = |poll| {
            let a = SourceReading { is_repeated: poll % 2 == 0, ..reading("a", 100, None) };
            vec![a, reading("b", poll, None)]
        };
        assert_eq!(frozen_after(paused), Some(7), "polls in which the source was not asked do not count");
    }

    #[test]
    fn new_leader_goes_on_counting() {
        let readings = |a: u32, b: u32| [reading("a", a, None), reading("b", b, None)];
        let mut old = FrozenDetector::default();
        for b in 1..=3 {
            assert!(old.update(&readings(100, b), 3).is_empty());
        }
        assert_eq!(old.repeats(), BTreeMap::from([("a".to_owned(), 2)]));
        let resumed = |repeats| {
            let mut new = FrozenDetector::default();
            new.resume(&readings(100, 3)[0].input, repeats);
            new.resume(&readings(100, 3)[1].input, 0);
            new
        };
        let frozen = |new: &mut FrozenDetector, a, b| new.update(&readings(a, b), 3).contains("a");
        let mut new = resumed(2);
        // The volume may have changed before the first answer.
        assert_eq!([4, 5].map(|b| frozen(&mut new, 100, b)), [false, true]);
        assert!(frozen(&mut resumed(3), 100, 4), "a source that was frozen stays so");
        assert!(!frozen(&mut resumed(3), 101, 4));
    }

    #[test]
    fn quiet_source_that_is_alive_is_not_frozen() {
        let dated = |poll| vec![reading("a", 100, Some(u64::from(poll))), reading("b", 100 + poll, None)];
        assert_eq!(frozen_after(dated), None, "its time moves");
        let mut detector = FrozenDetector::default();
        let mut is_frozen =
            |a: u32, b: u32| detector.update(&[reading("a", a, None), reading("b", b, None)], 3).len() == 1;
        assert_eq!([1, 2, 3, 4].map(|poll| is_frozen(100, poll)), [false, false, false, true]);
        assert!(!is_frozen(101, 5), "the first change ends it");
    }
}
