//! The SDK against servers of other versions, and against servers that have no feed.

use crate::support::foreign_server::{Answer, Server, tick};
use crate::support::soon;
use btcfeed::client::{Client, Error, GapCause, Start, Transport, Update, Updates};
use btcfeed::tick::TickId;
use std::time::Duration;
use tokio::net::TcpListener;

const MS: Duration = Duration::from_millis(1);

/// Returns the next updates in short form.
async fn read(updates: &mut Updates, count: usize) -> Vec<String> {
    let mut read = Vec::new();
    while read.len() < count {
        read.push(match soon("an update", updates.next()).await.unwrap() {
            Ok(Update::Tick(tick)) => format!("tick {}", tick.id),
            Ok(Update::Gap(gap)) => format!("{} {}-{}", gap.reason, gap.after, gap.before),
            Ok(Update::Disconnected { why, .. }) => match why.split_once(": ") {
                Some((address, why)) if address.starts_with("http://127.0.0.1:") => why.to_owned(),
                _ => why,
            },
            Ok(Update::Synced { id }) => format!("synced {id}"),
            Ok(Update::Connected(connected)) => format!("connected {:?}", connected.replica),
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("end: {error}"),
        });
    }
    read
}

const AFTER_10: Start = Start::After(TickId::from_ms(10));

#[tokio::test]
async fn unknown_messages_and_fields_are_skipped() {
    let messages = [
        r#"{"type":"hello","replica":"r7","version":"9.0.0","motto":"more"}"#,
        &tick(20, 10),
        r#"{"type":"weather","sun":true}"#,
        r#"{"type":"note","id":30,"prev":20}"#,
        r#"{"type":"status","id":40,"prev":30,"state":"sideways","since":"2026-11-20T09:20:31Z","reason":"?"}"#,
        r#"{"type":"gap","after":40,"before":50,"reason":"eaten_by_a_dog"}"#,
        &tick(50, 45),
    ];
    let server = Server::start(vec![Answer::messages(&messages, None)]).await;
    let mut updates = server.client(Transport::WebSocket).start(AFTER_10).build().unwrap().subscribe();
    let expected = [r#"connected Some("r7")"#, "tick 20", "eaten_by_a_dog 40-50", "tick 50"];
    assert_eq!(read(&mut updates, 4).await, expected);
}

#[tokio::test]
async fn sdk_drops_repeats_and_reports_losses() {
    let first = Answer::messages(&[&tick(20, 10), &tick(20, 10), &tick(30, 20)], Some(1001));
    let second = Answer::messages(&[&tick(20, 10), &tick(30, 20), &tick(60, 50), &tick(40, 30), &tick(70, 60)], None);
    let server = Server::start(vec![first, second]).await;
    let mut updates = server.client(Transport::WebSocket).start(AFTER_10).build().unwrap().subscribe();
    let lost = "the server closed the connection with 1001: test";
    let seen = read(&mut updates, 8).await;
    let gap = format!("{} 30-60", GapCause::Unexplained);
    assert_eq!(seen, ["connected None", "tick 20", "tick 30", lost, "connected None", &gap, "tick 60", "tick 70"]);
    let lines: Vec<_> = server.requests().into_iter().map(|(line, _)| line).collect();
    assert!(lines[0].contains("after=10 ") && lines[1].contains("after=30 "), "{lines:?}");
}

#[tokio::test]
async fn last_id_is_never_ahead_of_the_updates() {
    let status = r#"{"type":"status","id":60,"prev":50,"state":"live","since":"1970-01-01T00:00:00Z","reason":""}"#;
    let messages = [&tick(30, 20), status, r#"{"type":"synced","id":60}"#];
    let server = Server::start(vec![
        Answer::messages(&messages, None),
        Answer::messages(&[r#"{"type":"synced","id":7}"#], None),
    ])
    .await;
    let mut updates = server.client(Transport::WebSocket).start(AFTER_10).build().unwrap().subscribe();
    let mut last = vec![updates.last_id().map(TickId::ms)];
    for _ in 0..6 {
        read(&mut updates, 1).await;
        last.push(updates.last_id().map(TickId::ms));
    }
    // The ids at the start, and after connected, gap, tick, gap, status and synced.
    assert_eq!(last, [10, 10, 10, 30, 30, 60, 60].map(Some));
    let mut updates = server.client(Transport::WebSocket).build().unwrap().subscribe();
    read(&mut updates, 1).await;
    assert_eq!(updates.last_id(), None);
    read(&mut updates, 1).await;
    assert_eq!(updates.last_id(), Some(TickId::from_ms(7)));
}

#[tokio::test]
async fn only_close_codes_from_4500_end_the_stream() {
    for (code, last) in [(1000, false), (1011, false), (4408, false), (4500, true), (4999, true)] {
        let server =
            Server::start(vec![Answer::messages(&[], Some(code)), Answer::messages(&[&tick(20, 10)], None)]).await;
        let mut updates = server.client(Transport::WebSocket).build().unwrap().subscribe();
        let seen = read(&mut updates, 1).await;
        if last {
            assert_eq!(seen, [Error::Closed { code, reason: "test".to_owned() }].map(|error| format!("end: {error}")));
            assert!(updates.next().await.is_none());
        } else {
            assert_eq!(seen, [format!("the server closed the connection with {code}: test")]);
            assert_eq!(read(&mut updates, 2).await[1], "tick 20");
        }
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_and_redirect_reported() {
    for transport in [Transport::WebSocket, Transport::Sse] {
        let busy = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 25\r\n\r\n{\"detail\":\"too many\u{1b}[2J\"}";
        let moved = "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://elsewhere/\r\ncontent-length: 0\r\n\r\n";
        let server = Server::start([busy, moved].map(|answer| Answer::Raw(answer.to_owned())).into()).await;
        let mut updates = server.client(transport).build().unwrap().subscribe();
        let seen = read(&mut updates, 2).await;
        assert!(seen[0].starts_with("HTTP 503: "), "{}", seen[0]);
        assert!(!seen[0].contains('\u{1b}'), "{}", seen[0]);
        assert_eq!(
            seen[1],
            "end: the server refused the request with HTTP 308: it moved to https://elsewhere/, use that address"
        );
        let asked = server.requests();
        let pause = asked[1].1 - asked[0].1;
        assert!(pause >= 990 * MS && pause < 5000 * MS, "{transport:?}: {pause:?}");
    }
}

#[tokio::test]
async fn malformed_answer_is_retried_with_backoff() {
    for (transport, answer) in [
        (Transport::WebSocket, Answer::messages(&["<html>"], None)),
        (Transport::WebSocket, Answer::messages(&["x".repeat(70_000).as_str()], None)),
        (Transport::WebSocket, Answer::Raw("SSH-2.0-OpenSSH_9.2\r\n".to_owned())),
        (Transport::Sse, Answer::Events(vec!["data: <html>\n\n".to_owned()])),
        (Transport::Sse, Answer::Endless),
    ] {
        let server = Server::start(vec![answer]).await;
        let mut updates = server.client(transport).retry(MS, 10_000 * MS).build().unwrap().subscribe();
        let mut pauses = Vec::new();
        while pauses.len() < 9 {
            match soon("an update", updates.next()).await.unwrap().unwrap() {
                Update::Disconnected { retry_in, .. } => pauses.push(retry_in),
                other => panic!("{other:?}"),
            }
        }
        assert!(pauses[..3].iter().all(|pause| *pause <= 4 * MS), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause > 4 * MS), "{pauses:?}");
    }
}

#[tokio::test]
async fn answer_that_is_not_a_feed_ends_the_stream() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi".to_owned();
    let nothing = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nhi".to_owned();
    for (transport, answer, reason) in [
        (Transport::WebSocket, Answer::Raw(page.clone()), "it answers HTTP 200"),
        (Transport::Sse, Answer::Raw(page), r#"it answers "text/html", not text/event-stream"#),
        (Transport::WebSocket, Answer::Raw(nothing.clone()), "it answers HTTP 404"),
        (Transport::Sse, Answer::Raw(nothing), "it answers HTTP 404"),
        (Transport::Grpc, Answer::Http2Page, r#"it answers "text/html", not application/grpc"#),
        (Transport::Grpc, Answer::BadRequest, "it does not support HTTP/2; the server may use TLS: try https://"),
    ] {
        let server = Server::start(vec![answer]).await;
        let mut updates = server.client(transport).build().unwrap().subscribe();
        assert_eq!(read(&mut updates, 1).await, [format!("end: there is no feed at this address: {reason}")]);
        assert!(updates.next().await.is_none());
    }
}

#[tokio::test]
async fn answer_of_17_mib_is_an_error() {
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(17 * 1024 * 1024));
    let server = Server::start(vec![Answer::Raw(endless)]).await;
    let error = server.client(Transport::WebSocket).build().unwrap().prices_at(None, None).await.unwrap_err();
    assert!(error.to_string().ends_with("its answer has more than 16777216 bytes"), "{error}");
}

#[tokio::test]
async fn error_after_a_success_is_retried() {
    let nothing = Answer::Raw("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned());
    let [first, last] = [Answer::messages(&[&tick(20, 10)], Some(1001)), Answer::messages(&[&tick(30, 20)], None)];
    let server = Server::start(vec![Answer::Raw(String::new()), first, nothing, last]).await;
    let mut updates = server.client(Transport::WebSocket).start(AFTER_10).build().unwrap().subscribe();
    let seen = read(&mut updates, 7).await;
    let (unanswered, closed) =
        ("the connection was closed without an answer", "the server closed the connection with 1001: test");
    let not_found = "it answers HTTP 404";
    assert_eq!(seen, [unanswered, "connected None", "tick 20", closed, not_found, "connected None", "tick 30"]);
}

#[tokio::test]
async fn events_are_parsed_from_any_pieces() {
    let tick = |id, prev| format!("id: {id}\r\ndata: {}\r\n\r\n", tick(id, prev));
    let whole = format!(
        "\u{feff}retry: 700\r\n\r\nevent: hello\r\ndata: {{\"type\":\"hello\",\"replica\":\"r1\"}}\r\n\r\n{}: ping\r\n\r\n{}",
        tick(20, 10),
        tick(30, 20)
    );
    let goodbye = "event: goodbye\ndata: {\"type\":\"goodbye\",\"reason\":\"draining\",\"message\":\"come back\"}\n\n";
    let half = tick(40, 30);
    let torn = whole.chars().collect::<Vec<_>>().chunks(7).map(|piece| piece.iter().collect()).collect();
    let answers = vec![
        Answer::Events([torn, vec![half[..half.len() - 4].to_owned()]].concat()),
        Answer::Events(vec![half, goodbye.to_owned()]),
    ];
    let server = Server::start(answers).await;
    let mut updates = server.client(Transport::Sse).start(AFTER_10).build().unwrap().subscribe();
    let seen = read(&mut updates, 7).await;
    let lost = "the server ended the stream";
    let back = "the server ended the stream: come back";
    let expected = [r#"connected Some("r1")"#, "tick 20", "tick 30", lost, "connected None", "tick 40", back];
    assert_eq!(seen, expected);
    let asked = server.requests();
    assert!(asked[1].0.contains("after=30 "), "{}", asked[1].0);
    let started = asked[1].1 - asked[0].1;
    assert!(started >= 700 * MS, "{started:?}");
}

#[tokio::test]
async fn server_that_never_answers_is_retried() {
    for transport in [Transport::WebSocket, Transport::Sse, Transport::Grpc] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = Client::builder(&address).transport(transport).connect_within(200 * MS).retry(MS, MS);
        let mut updates = client.build().unwrap().subscribe();
        assert_eq!(read(&mut updates, 2).await, ["no answer within 200ms"; 2]);
    }
}
