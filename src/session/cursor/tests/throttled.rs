//! Clients that do not want every tick.

use super::*;

/// A tick with these prices in dollars and euros.
fn partial(usd: Option<&str>, eur: Option<&str>) -> Event {
    let prices = [(Currency::Usd, usd), (Currency::Eur, eur)].into_iter();
    let prices = prices.filter_map(|(currency, price)| Some((currency, price?.parse().unwrap()))).collect();
    Event::Tick { tick: Tick { prices, sources: BTreeMap::new() }, outages: vec![] }
}

#[test]
fn a_client_that_wants_changes_gets_a_tick_only_where_its_price_differs_from_the_last_one_it_got() {
    let mut feed = Feed::new([]);
    for (second, price) in [(1, "10"), (2, "10.0"), (3, "11"), (4, "11"), (5, "10")] {
        feed.tick_at(second, price, vec![]);
    }
    let said = |start| feed.said(&mut feed.throttled(start, true, None));
    assert_eq!(said(Start::Since(TickId::ZERO)), ["1", "3", "5", "synced 5"]);
    assert_eq!(said(Start::Latest), ["5", "synced 5"]);
    // One that comes back has a price already, though this session never sent it one.
    assert_eq!(said(Start::After(feed.id(1))), ["3", "5", "synced 5"]);
    assert_eq!(said(Start::After(feed.id(3))), ["5", "synced 5"]);
    // Where nobody knows any more what that was, it gets the next tick, whatever the price.
    let mut feed = Feed::new([]);
    feed.last = feed.id(20);
    feed.tick(25);
    let mut session = feed.throttled(Start::After(feed.id(10)), true, None);
    assert_eq!(feed.said(&mut session), ["history_expired 10..25", "25", "synced 25"]);
}

#[test]
fn what_is_no_price_is_never_left_out() {
    let mut feed = Feed::new([]);
    feed.tick_at(1, "10", vec![]);
    feed.status(2);
    feed.tick_at(3, "10", vec![Outage { after: feed.id(1), currencies: vec![Currency::Usd] }]);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), true, None);
    assert_eq!(feed.said(&mut session), ["1", "2", "source_outage 1..3", "synced 3"]);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(3600));
    // The third tick itself is held back.
    assert_eq!(feed.said(&mut session), ["1", "2", "source_outage 1..3", "synced 2"]);
}

#[test]
fn a_replay_has_one_tick_a_period_the_newest() {
    let feed = Feed::new((0..=10).map(|place| place * 2));
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(5));
    // The first at once, then the newest of each period; one within half a second of a period's end is the one at its end.
    assert_eq!(feed.said(&mut session), ["0", "4", "10", "14", "20", "synced 20"]);
}

#[test]
fn a_period_of_some_ticks_has_the_tick_at_its_end_however_it_trembles() {
    for trembling in [[0, 9997, 19994], [0, 10_003, 20_006]] {
        let mut feed = Feed::new([]);
        for at in trembling.windows(2).flat_map(|pair| [pair[0], u64::midpoint(pair[0], pair[1])]).chain([trembling[2]])
        {
            feed.push_at(at, feed.last, partial(Some("97116.17"), None));
        }
        let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(10));
        let said = feed.said(&mut session);
        assert!(said == ["0", "10", "20", "synced 20"] || said == ["0", "9", "19", "synced 19"], "{said:?}");
    }
}

#[test]
fn ticks_that_come_a_little_early_each_time_are_no_more_than_one_a_period() {
    let feed = Feed::new(0..=120);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(10));
    let said = feed.said(&mut session);
    // The first of them comes a second early, which counts as the end.
    let expected: Vec<_> =
        [0].into_iter().chain((1..=12).map(|period| period * 10 - 1)).map(|id| id.to_string()).collect();
    assert_eq!(said[..13], expected, "{said:?}");
    assert_eq!(said[13..], ["synced 119"]);
}

#[test]
fn a_tick_that_is_held_back_comes_when_its_period_is_over() {
    let mut feed = Feed::new([0, 57]);
    let mut session = feed.throttled(Start::Since(feed.id(57)), false, Some(4));
    assert_eq!(feed.said(&mut session), ["57", "synced 57"]);
    feed.tick(58);
    let Step::Wait(Some(wait)) = session.step(&feed.hub, Instant::now()) else { panic!("it is to be held back") };
    assert!(wait <= Duration::from_millis(1400), "the period that began at 57 ends at 61, and now is 60: {wait:?}");
    // One whose period is over by now.
    let mut session = feed.throttled(Start::Since(feed.id(57)), false, Some(2));
    assert_eq!(feed.said(&mut session), ["57", "synced 57", "58"]);
}

#[test]
fn what_is_held_back_comes_before_the_gap_where_the_store_has_lost_the_rest() {
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
        assert!(session.loaded(loaded).is_empty(), "the period of the tick that it has is not over");
    }
    assert_eq!(feed.said(&mut session), ["6", "history_expired 6..30", "30", "35", "synced 35"]);
}

#[test]
fn a_client_that_wants_little_of_a_long_history_lets_others_have_their_turn() {
    let mut feed = Feed::new([]);
    for place in 0..3000 {
        feed.push_at(place * 10, feed.last, partial(Some("97116.17"), None));
    }
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(24 * 3600));
    assert!(matches!(session.step(&feed.hub, Instant::now()), Step::Send(_)), "the first comes at once");
    let mut turns = 0;
    while matches!(session.step(&feed.hub, Instant::now()), Step::Again) {
        turns += 1;
    }
    assert!(turns > 5, "3000 ticks were looked at in {turns} turns");
}

#[test]
fn a_status_takes_the_tick_that_is_held_back_along() {
    let mut feed = Feed::new([0, 2]);
    feed.status(3);
    feed.tick(4);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(3600));
    assert_eq!(feed.said(&mut session), ["0", "2", "3", "synced 3"], "ids never run backwards");
}

#[test]
fn with_both_a_tick_comes_once_a_period_and_only_if_the_price_is_another_then() {
    let mut feed = Feed::new([]);
    for (second, price) in [(0, "10"), (2, "11"), (4, "10"), (6, "12"), (8, "12"), (12, "12"), (14, "13")] {
        feed.tick_at(second, price, vec![]);
    }
    let mut session = feed.throttled(Start::Since(TickId::ZERO), true, Some(5));
    // At 5 the price is back where it was, so the next one that differs is sent at once; at 11 it is the same still.
    assert_eq!(feed.said(&mut session), ["0", "6", "14", "synced 14"]);
}

#[test]
fn one_that_comes_back_does_not_miss_what_was_held_back() {
    let mut feed = Feed::new([0, 57]);
    let mut session = feed.throttled(Start::Since(feed.id(57)), false, Some(3600));
    feed.tick(58);
    feed.tick(59);
    // What is held back comes after the word that the replay is over, and so must a client that resumes there get it.
    assert_eq!(feed.said(&mut session), ["57", "synced 57"]);
    assert_eq!((session.cursor(), session.settled()), (feed.id(59), Some(feed.id(57))));
}

#[test]
fn a_price_that_is_held_back_is_not_lost_where_the_next_tick_has_none_in_its_currency() {
    let mut feed = Feed::new([]);
    for (second, usd, eur) in [(5, "100", Some("90")), (10, "100", Some("91")), (15, "100", None), (40, "100", None)] {
        feed.push(second, feed.last, partial(Some(usd), eur));
    }
    let view = View { format: Format::Full, currencies: Currencies::all(), framing: Framing::Line };
    let session = Session::new(view, Start::Since(TickId::ZERO), &Limits::default(), &feed.hub);
    let options = ThrottleOptions { changes: true, every: Some(Duration::from_secs(20)) };
    assert_eq!(feed.said(&mut session.throttled(options, true)), ["5", "10", "synced 40"]);
}

#[test]
fn a_gap_comes_after_what_was_held_back_before_it() {
    let mut feed = Feed::new([5, 10]);
    feed.last = feed.id(35);
    feed.tick(40);
    let mut session = feed.throttled(Start::Since(TickId::ZERO), false, Some(20));
    assert_eq!(feed.said(&mut session), ["5", "10", "history_expired 10..40", "synced 35", "40"]);
}

#[test]
fn one_that_is_ahead_of_this_replica_is_synced_where_it_is_whatever_it_wants() {
    let feed = Feed::new([5, 10]);
    assert_eq!(feed.said(&mut feed.throttled(Start::After(feed.id(15)), true, None)), ["synced 15"]);
}
