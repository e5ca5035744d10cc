//! Rules of a session, tested without a socket.

mod throttled;

use super::*;
use crate::encode::{Format, Framing};
use crate::feed::{Event, Feed as _, FeedState, Outage, Status};
use crate::hub;
use crate::session::{Bookmarks, ClientId};
use crate::store::{Memory, Options};
use crate::tick::{Currencies, Currency, Tick};
use std::collections::BTreeMap;

const HOUR: Duration = Duration::from_secs(3600);

/// Feed whose entries have times in seconds. Second 0 is one minute ago.
struct Feed {
    hub: Hub,
    begin: u64,
    last: TickId,
}

impl Feed {
    fn new(seconds: impl IntoIterator<Item = u64>) -> Feed {
        let store = Arc::new(Memory::new(Options { retention: HOUR, lease_ttl: HOUR }));
        let hub = Hub::new(store, hub::Options { window: 5000, retention: HOUR });
        let begin = TickId::now().minus(Duration::from_secs(60)).ms();
        let mut feed = Feed { hub, begin, last: TickId::ZERO };
        seconds.into_iter().for_each(|second| feed.tick(second));
        feed
    }

    fn id(&self, second: u64) -> TickId {
        TickId::from_ms(self.begin + second * 1000)
    }

    fn push(&mut self, second: u64, prev: TickId, event: Event) {
        self.push_at(second * 1000, prev, event);
    }

    fn push_at(&mut self, ms: u64, prev: TickId, event: Event) {
        self.last = TickId::from_ms(self.begin + ms);
        self.hub.append(vec![Entry { id: self.last, prev, event }]);
    }

    fn tick(&mut self, second: u64) {
        self.tick_at(second, "97116.17", vec![]);
    }

    fn tick_at(&mut self, second: u64, price: &str, outages: Vec<Outage>) {
        let tick = Tick { prices: BTreeMap::from([(Currency::Usd, price.parse().unwrap())]), ..Tick::default() };
        self.push(second, self.last, Event::Tick { tick, outages });
    }

    fn status(&mut self, second: u64) {
        let status = Status { state: FeedState::Stale, since: self.id(second), reason: String::new() };
        self.push(second, self.last, Event::Status(status));
    }

    fn throttled(&self, start: Start, changes: bool, every: Option<u64>) -> Session {
        self.session(start).throttled(ThrottleOptions { changes, every: every.map(Duration::from_secs) }, true)
    }

    fn session(&self, start: Start) -> Session {
        let view = View::new(Format::Full, Currency::Usd.into(), Framing::Line);
        Session::new(view, start, &Limits::default(), &self.hub)
    }

    /// Returns the messages that a session sends until it waits. An entry is shown as its time in seconds.
    fn messages(&self, session: &mut Session) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            match session.step(&self.hub, Instant::now()) {
                Step::Send(bytes) => {
                    for message in bytes.iter().flat_map(|bytes| bytes.split(|byte| *byte == b'\n')) {
                        messages.extend(serde_json::from_slice(message).ok().map(|message| self.summary(&message)));
                    }
                }
                Step::Again => {}
                Step::Wait(_) => return messages,
                other => panic!("{other:?}"),
            }
        }
    }

    fn summary(&self, message: &serde_json::Value) -> String {
        let second = |field: &str| (message[field].as_u64().unwrap() - self.begin) / 1000;
        match message["type"].as_str().unwrap() {
            "tick" | "status" => second("id").to_string(),
            "synced" => format!("synced {}", second("id")),
            _ => format!("{} {}..{}", message["reason"].as_str().unwrap(), second("after"), second("before")),
        }
    }
}

#[test]
fn latest_begins_with_tick_and_newer_statuses() {
    let mut feed = Feed::new([5, 10, 15]);
    assert_eq!(feed.messages(&mut feed.session(Start::Latest)), ["15", "synced 15"]);
    feed.status(30);
    assert_eq!(feed.messages(&mut feed.session(Start::Latest)), ["15", "30", "synced 30"]);
}

#[test]
fn live_audit_is_encoded_once_for_all() {
    let feed = Feed::new(1..=9);
    let view = View::new(Format::Audit, Currency::Usd.into(), Framing::WebSocket);
    let entries = feed.hub.after(TickId::ZERO);
    let read = |entries: &[Arc<Entry>]| {
        let mut session = Session::new(view, Start::After(feed.id(0)), &Limits::default(), &feed.hub);
        session.loaded(entries)
    };
    let newest = |bytes: &[Bytes]| bytes.last().unwrap().as_ptr();
    let one = read(&entries[8..]);
    assert_eq!(newest(&one), newest(&read(&entries[8..])), "both clients get the same bytes");
    let old = read(&entries);
    assert_eq!(newest(&old), newest(&one), "a replay does not evict the newest");
    assert_ne!(read(&entries)[0].as_ptr(), old[0].as_ptr(), "old entries are not kept");
}

#[test]
fn since_includes_its_moment_and_after_does_not() {
    let feed = Feed::new([5, 10, 15]);
    assert_eq!(feed.messages(&mut feed.session(Start::Since(feed.id(10)))), ["10", "15", "synced 15"]);
    assert_eq!(feed.messages(&mut feed.session(Start::Since(feed.id(11)))), ["15", "synced 15"]);
    assert_eq!(feed.messages(&mut feed.session(Start::After(feed.id(10)))), ["15", "synced 15"]);
    assert_eq!(feed.messages(&mut feed.session(Start::After(feed.id(15)))), ["synced 15"]);
    assert_eq!(feed.messages(&mut feed.session(Start::Since(TickId::ZERO))), ["5", "10", "15", "synced 15"]);
}

#[test]
fn live_follows_replay_without_a_gap() {
    let mut feed = Feed::new([5, 10]);
    let mut session = feed.session(Start::Since(TickId::ZERO));
    assert_eq!(feed.messages(&mut session), ["5", "10", "synced 10"]);
    feed.tick(15);
    feed.tick(20);
    assert_eq!(feed.messages(&mut session), ["15", "20"]);
    assert_eq!(session.cursor(), feed.id(20));
}

#[test]
fn gap_is_reported_once_before_next_entry() {
    let mut feed = Feed::new([]);
    feed.last = feed.id(20);
    feed.tick(25);
    // The first entry is at 25, and its `prev` says that there was an entry at 20.
    assert_eq!(
        feed.messages(&mut feed.session(Start::After(feed.id(10)))),
        ["history_expired 10..25", "25", "synced 25"]
    );
    assert_eq!(feed.messages(&mut feed.session(Start::After(feed.id(20)))), ["25", "synced 25"]);
    assert_eq!(feed.messages(&mut feed.session(Start::After(feed.id(22)))), ["history_lost 22..25", "25", "synced 25"]);
    // A moment is not an id. Nothing is missing between 20 and 25.
    assert_eq!(feed.messages(&mut feed.session(Start::Since(feed.id(22)))), ["25", "synced 25"]);
    // A gap that this replica could not fill from the store.
    feed.last = feed.id(35);
    feed.tick(40);
    assert_eq!(
        feed.messages(&mut feed.session(Start::After(feed.id(25)))),
        ["history_expired 25..40", "40", "synced 40"]
    );
}

#[test]
fn cursor_slightly_ahead_waits_for_the_feed() {
    let mut feed = Feed::new([5, 10]);
    let mut ahead = feed.session(Start::After(feed.id(15)));
    let mut future = feed.session(Start::After(TickId::now().plus(HOUR)));
    assert_eq!(feed.messages(&mut ahead), ["synced 15"]);
    assert_eq!(feed.messages(&mut future), ["synced 10"]);
    feed.tick(15);
    assert_eq!(feed.messages(&mut ahead), [""; 0], "the client has this entry from another replica");
    assert_eq!(feed.messages(&mut future), ["15"]);
    feed.tick(20);
    assert_eq!(feed.messages(&mut ahead), ["20"]);
}

#[test]
fn only_client_that_was_synced_can_be_too_slow() {
    let mut feed = Feed::new((0..40).map(|second| second * 2));
    let now = Instant::now();
    let late = now + Limits::default().max_lag + Duration::from_secs(1);
    // A replay has no deadline.
    let mut replaying = feed.session(Start::Since(TickId::ZERO));
    assert!(matches!(replaying.step(&feed.hub, now), Step::Send(_)));
    assert!(matches!(replaying.step(&feed.hub, late), Step::Send(_)));
    // A client in sync may be idle for any time, and then get many entries at once.
    let mut slow = feed.session(Start::After(feed.last));
    feed.messages(&mut slow);
    (100..3100).for_each(|second| feed.tick(second));
    assert!(matches!(slow.step(&feed.hub, late), Step::Send(_)));
    assert!(matches!(slow.step(&feed.hub, late + Duration::from_secs(29)), Step::Send(_)));
    let step = slow.step(&feed.hub, late + Duration::from_secs(31));
    assert!(matches!(step, Step::Close(CloseReason::TooSlow)), "{step:?}");
}

#[test]
fn entries_empty_in_the_view_are_skipped() {
    let mut feed = Feed::new([5]);
    let view = View::new(Format::Timedate, Currency::Eur.into(), Framing::Line);
    let mut session = Session::new(view, Start::Since(TickId::ZERO), &Limits::default(), &feed.hub);
    assert!(matches!(session.step(&feed.hub, Instant::now()), Step::Send(bytes) if bytes.is_empty()));
    feed.tick(10);
    assert!(matches!(session.step(&feed.hub, Instant::now()), Step::Wait(None)));
    assert_eq!(session.cursor(), feed.id(10), "the cursor moves all the same");
}

#[test]
fn entries_that_left_the_window_are_loaded() {
    let mut feed = Feed::new([]);
    let store = Arc::new(Memory::new(Options { retention: HOUR, lease_ttl: HOUR }));
    feed.hub = Hub::new(store, hub::Options { window: 3, retention: HOUR });
    (1..=6).for_each(|place| feed.tick(place * 5));
    let mut session = feed.session(Start::After(feed.id(10)));
    let mut load_until = |feed: &Feed| match session.step(&feed.hub, Instant::now()) {
        Step::Load { until, .. } => {
            session.loaded(&[]);
            until
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(load_until(&feed), feed.id(15));
    feed.tick(35);
    assert_eq!(load_until(&feed), feed.id(20), "the entry at 20 has just left the window");
}

#[test]
fn bookmark_names_the_last_step_that_was_sent() {
    let mut feed = Feed::new([5, 10]);
    let bookmarks = Bookmarks::new(Arc::new(Memory::new(Options { retention: HOUR, lease_ttl: HOUR })));
    let client: ClientId = "shop-7.4f9b2c71d0e85a36".parse().unwrap();
    let mut session = feed.session(Start::After(feed.id(5)));
    session.extras().bookmark = Some(bookmarks.open_at(&client, session.resume_id(), None));
    feed.messages(&mut session);
    feed.tick(15);
    assert!(matches!(session.step(&feed.hub, Instant::now()), Step::Send(_)));
    // The transport may drop the bytes of the last step together with the connection.
    let bookmark = session.take_bookmark().unwrap();
    assert_eq!(bookmark.position(), feed.id(10));
}

#[test]
fn first_entry_has_no_gap_for_unknown_clients() {
    let unknown = |feed: &Feed| {
        let mut session = feed.session(Start::Latest);
        session.extras().skipped = Some((TickId::ZERO, GapReason::UnknownClientId));
        let Step::Send(bytes) = session.step(&feed.hub, Instant::now()) else { panic!("nothing to send") };
        String::from_utf8(bytes.concat()).unwrap()
    };
    let mut feed = Feed::new([5]);
    assert!(!unknown(&feed).contains("gap"), "nothing is before the first entry");
    feed.tick(10);
    assert!(unknown(&feed).contains(r#""reason":"unknown_client_id""#));
}

#[tokio::test]
async fn new_session_writes_bookmark_of_the_dead_one() {
    let store: Arc<dyn crate::store::Store> = Arc::new(Memory::new(Options { retention: HOUR, lease_ttl: HOUR }));
    let bookmarks = Bookmarks::new(store.clone());
    let (client, id) = ("shop-7.4f9b2c71d0e85a36".parse().unwrap(), TickId::from_ms);
    let dead = bookmarks.open_at(&client, Some(id(90)), None);
    bookmarks.write(false).await.unwrap();
    dead.move_to(id(100));
    let recalled = bookmarks.recall(&client).await.unwrap();
    assert_eq!(recalled, Some(id(100)), "the bookmark of the dead session, which is not written yet");
    let next = bookmarks.open_at(&client, recalled, recalled);
    bookmarks.write(false).await.unwrap();
    assert_eq!(store.recall("shop-7.4f9b2c71d0e85a36").await.unwrap(), recalled);
    drop((dead, next));
}

#[tokio::test]
async fn bookmark_of_a_new_client_is_written_at_once() {
    let store: Arc<dyn crate::store::Store> = Arc::new(Memory::new(Options { retention: HOUR, lease_ttl: HOUR }));
    let bookmarks = Arc::new(Bookmarks::new(store.clone()));
    let end = tokio_util::sync::CancellationToken::new();
    let writing = bookmarks.run(end.clone());
    let bookmark = bookmarks.open_at(&"shop-7.4f9b2c71d0e85a36".parse().unwrap(), None, None);
    bookmark.move_to(TickId::from_ms(7));
    let written = async {
        while store.recall("shop-7.4f9b2c71d0e85a36").await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    let written = tokio::time::timeout(Duration::from_secs(1), written);
    tokio::select! { () = writing => {}, written = written => written.expect("long before the next regular write") }
}
