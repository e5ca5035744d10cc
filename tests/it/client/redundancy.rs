//! A client with two connections at once.

use crate::support::TestCluster;
use crate::support::foreign_server::{Answer, Server, tick as a_tick};
use crate::support::sdk::next;
use btcfeed::client::{Client, Transport, Update, Updates};
use rustix::process::Signal;

/// Returns the id of the next tick, or the next gap, as text.
async fn entry_or_gap(updates: &mut Updates) -> String {
    loop {
        match next(updates).await {
            Update::Tick(tick) => return tick.id.to_string(),
            Update::Gap(gap) => return format!("{}..{} {}", gap.after, gap.before, gap.reason),
            _ => {}
        }
    }
}

#[tokio::test]
async fn hole_is_filled_from_history_or_is_a_gap() {
    let stream = Answer::messages(&[&a_tick(20, 10), &a_tick(50, 40), &a_tick(60, 50)], None);
    let history = |entries: String| Answer::Raw(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{entries}"));
    let entries = format!("{}\n{}\n", a_tick(30, 20), a_tick(40, 30));
    for (history, expected, healed) in [
        (history(entries), &["20", "30", "40", "50", "60"][..], 2),
        (history(String::new()), &["20", "20..50 unexplained", "50", "60"], 0),
    ] {
        let first = Server::start(vec![stream.clone(), history.clone()]).await;
        let second = Server::start(vec![stream.clone(), history]).await;
        let client = first.client(Transport::WebSocket).also_at(&second.address.to_string()).redundancy(2);
        let mut updates = client.build().unwrap().subscribe();
        for expected in expected {
            assert_eq!(entry_or_gap(&mut updates).await, *expected);
        }
        let statistics = updates.statistics();
        assert_eq!((statistics.taken, statistics.healed), (3, healed));
        assert_eq!(statistics.addresses.iter().map(|address| address.taken).sum::<u64>(), 3);
        let asked = [first, second].iter().flat_map(Server::requests).any(|(line, _)| {
            line.starts_with("GET /v1/prices?format=full,ndjson&after=20&until=40 ")
                || line.starts_with("GET /v1/prices?format=full%2Cndjson&after=20&until=40 ")
        });
        assert!(asked);
    }
}

#[tokio::test]
async fn paused_replica_delays_nothing() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 2] = cluster.replicas().await;
    let client = Client::builder(&replicas[0].address).also_at(&replicas[1].address).redundancy(2).build().unwrap();
    let mut updates = client.subscribe();
    let mut synced = 0;
    while synced < 2 {
        synced += u32::from(matches!(next(&mut updates).await, Update::Synced { .. }));
    }
    // A connection to a paused replica would count as dead only after 50 s.
    for replica in [&replicas[0], &replicas[1], &replicas[0]] {
        replica.signal(Signal::STOP);
        let mut last = updates.last_id();
        for _ in 0..5 {
            loop {
                match next(&mut updates).await {
                    Update::Tick(tick) => {
                        assert_eq!(Some(tick.prev), last);
                        last = Some(tick.id);
                        break;
                    }
                    Update::Status(status) => last = Some(status.id),
                    Update::Gap(gap) => panic!("{gap:?}"),
                    _ => {}
                }
            }
        }
        replica.signal(Signal::CONT);
    }
    let statistics = updates.statistics();
    assert!(statistics.taken >= 15 && statistics.addresses.iter().all(|address| address.taken > 0), "{statistics:?}");
}
