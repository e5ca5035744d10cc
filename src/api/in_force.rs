//! The price in force at a moment, and the average over a time before it.
//!
//! A tick is in force from its moment until the next tick with a price in the same currency, unless the feed says that
//! there is a gap between the two: the later tick reports an outage, or entries between them are missing. In a gap no
//! price is in force. The newest price is in force until it is stale. If the feed has an entry from a time when this
//! price was stale already, no new price came in time. Then a gap begins right after the tick of this price.

use crate::feed::{Continuity, Entry, Event, Gap, GapReason};
use crate::tick::{Currency, Price, TickId};
use rust_decimal::Decimal;
use std::sync::Arc;
use std::time::Duration;

/// The number of decimals of an average.
const DECIMALS: u32 = 8;
/// The `before` of a gap whose end is not known.
pub(crate) const OPEN: TickId = TickId::from_ms(u64::MAX);

/// A time in which a price was in force, or a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    /// The price and the id of its tick, or the reason of the gap.
    price: Result<(Price, TickId), GapReason>,
    from: TickId,
    /// The first moment after it.
    to: TickId,
}

/// The prices of one currency, in force one after the other.
#[derive(Debug)]
pub(crate) struct Timeline(Vec<Stretch>);

impl Timeline {
    /// The timeline of `currency` in consecutive `entries`. It begins with the first price, or with the outage that
    /// this price ends. The newest price is in force until `stale_after` after its tick.
    pub(crate) fn of(entries: &[Arc<Entry>], currency: Currency, stale_after: Duration) -> Timeline {
        let mut stretches: Vec<Stretch> = Vec::new();
        let (mut last, mut missing) = (None, None);
        for entry in entries {
            missing = match last.map(|last| entry.continues(last)) {
                Some(Continuity::Missed) => Some(GapReason::HistoryExpired),
                Some(Continuity::Lost) => Some(GapReason::HistoryLost),
                _ => missing,
            };
            last = Some(entry.id);
            let Event::Tick { tick, outages } = &entry.event else { continue };
            let Some(price) = tick.prices.get(&currency) else { continue };
            let outage = outages.iter().find(|outage| outage.currencies.contains(&currency));
            let (reason, mut after) =
                (outage.map(|outage| outage.reason).or(missing.take()), outage.map(|of| of.after));
            if let Some(before) = stretches.last_mut() {
                // The price before a gap was in force only at the moment of its tick, so its stretch has no length.
                before.to = if reason.is_some() { before.from } else { entry.id };
                after = Some(before.from);
            }
            let gap = reason.zip(after).map(|(reason, after)| (Err(reason), after.next()));
            stretches.extend(gap.map(|(price, from)| Stretch { price, from, to: entry.id }));
            let to = entry.id.plus(stale_after).next();
            stretches.push(Stretch { price: Ok((*price, entry.id)), from: entry.id, to });
        }
        // The last price was in force only at the moment of its tick in two cases: entries after it are missing, or it
        // was stale at the last entry. In the second case, the next tick in the currency will report an outage.
        let is_over = |newest: &Stretch| missing.is_some() || last.is_some_and(|last| last >= newest.to);
        if let Some(newest) = stretches.last_mut().filter(|newest| is_over(newest)) {
            newest.to = newest.from;
            let reason = missing.unwrap_or(GapReason::SourceOutage);
            let from = newest.from.next();
            stretches.push(Stretch { price: Err(reason), from, to: OPEN });
        }
        Timeline(stretches)
    }

    /// Returns the price in force at a moment, and the id of its tick.
    ///
    /// # Errors
    /// The gap that contains the moment, if the timeline has one.
    pub(crate) fn at(&self, moment: TickId) -> Result<(Price, TickId), Option<Gap>> {
        let contains = |of: &&Stretch| of.from == moment || (of.from..of.to).contains(&moment);
        let stretch = self.0.iter().find(contains).ok_or(None)?;
        stretch
            .price
            .map_err(|reason| Some(Gap { after: stretch.from.before(), before: stretch.to, reason, only: None }))
    }

    /// Returns the average of the prices in the time after `from` up to `to`, each weighted by the time in which it was
    /// in force, and the number of milliseconds in which there was a price in force. If this number is 0, there is no
    /// average.
    pub(crate) fn average(&self, from: TickId, to: TickId) -> (Option<Price>, u64) {
        let (mut sum, mut covered) = (Decimal::ZERO, 0);
        for stretch in &self.0 {
            let Ok((price, _)) = stretch.price else { continue };
            let ms = stretch.to.min(to).ms().saturating_sub(stretch.from.max(from).ms());
            sum += price.value() * Decimal::from(ms);
            covered += ms;
        }
        let average = (covered > 0).then(|| (sum / Decimal::from(covered)).round_dp(DECIMALS).normalize());
        (average.and_then(Price::new), covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{FeedState, Outage, Status};
    use crate::tick::Tick;

    const STALE: Duration = Duration::from_millis(15);

    fn id(ms: u64) -> TickId {
        TickId::from_ms(1000 + ms)
    }

    fn tick(ms: u64, prev: u64, price: &str, outages: Vec<Outage>) -> Arc<Entry> {
        let tick = Tick { prices: [(Currency::Usd, price.parse().unwrap())].into(), ..Tick::default() };
        Arc::new(Entry { id: id(ms), prev: id(prev), event: Event::Tick { tick, outages } })
    }

    fn euros(ms: u64, prev: u64) -> Arc<Entry> {
        let tick = Tick { prices: [(Currency::Eur, "9".parse().unwrap())].into(), ..Tick::default() };
        Arc::new(Entry { id: id(ms), prev: id(prev), event: Event::Tick { tick, outages: vec![] } })
    }

    fn timeline(entries: &[Arc<Entry>]) -> Timeline {
        Timeline::of(entries, Currency::Usd, STALE)
    }

    fn at(timeline: &Timeline, ms: u64) -> Result<String, Option<(u64, u64)>> {
        let gap = |gap: Gap| (gap.after.ms() - 1000, gap.before.ms() - 1000);
        timeline.at(id(ms)).map(|(price, _)| price.to_string()).map_err(|found| found.map(gap))
    }

    #[test]
    fn tick_is_in_force_until_the_next_one() {
        let status = Status { state: FeedState::Live, since: id(0), reason: String::new() };
        let status = Arc::new(Entry { id: id(5), prev: id(0), event: Event::Status(status) });
        let timeline = timeline(&[tick(0, 0, "10", vec![]), status, tick(20, 5, "20", vec![])]);
        assert_eq!(at(&timeline, 0).unwrap(), "10");
        assert_eq!(at(&timeline, 19).unwrap(), "10", "without an outage, the time between the ticks does not matter");
        assert_eq!(at(&timeline, 20).unwrap(), "20");
        assert_eq!(at(&timeline, 35).unwrap(), "20");
        assert_eq!(at(&timeline, 36), Err(None), "the newest price is stale");
        assert_eq!(timeline.at(TickId::from_ms(999)), Err(None), "before the first tick");
        let (average, covered) = timeline.average(id(10), id(30));
        assert_eq!((average.unwrap().to_string(), covered), ("15".to_owned(), 20));
        let (average, covered) = timeline.average(id(17), id(20).next());
        assert_eq!((average.unwrap().to_string(), covered), ("12.5".to_owned(), 4));
        assert_eq!(timeline.average(id(90), id(100)), (None, 0));
    }

    #[test]
    fn no_price_is_in_force_in_a_gap() {
        let outage = vec![Outage::of_sources(id(10), vec![Currency::Usd])];
        let entries = [tick(0, 0, "10", vec![]), tick(10, 0, "20", vec![]), tick(50, 10, "40", outage)];
        let reported = timeline(&entries);
        assert_eq!(at(&reported, 10).unwrap(), "20", "the last tick before the gap");
        assert_eq!(at(&reported, 11), Err(Some((10, 50))));
        assert_eq!(at(&reported, 49), Err(Some((10, 50))));
        assert_eq!(at(&reported, 50).unwrap(), "40");
        let (average, covered) = reported.average(id(0), id(60));
        assert_eq!((average.unwrap().to_string(), covered), ("25".to_owned(), 20));
        assert_eq!(at(&timeline(&entries[2..]), 30), Err(Some((10, 50))), "the tick before the gap was not read");
        let other = vec![Outage::of_sources(id(10), vec![Currency::Eur])];
        let fine = timeline(&[tick(10, 0, "20", vec![]), tick(50, 10, "40", other)]);
        assert_eq!(at(&fine, 30).unwrap(), "20");
        let lost = timeline(&[tick(10, 0, "20", vec![]), tick(50, 40, "40", vec![]), tick(60, 50, "50", vec![])]);
        assert_eq!(lost.at(id(30)).unwrap_err().unwrap().reason, GapReason::HistoryExpired);
        assert_eq!(at(&lost, 55).unwrap(), "40");
        // What is missing may be a tick with another price.
        let open = timeline(&[tick(0, 0, "10", vec![]), euros(8, 5)]);
        assert_eq!(at(&open, 0).unwrap(), "10");
        assert_eq!(open.at(id(9)).unwrap_err().unwrap().reason, GapReason::HistoryExpired);
    }

    #[test]
    fn outage_begins_before_it_is_reported() {
        let young = timeline(&[tick(0, 0, "10", vec![]), euros(10, 0), euros(15, 10)]);
        assert_eq!(at(&young, 15).unwrap(), "10", "the next tick may still come in time");
        let late = timeline(&[tick(0, 0, "10", vec![]), euros(10, 0), euros(16, 10)]);
        assert_eq!(at(&late, 0).unwrap(), "10");
        let open = late.at(id(1)).unwrap_err().unwrap();
        assert_eq!((open.after, open.before, open.reason), (id(0), OPEN, GapReason::SourceOutage));
        assert_eq!(late.average(id(0), id(10)), (None, 0));
    }

    #[test]
    fn average_is_rounded_half_to_even() {
        let timeline = timeline(&[tick(0, 0, "1", vec![]), tick(1, 0, "2", vec![]), tick(3, 1, "1", vec![])]);
        assert_eq!(timeline.average(id(0), id(3)).0.unwrap().to_string(), "1.66666667");
        assert_eq!(timeline.average(id(0), id(4)).0.unwrap().to_string(), "1.5");
    }
}
