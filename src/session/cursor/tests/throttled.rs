//! Sessions with a throttle.

use super::*;
use crate::feed::Feed as _;
use proptest::prelude::*;

/// Returns a tick with these prices in dollars and euros.
fn partial(usd: Option<&str>, eur: Option<&str>) -> Event {
    let prices = [(Currency::Usd, usd), (Currency::Eur, eur)].into_iter();
    let prices = prices.filter_map(|(currency, price)| Some((currency, price?.parse().unwrap()))).collect();
    Event::Tick { tick: Tick { prices, ..Tick::default() }, outages: vec![] }
}

#[test]
fn changes_drops_ticks_with_the_last_sent_price() {
    let mut feed = Feed::new([]);
    for (second, price) in [(1, "10"), (2, "10.0"), (3, "11"), (4, "11"), (5, "10")] {
        feed.tick_at(second, price, vec![]);
    }
    let messages = |start| feed.messages(&mut feed.throttled(start, true, None));
    assert_eq!(messages(Start::Since(TickId::ZERO)), ["1", "3", "5", "synced 5"]);
    assert_eq!(messages(Start::Latest), ["5", "synced 5"]);
    // A client that resumes already has a price, although this session has not sent it one.
    assert_eq!(messages(Start::After(feed.id(1))), ["3", "5", "synced 5"]);
    assert_eq!(messages(Start::After(feed.id(3))), ["5", "synced 5"]);
    // If that price is no longer known, the client gets the next tick, whatever its price.
    let mut feed = Feed::new([]);
    feed.last = feed.id(20);
    feed.tick(25);
    let mut session = feed.throttled(Start::After(feed.id(10)), true, None);
    assert_eq!(feed.messages(&mut session), ["history_expired 10..25", "25", "synced 25"]);
}

#[test]
fn statuses_and_outages_are_never_dropped() {
    let mut feed = Feed::new([]);
    feed.tick_at(1, "10", vec![]);
    feed.status(2);
    feed.tick_at(3, "10", vec![Outage::of_sources(feed.id(1), vec![Currency::Usd])]);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), true, None);
    assert_eq!(feed.messages(&mut session), ["1", "2", "source_outage 1..3", "synced 3"]);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(3600));
    // The tick at second 3 is held, but the outage that it reports is sent.
    assert_eq!(feed.messages(&mut session), ["1", "2", "source_outage 1..3", "synced 2"]);
}

#[test]
fn replay_has_the_newest_tick_of_each_period() {
    let feed = Feed::new((0..=10).map(|place| place * 2));
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(5));
    // The first tick is sent at once, then the newest of each period. A tick counts as the one at the end of a period
    // if it is within the grace time, a tenth of the period, before or after that end: 10 is, 4 and 6 are not.
    assert_eq!(feed.messages(&mut session), ["0", "4", "10", "14", "20", "synced 20"]);
}

#[test]
fn period_ends_with_its_tick_despite_jitter() {
    for jittery in [[0, 9997, 19994], [0, 10_003, 20_006]] {
        let mut feed = Feed::new([]);
        for at in jittery.windows(2).flat_map(|pair| [pair[0], u64::midpoint(pair[0], pair[1])]).chain([jittery[2]]) {
            feed.push_at(at, feed.last, partial(Some("97116.17"), None));
        }
        let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(10));
        let messages = feed.messages(&mut session);
        let expected = [["0", "10", "20", "synced 20"], ["0", "9", "19", "synced 19"]];
        assert!(expected.iter().any(|expected| messages == *expected), "{messages:?}");
    }
}

#[test]
fn early_ticks_do_not_shift_the_period() {
    let feed = Feed::new(0..=120);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(10));
    let messages = feed.messages(&mut session);
    // Here the grace time is one second, so the tick at second 9 counts as the one at the end.
    let expected: Vec<_> =
        [0].into_iter().chain((1..=12).map(|period| period * 10 - 1)).map(|id| id.to_string()).collect();
    assert_eq!(messages[..13], expected, "{messages:?}");
    assert_eq!(messages[13..], ["synced 119"]);
}

#[test]
fn held_tick_is_sent_when_its_period_ends() {
    let mut feed = Feed::new([0, 57]);
    let mut session = feed.throttled(Start::Since(feed.id(57)), false, Some(4));
    assert_eq!(feed.messages(&mut session), ["57", "synced 57"]);
    feed.tick(58);
    let Step::Wait(Some(wait)) = session.step(&feed.hub, Instant::now()) else { panic!("the tick is not held") };
    assert!(
        wait <= Duration::from_millis(1400),
        "the period that began at 57 ends at 61, with the grace time at 61.4: {wait:?}"
    );
    // A period of 2 s has ended at 59, so the tick at second 58 is due.
    let mut session = feed.throttled(Start::Since(feed.id(57)), false, Some(2));
    assert_eq!(feed.messages(&mut session), ["57", "synced 57", "58"]);
}

#[test]
fn held_tick_comes_before_a_gap_in_the_store() {
    let mut feed = Feed::new([]);
    let store = Arc::new(Memory::new(Options { retention: HOUR, lease_ttl: HOUR }));
    feed.hub = Hub::new(store, hub::Options { window: 2, retention: HOUR });
    feed.tick(5);
    feed.tick(6);
    let kept = feed.hub.latest_tick(Currency::Usd.into()).unwrap();
    for second in [10, 20, 25] {
        feed.tick(second);
    }
    feed.status(30);
    feed.status(35);
    let mut session = feed.throttled(Start::After(feed.id(5)), false, Some(600));
    for loaded in [&[kept][..], &[]] {
        assert!(matches!(session.step(&feed.hub, Instant::now()), Step::Load { .. }));
        assert!(session.loaded(loaded).is_empty(), "6 is held: the period that began with 5 has not ended");
    }
    assert_eq!(feed.messages(&mut session), ["6", "history_expired 6..30", "30", "35", "synced 35"]);
}

#[test]
fn long_replay_that_sends_little_yields() {
    let mut feed = Feed::new([]);
    for place in 0..3000 {
        // No two consecutive ticks have prices in the same currencies, so the session must read each of them.
        let eur = (place % 2 == 0).then_some("1");
        feed.push_at(place * 10, feed.last, partial(Some("97116.17"), eur));
    }
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(24 * 3600));
    assert!(matches!(session.step(&feed.hub, Instant::now()), Step::Send(_)), "the first tick is sent at once");
    let mut yields = 0;
    while matches!(session.step(&feed.hub, Instant::now()), Step::Again) {
        yields += 1;
    }
    assert!(yields > 5, "3000 ticks were read with {yields} yields");
}

#[test]
fn long_replay_costs_as_much_as_it_sends() {
    let mut feed = Feed::new([]);
    for place in 0..4000_u64 {
        feed.push_at(place * 10, feed.last, partial(Some(if place < 3000 { "10" } else { "11" }), None));
    }
    for (changes, every, sent) in
        [(true, None, 2), (false, Some(24 * 3600), 1), (true, Some(15), 3), (true, Some(1), 2)]
    {
        let mut session = feed.throttled(Start::Since(TickId::ZERO), changes, every);
        let (mut messages, mut steps) = (0, 0);
        loop {
            steps += 1;
            match session.step(&feed.hub, Instant::now()) {
                Step::Send(bytes) => messages += bytes.len(),
                Step::Again => {}
                Step::Wait(_) => break,
                other => panic!("{other:?}"),
            }
        }
        // One of the messages says that the session is in sync.
        assert!(messages <= sent + 1 && steps <= 4, "{changes} {every:?}: {messages} messages in {steps} steps");
    }
}

/// Reads the entries of the window, of which many can be skipped. Returns what is sent.
fn read_window(feed: &Feed, session: &mut Session) -> Vec<Bytes> {
    let mut sent = Vec::new();
    while session.cursor < feed.last
        && let Read::Batch { items, last, .. } = session.read(&feed.hub)
    {
        session.move_to(last);
        sent.extend(items);
    }
    sent
}

#[test]
fn price_of_the_held_tick_is_not_skipped() {
    let mut feed = Feed::new([]);
    // The period ends at 10 s, and its grace time begins at 9 s. The second tick comes one millisecond before 9 s, so
    // it is held.
    for (ms, price) in [(0, "10"), (8999, "11"), (9200, "11"), (9400, "11")] {
        feed.push_at(ms, feed.last, partial(Some(price), None));
    }
    let throttled = || feed.throttled(Start::Since(TickId::ZERO), true, Some(10));
    let (mut skipping, mut reading) = (throttled(), throttled());
    let read = reading.loaded(&feed.hub.after(reading.cursor)).concat();
    assert_eq!(String::from_utf8_lossy(&read_window(&feed, &mut skipping).concat()), String::from_utf8_lossy(&read));
}

proptest! {
    #[test]
    fn skipping_changes_nothing_that_is_sent(
        entries in prop::collection::vec((1..4000_u64, 0..12_u32, 0..3_u32), 1..120),
        changes in any::<bool>(),
        every in prop::option::of(1..20_u64),
        start in 0..120_usize,
        resumes in any::<bool>(),
    ) {
        prop_assume!(changes || every.is_some());
        let (mut feed, mut at) = (Feed::new([]), 0);
        for (pause, kind, price) in entries {
            at += pause;
            let price = (price + 1).to_string();
            let event = match kind {
                0 => {
                    let status = Status { state: FeedState::Stale, since: feed.last, reason: String::new() };
                    Event::Status(status)
                }
                1 => partial(None, Some(&price)),
                2 => partial(Some(&price), Some(&price)),
                3 => {
                    let Event::Tick { tick, .. } = partial(Some(&price), None) else { unreachable!() };
                    Event::Tick { tick, outages: vec![Outage::of_sources(feed.last, vec![Currency::Usd])] }
                }
                _ => partial(Some(&price), None),
            };
            let prev = if kind == 4 { feed.last.next() } else { feed.last };
            feed.push_at(at, prev, event);
        }
        let all = feed.hub.after(TickId::ZERO);
        let after = all.get(start).map_or(TickId::ZERO, |entry| entry.id);
        let begin = if resumes { Start::After(after) } else { Start::Since(after) };
        let options = ThrottleOptions { changes, every: every.map(Duration::from_secs) };
        let [mut skipping, mut reading] = [(); 2].map(|()| feed.session(begin).throttled(options, true));
        let (skipped, read) = (read_window(&feed, &mut skipping), reading.loaded(&feed.hub.after(reading.cursor)));
        prop_assert_eq!(skipped.concat(), read.concat());
        let held = |session: &mut Session| session.throttle.as_mut().and_then(|throttle| throttle.release());
        prop_assert!(skipping.resume_id() <= reading.resume_id());
        prop_assert_eq!(held(&mut skipping), held(&mut reading));
    }
}

#[test]
fn clients_that_ask_alike_share_pages() {
    let mut feed = Feed::new([]);
    let store = Arc::new(Memory::new(Options { retention: HOUR, lease_ttl: HOUR }));
    feed.hub = Hub::new(store, hub::Options { window: 2, retention: HOUR });
    let mut entries = Vec::new();
    for second in 0..10 {
        feed.tick_at(second, &second.to_string().replace('0', "10"), vec![]);
        entries.extend(feed.hub.latest_tick(Currency::Usd.into()));
    }
    let pages = Arc::<ThinnedPages>::default();
    let open = |every| {
        let mut session = feed.throttled(Start::Since(TickId::ZERO), true, Some(every));
        session.extras().pages = Some(pages.clone());
        session
    };
    let mut first = open(5);
    assert!(matches!(first.step(&feed.hub, Instant::now()), Step::Load { .. }));
    let sent = first.loaded(&entries[..8]);
    assert_eq!(sent.len(), 2, "the first tick, and the one at the end of its period");
    let mut second = open(5);
    let Step::Send(shared) = second.step(&feed.hub, Instant::now()) else { panic!("the page is not shared") };
    assert_eq!(shared, sent);
    assert_eq!(feed.messages(&mut first), feed.messages(&mut second));
    assert_eq!((second.cursor(), second.resume_id()), (first.cursor(), first.resume_id()));
    for mut other in [open(6), feed.throttled(Start::Since(TickId::ZERO), true, Some(5))] {
        assert!(matches!(other.step(&feed.hub, Instant::now()), Step::Load { .. }));
    }
}

#[test]
fn status_releases_the_held_tick() {
    let mut feed = Feed::new([0, 2]);
    feed.status(3);
    feed.tick(4);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(3600));
    assert_eq!(feed.messages(&mut session), ["0", "2", "3", "synced 3"], "ids increase");
}

#[test]
fn changes_and_every_compare_at_the_period_end() {
    let mut feed = Feed::new([]);
    for (second, price) in [(0, "10"), (2, "11"), (4, "10"), (6, "12"), (8, "12"), (12, "12"), (14, "13")] {
        feed.tick_at(second, price, vec![]);
    }
    let mut session = feed.throttled(Start::Since(TickId::ZERO), true, Some(5));
    // At the end of the period, 5, the price is the same as at 0, so the next different one is sent at once, at 6. At
    // the end of the next period, 11, the price is still that of 6.
    assert_eq!(feed.messages(&mut session), ["0", "6", "14", "synced 14"]);
}

#[test]
fn client_resumes_before_the_held_tick() {
    let mut feed = Feed::new([0, 57]);
    let mut session = feed.throttled(Start::Since(feed.id(57)), false, Some(3600));
    feed.tick(58);
    feed.tick(59);
    // The held tick would come after `synced`. A client that resumes from `synced` must still get it.
    assert_eq!(feed.messages(&mut session), ["57", "synced 57"]);
    assert_eq!((session.cursor(), session.resume_id()), (feed.id(59), Some(feed.id(57))));
}

#[test]
fn held_price_survives_a_tick_without_it() {
    let mut feed = Feed::new([]);
    for (second, usd, eur) in [(5, "100", Some("90")), (10, "100", Some("91")), (15, "100", None), (40, "100", None)] {
        feed.push(second, feed.last, partial(Some(usd), eur));
    }
    let view = View::new(Format::Full, Currencies::USD_EUR, Framing::Line);
    let session = Session::new(view, Start::Since(TickId::ZERO), &Limits::default(), &feed.hub);
    let options = ThrottleOptions { changes: true, every: Some(Duration::from_secs(20)) };
    assert_eq!(feed.messages(&mut session.throttled(options, true)), ["5", "10", "synced 40"]);
}

#[test]
fn held_tick_comes_before_a_gap_in_the_window() {
    let mut feed = Feed::new([5, 10]);
    feed.last = feed.id(35);
    feed.tick(40);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(20));
    assert_eq!(feed.messages(&mut session), ["5", "10", "history_expired 10..40", "synced 35", "40"]);
}

#[test]
fn throttled_cursor_ahead_is_synced_where_it_is() {
    let feed = Feed::new([5, 10]);
    assert_eq!(feed.messages(&mut feed.throttled(Start::After(feed.id(15)), true, None)), ["synced 15"]);
}
