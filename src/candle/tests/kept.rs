//! Tests of the hours that a store keeps.

use super::*;
use proptest::prelude::*;

/// A step of a random feed. Each adds one entry, some seconds after the previous one.
#[derive(Clone, Debug)]
enum Step {
    /// A tick with prices of the chosen currencies, or a status if none is chosen.
    Tick(u64, bool, bool),
    /// A tick that ends an outage.
    Outage(u64),
    /// A tick. The reader misses the entries just before it.
    Missed(u64),
    /// A tick. The feed loses its newest entries before it.
    Lost(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (1..600_u64, any::<bool>(), any::<bool>()).prop_map(|(pause, usd, eur)| Step::Tick(pause, usd, eur)),
        1 => (600..9000_u64).prop_map(Step::Outage),
        1 => (600..9000_u64).prop_map(Step::Missed),
        1 => (1..3000_u64, 1..9_usize).prop_map(|(pause, count)| Step::Lost(pause, count)),
    ];
    prop::collection::vec(step, 1..150)
}

/// Returns the entries that a reader gets, and those that the feed still has at the end.
fn entries(steps: &[Step]) -> (Vec<Entry>, Vec<Entry>) {
    let (mut second, mut prev, mut entries, mut kept) = (1800, TickId::ZERO, Vec::new(), Vec::<Entry>::new());
    for (number, step) in steps.iter().enumerate() {
        let before = prev;
        second += match step {
            Step::Tick(pause, ..) | Step::Outage(pause) | Step::Missed(pause) | Step::Lost(pause, _) => *pause,
        };
        let mut outages = Vec::new();
        match step {
            Step::Tick(..) => {}
            Step::Outage(_) => outages.push(Outage::of_sources(before, vec![Currency::Usd, Currency::Eur])),
            Step::Missed(pause) => prev = at(second - pause / 2),
            Step::Lost(_, count) => {
                kept.truncate(kept.len().saturating_sub(*count));
                prev = kept.last().map_or(TickId::ZERO, |entry| entry.id);
            }
        }
        let event = match step {
            Step::Tick(_, false, false) => {
                Event::Status(Status { state: FeedState::Stale, since: before, reason: "no prices".to_owned() })
            }
            Step::Tick(_, usd, eur) => tick_event(number, *usd, *eur, outages),
            _ => tick_event(number, true, true, outages),
        };
        let entry = Entry { id: at(second), prev, event };
        entries.push(entry.clone());
        kept.push(entry);
        prev = at(second);
    }
    (entries, kept)
}

fn tick_event(number: usize, usd: bool, eur: bool, outages: Vec<Outage>) -> Event {
    let chosen = [(Currency::Usd, usd), (Currency::Eur, eur)].into_iter().filter(|(_, chosen)| *chosen);
    let price = format!("97{:03}.{:02}", number * 7919 % 1000, number % 100);
    let prices = chosen.map(|(currency, _)| (currency, price.parse().unwrap())).collect();
    Event::Tick { tick: Tick { prices, ..Tick::default() }, outages }
}

/// Returns the candles, the gaps and the place of the next part, for each interval.
fn content(book: &Book) -> Vec<(Vec<Candle>, Vec<Gap>, Option<TickId>)> {
    let part = |interval| {
        let part = book.part(Range { interval, ..ALL });
        (part.candles.into_iter().cloned().collect(), part.gaps, part.next)
    };
    Interval::ALL.map(part).to_vec()
}

fn book(entries: &[Entry]) -> Book {
    let mut book = Book::new(DAY);
    for entry in entries {
        book.add(entry);
    }
    book
}

/// Returns the hour as it is read from a store.
fn stored(book: &Book, detail: Detail, start: TickId) -> KeptHour {
    KeptHour::decode(detail, start, &book.kept_hour(detail, start).unwrap().encode()).unwrap()
}

proptest! {
    #[test]
    fn kept_hours_are_as_good_as_entries(steps in steps(), chosen in any::<u64>()) {
        let (_, entries) = entries(&steps);
        let book = book(&entries);
        let starts: Vec<_> = book.whole_hours(Detail::Minutes).collect();
        let mut other = Book::new(DAY);
        for (number, start) in starts.iter().enumerate() {
            if chosen >> (number % 64) & 1 == 1 {
                let hour = stored(&book, Detail::Minutes, *start);
                for entry in entries.iter().filter(|entry| entry.id <= hour.prev) {
                    other.add(entry);
                }
                other.add_kept(&hour);
                other.add_kept(&hour);
            }
        }
        for entry in &entries {
            other.add(entry);
        }
        prop_assert_eq!(content(&book), content(&other));
        prop_assert_eq!(starts, other.whole_hours(Detail::Minutes).collect::<Vec<_>>());
    }

    #[test]
    fn hours_without_minutes_make_long_candles(steps in steps(), count in 0..40_usize) {
        let (_, entries) = entries(&steps);
        let book = book(&entries);
        let starts: Vec<_> = book.whole_hours(Detail::Hour).collect();
        let mut other = Book::new(DAY);
        for start in starts.iter().take(count) {
            let hour = stored(&book, Detail::Hour, *start);
            for entry in entries.iter().filter(|entry| entry.id <= hour.prev) {
                other.add(entry);
            }
            other.add_kept(&hour);
        }
        for entry in &entries {
            other.add(entry);
        }
        for interval in [Interval::Hour, Interval::FourHours, Interval::Day] {
            prop_assert_eq!(content(&book)[interval as usize].clone(), content(&other)[interval as usize].clone());
        }
        prop_assert_eq!(&starts, &other.whole_hours(Detail::Hour).collect::<Vec<_>>());
        for start in &starts {
            prop_assert_eq!(book.kept_hour(Detail::Hour, *start), other.kept_hour(Detail::Hour, *start));
        }
        // A minute is either the same or missing. If it is missing, a gap says so.
        let (minutes, found) = (book.part(ALL), other.part(ALL));
        for minute in minutes.candles.iter().filter(|minute| !found.candles.contains(minute)) {
            let is_told = |gap: &Gap| gap.after <= minute.id.plus(Duration::from_secs(60)) && minute.id < gap.before;
            prop_assert!(found.gaps.iter().any(is_told), "{} {:?}", minute.id, found.gaps);
        }
        prop_assert!(found.candles.iter().all(|minute| minutes.candles.contains(minute)));
    }

    #[test]
    fn kept_hours_lack_no_entry(steps in steps()) {
        let (read, kept) = entries(&steps);
        let (reader, newcomer) = (book(&read), book(&kept));
        for start in reader.whole_hours(Detail::Minutes) {
            prop_assert_eq!(reader.kept_hour(Detail::Minutes, start), newcomer.kept_hour(Detail::Minutes, start));
        }
    }
}

#[test]
fn hour_is_kept_when_it_has_ended() {
    let mut feed = TestFeed::new();
    feed.ticks(0..3600);
    assert_eq!(feed.book.whole_hours(Detail::Minutes).count(), 0, "the hour may still get a tick");
    feed.tick(3600, "97116.17", "89348.25");
    assert_eq!(feed.book.whole_hours(Detail::Minutes).collect::<Vec<_>>(), [at(0)]);
    assert_eq!(feed.book.kept_hour(Detail::Minutes, at(3600)), None);
    // An entry of the next hour was missed.
    feed.prev = at(5000);
    feed.ticks(5010..10_900);
    assert_eq!(feed.book.whole_hours(Detail::Minutes).collect::<Vec<_>>(), [at(0), at(7200)]);
}

#[test]
fn only_the_text_of_the_same_hour_is_decoded() {
    let mut feed = TestFeed::new();
    feed.ticks(10..3700);
    let text = feed.book.kept_hour(Detail::Minutes, at(0)).unwrap().encode();
    assert!(KeptHour::decode(Detail::Minutes, at(0), &text).is_some());
    let minute = at(60).to_string();
    let wrong = [
        text.replace(&minute, &at(61).to_string()),
        text.replace(&minute, &at(7200).to_string()),
        text.replace(&format!("\"first\":{}", at(10)), "\"first\":1"),
        text.replace("\"prev\":0", &format!("\"prev\":{}", at(5))),
        text[..text.len() / 2].to_owned(),
    ];
    for wrong in wrong {
        assert_ne!(wrong, text);
        assert_eq!(KeptHour::decode(Detail::Minutes, at(0), &wrong), None, "{wrong}");
    }
    assert_eq!(KeptHour::decode(Detail::Minutes, at(3600), &text), None);
}

#[test]
fn minutes_that_are_not_kept_are_a_gap() {
    let mut feed = TestFeed::new();
    feed.ticks(0..5 * 3600);
    let mut book = Book::new(DAY);
    for start in [at(0), at(3600)] {
        book.add_kept(&stored(&feed.book, Detail::Hour, start));
    }
    book.add_kept(&stored(&feed.book, Detail::Minutes, at(7200)));
    // A replica of an older version has deleted the minutes of this hour.
    book.add_kept(&stored(&feed.book, Detail::Hour, at(10_800)));
    feed.book = book;
    feed.ticks(5 * 3600..5 * 3600 + 30);
    let hours = Range { interval: Interval::Hour, ..ALL };
    assert_eq!(
        feed.candles_and_gaps(hours),
        (vec![0, 3600, 7200, 18_000], vec!["history_expired 14390..18000".into()])
    );
    let expected = ["history_expired 0..7200", "history_expired 10790..14400", "history_expired 14390..18000"];
    let (minutes, gaps) = feed.candles_and_gaps(ALL);
    assert_eq!((minutes.first(), minutes.last(), minutes.len()), (Some(&7200), Some(&18_000), 61));
    assert_eq!(gaps, expected);
    let old = Range { after: at(600), until: at(3000), ..ALL };
    assert_eq!(feed.candles_and_gaps(old), (vec![], vec!["history_expired 600..7200".into()]));
    let whole = |detail| feed.book.whole_hours(detail).count();
    assert_eq!([Detail::Minutes, Detail::Hour].map(whole), [1, 3], "the hour 10800 perhaps lacks entries at its end");
}
