//! Reads of the window.

use super::*;
use crate::encode::{Format, Framing};
use crate::feed::{Event, FeedState, Status};
use crate::tick::{Currencies, Currency, Tick};

const VIEW: View = View::new(Format::Full, Currencies::NONE, Framing::Line);

fn entry(id: u64, prev: u64) -> Entry {
    let status = Status { state: FeedState::Live, since: TickId::from_ms(id), reason: String::new() };
    Entry { id: TickId::from_ms(id), prev: TickId::from_ms(prev), event: Event::Status(status) }
}

fn window(capacity: usize, ids: std::ops::RangeInclusive<u64>) -> Window {
    let mut window = Window::new(capacity, Duration::from_secs(3600));
    ids.for_each(|id| window.push(entry(id * 10, (id - 1) * 10)));
    window
}

fn lines(items: &[Bytes]) -> usize {
    items.concat().split(|byte| *byte == b'\n').count() - 1
}

fn batch(window: &Window, cursor: u64) -> (u64, usize, u64) {
    match window.read(&SharedView::new(VIEW), TickId::from_ms(cursor)) {
        Read::Batch { first, items, last, .. } => (first.id.ms(), lines(&items), last.ms()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn read_starts_after_the_cursor() {
    let window = window(100, 1..=10);
    assert_eq!(batch(&window, 0), (10, 10, 100));
    assert_eq!(batch(&window, 70), (80, 3, 100));
    assert_eq!(batch(&window, 75), (80, 3, 100));
    assert!(matches!(window.read(&SharedView::new(VIEW), TickId::from_ms(100)), Read::Nothing));
}

#[test]
fn long_replay_is_read_in_parts() {
    let window = window(2000, 1..=2000);
    let (_, entries, last) = batch(&window, 0);
    assert_eq!((entries, last), (READ_ENTRIES, READ_ENTRIES as u64 * 10));
}

#[test]
fn examined_entries_come_in_bounded_parts() {
    let (window, mut examined) = (window(2000, 1..=2000), 0);
    let read =
        window.examine(&SharedView::new(VIEW), TickId::from_ms(1000), &mut |Examined { entry, bytes, .. }| {
            examined += 1;
            assert_eq!(VIEW.entry(entry), bytes());
            None
        });
    let Read::Batch { first, last, .. } = read else { panic!("{read:?}") };
    assert_eq!((examined, first.id.ms(), last.ms()), (EXAMINE_ENTRIES, 1010, 1000 + EXAMINE_ENTRIES as u64 * 10));
}

#[test]
fn skips_pass_over_entries_until_a_break() {
    let mut window = Window::new(5000, Duration::from_secs(3600));
    for id in (1..=1000).chain(1003..=2000) {
        let tick = Tick { prices: [(Currency::Usd, "1".parse().unwrap())].into(), ..Tick::default() };
        let prev = if id == 1003 { 1002 } else { id - 1 };
        let (id, prev) = (TickId::from_ms(id * 10), TickId::from_ms(prev * 10));
        window.push(Entry { id, prev, event: Event::Tick { tick, outages: vec![] } });
    }
    let (mut cursor, mut examined) = (TickId::ZERO, Vec::new());
    while let Read::Batch { last, .. } =
        window.examine(&SharedView::new(VIEW), cursor, &mut |Examined { entry, skipped_after, bytes }| {
            assert_eq!(VIEW.entry(entry), bytes());
            examined.push((skipped_after.map_or(0, |id| id.ms() / 10), entry.id.ms() / 10));
            Some(Skip { before: TickId::from_ms(u64::MAX), unchanged: Some(Currency::Usd.into()) })
        })
    {
        cursor = last;
    }
    assert_eq!(examined, [(0, 1), (1, 1000), (0, 1003), (1003, 2000)]);
}

#[test]
fn all_readers_share_the_same_bytes() {
    let (window, view) = (window(100, 1..=10), SharedView::new(VIEW));
    let read = || match window.read(&view, TickId::ZERO) {
        Read::Batch { items, .. } => items.iter().map(|bytes| bytes.as_ptr()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(read(), read());
}

#[test]
fn view_lives_as_long_as_it_is_used() {
    let mut window = window(1000, 1..=10);
    let view = window.add_view(VIEW);
    assert!(Arc::ptr_eq(&window.view(VIEW).unwrap(), &view));
    window.trim();
    assert!(window.view(VIEW).is_some(), "a session has it");
    window.read(&view, TickId::ZERO);
    drop(view);
    window.trim();
    assert!(window.view(VIEW).is_some(), "its bytes may be read again");
    (11..=2000).for_each(|id| window.push(entry(id * 10, (id - 1) * 10)));
    window.trim();
    assert!(window.view(VIEW).is_none());
}

#[test]
fn cursor_before_the_window_reads_older() {
    let mut window = window(5, 1..=10);
    let Read::Older { before } = window.read(&SharedView::new(VIEW), TickId::from_ms(20)) else { panic!("older") };
    assert_eq!((before.prev.ms(), before.id.ms()), (50, 60));
    assert_eq!(batch(&window, 50), (60, 5, 100));
    window.push(entry(110, 100));
    assert_eq!(batch(&window, 60), (70, 5, 110));
}

#[test]
fn newest_status_is_kept_after_it_has_left() {
    let tick = |id| {
        let tick = Tick::default();
        let event = Event::Tick { tick, outages: vec![] };
        Entry { id: TickId::from_ms(id), prev: TickId::from_ms(id - 10), event }
    };
    let mut window = window(3, 1..=2);
    window.push(tick(30));
    assert_eq!(window.status().unwrap().id.ms(), 20);
    window.push(tick(40));
    window.push(tick(50));
    assert_eq!(window.status().unwrap().id.ms(), 20, "it holds until the next one");
    window.fill(vec![tick(45)]);
    assert_eq!(window.status().unwrap().id.ms(), 20);
}

#[test]
fn complete_window_has_no_older_entries() {
    let mut window = window(100, 1..=10);
    window.push(entry(3_600_095, 100));
    assert_eq!(batch(&window, 0), (100, 2, 3_600_095));
}

#[test]
fn batch_ends_at_a_break_in_the_chain() {
    let mut window = window(100, 1..=3);
    window.push(entry(50, 40));
    assert_eq!(batch(&window, 10), (20, 2, 30));
    assert_eq!(batch(&window, 30), (50, 1, 50));
}

#[test]
fn chained_requires_the_whole_part() {
    let mut window = window(5, 1..=10);
    assert_eq!(window.chained(TickId::from_ms(20), TickId::from_ms(40)), None, "the part lies before the window");
    window.push(entry(150, 140));
    let chained = |after, until| window.chained(TickId::from_ms(after), TickId::from_ms(until)).map(TickId::ms);
    assert_eq!((chained(60, 100), chained(60, 95), chained(100, 100)), (Some(100), Some(90), Some(100)));
    assert_eq!((chained(50, 100), chained(60, 150), chained(65, 90)), (None, None, None));
}

#[test]
fn hole_is_filled_with_what_is_found() {
    let mut window = window(100, 1..=3);
    let shared = window.add_view(VIEW);
    // 40 to 60 are missing, and 75 belongs to another chain.
    for (id, prev) in [(70, 60), (75, 70), (80, 70), (90, 80)] {
        window.push(entry(id, prev));
    }
    assert!(matches!(window.read(&shared, TickId::ZERO), Read::Batch { last, .. } if last == TickId::from_ms(30)));
    assert_eq!(window.holes(), [(TickId::from_ms(30), TickId::from_ms(60))]);
    window.fill(vec![entry(50, 40), entry(60, 50)]);
    assert_eq!(window.holes(), [(TickId::from_ms(30), TickId::from_ms(40))]);
    window.fill(vec![entry(40, 30)]);
    assert_eq!(window.holes(), []);
    let Read::Batch { items, last, .. } = window.read(&shared, TickId::ZERO) else { panic!("no entries") };
    assert_eq!((lines(&items), last.ms()), (8, 75));
    let expected: Vec<u8> =
        [10, 20, 30, 40, 50, 60, 70].into_iter().flat_map(|id| VIEW.entry(&entry(id, id - 10)).to_vec()).collect();
    assert!(items.concat().starts_with(&expected), "the entries are encoded in their order");
    window.push(entry(100, 90));
    assert_eq!(batch(&window, 80), (90, 2, 100));
}
