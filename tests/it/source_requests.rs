//! The requests to exchanges: kept-alive connections, minimum intervals, and currencies that a source does not have.

use crate::support::exchange::Exchange;
use crate::support::soon;
use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use btcfeed::source::{self, Answer, Endpoint, Source};
use btcfeed::tick::{Currencies, Currency, TickId};
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(8);
const ANSWER: &str = r#"{"symbol":"BTCEUR","bidPrice":"62817.46","askPrice":"62817.48"}"#;

/// A server that answers a number of requests on each connection. It closes the connection when it gets one more.
struct Impatient {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Impatient {
    async fn start(answers: usize) -> Impatient {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections: Arc<AtomicUsize> = Arc::default();
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(socket, answers));
            }
        });
        Impatient { url, connections }
    }

    fn source(&self) -> Box<dyn Source> {
        open("binance", &self.url, Duration::ZERO)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(mut socket: TcpStream, answers: usize) {
    for _ in 0..answers {
        if read_head(&mut socket).await {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ANSWER.len());
            socket.write_all(format!("{head}{ANSWER}").as_bytes()).await.unwrap();
        }
    }
    // One more request is read, and then the connection is closed. To the client, this looks as if the server closes an
    // idle connection while the request is on its way.
    read_head(&mut socket).await;
}

/// Reads a request. Returns false if the connection has ended.
async fn read_head(socket: &mut TcpStream) -> bool {
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut part).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => head.extend_from_slice(&part[..count]),
        }
    }
    true
}

fn open(name: &str, url: &str, least_interval: Duration) -> Box<dyn Source> {
    let endpoint = Endpoint { url: Some(url.into()), key: None, least_interval: Some(least_interval) };
    source::find(name).unwrap().open(&endpoint).unwrap()
}

async fn observe(source: &dyn Source, currencies: Currencies) -> Vec<Answer> {
    soon("the answers", source.observe(currencies, DEADLINE)).await
}

#[tokio::test]
async fn closed_idle_connection_costs_no_poll() {
    let server = Impatient::start(1).await;
    let source = server.source();
    for poll in 1..=5 {
        let [answer] = &observe(&*source, Currency::Eur.into()).await[..] else { panic!("one answer") };
        assert!(answer.is_useful(), "poll {poll}: {answer:?}");
        assert_eq!(server.connections(), poll, "each poll needs one new connection");
    }
}

#[tokio::test]
async fn new_connection_that_is_closed_is_an_error() {
    let server = Impatient::start(0).await;
    let source = server.source();
    for poll in 1..=2 {
        let [answer] = &observe(&*source, Currency::Eur.into()).await[..] else { panic!("one answer") };
        assert_eq!(answer.errors[0].reason, "the request failed");
        assert_eq!(server.connections(), poll, "a request is sent again only if the previous one was answered");
    }
}

#[tokio::test]
async fn source_is_not_asked_before_its_least_interval() {
    let exchange = Exchange::start().await;
    let [_, (name, url), _] = exchange.urls("r1");
    let least = Duration::from_millis(500);
    let source = open(name, &url, least);
    let first = observe(&*source, Currencies::USD_EUR).await;
    assert!(first[0].is_useful() && !first[0].is_repeated);
    let started = Instant::now();
    let mut repeated = 0;
    let second = loop {
        let answers = observe(&*source, Currencies::USD_EUR).await;
        if !answers[0].is_repeated {
            break answers;
        }
        repeated += 1;
        let expected = Answer { is_repeated: true, ..first[0].clone() };
        assert_eq!(answers, [expected], "the last answer with its old time");
        assert!(started.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    };
    assert!(repeated > 0 && second[0].fetched > first[0].fetched);
    let [one, two] = exchange.requests(name, "")[..] else { panic!("two requests") };
    // The server notes the requests a little later than they are sent.
    let pause = two.duration_since(one);
    assert!(pause > least - Duration::from_millis(100), "asked again after {pause:?}");
}

#[tokio::test]
async fn currency_that_a_source_lacks_is_no_failure() {
    let server = Impatient::start(9).await;
    let source = server.source();
    assert_eq!(source.currencies(), Currency::Eur.into());
    assert_eq!(observe(&*source, Currency::Usd.into()).await, []);
    assert_eq!(server.connections(), 0, "no request is sent");
    let [answer] = &observe(&*source, Currencies::all()).await[..] else { panic!("one answer") };
    assert_eq!((answer.currencies, answer.errors.len()), (Currency::Eur.into(), 0));
}

/// Starts a server that answers as Kraken does, but does not know the pair `unknown`. Returns its address and the pairs
/// of each request.
async fn kraken_without(unknown: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    let answer = move |Query(query): Query<BTreeMap<String, String>>| {
        log.lock().unwrap().push(query["pair"].clone());
        let ticker = |pair: &str| format!(r#""{pair}":{{"a":["2"],"b":["1"],"c":["1.5"]}}"#);
        let tickers: Vec<_> = query["pair"].split(',').map(ticker).collect();
        let is_known = !query["pair"].contains(unknown);
        let answer = format!(r#"{{"error":[],"result":{{{}}}}}"#, tickers.join(","));
        ready(if is_known { answer } else { r#"{"error":["EQuery:Unknown asset pair"]}"#.to_owned() })
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/0/public/Ticker", get(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, asked)
}

#[tokio::test]
async fn unknown_pair_costs_the_others_one_poll() {
    let (url, asked) = kraken_without("XBTAUD").await;
    let source = open("kraken", &url, Duration::ZERO);
    let wanted: Currencies = [Currency::Usd, Currency::Eur, Currency::Aud].into_iter().collect();
    let mut polls = Vec::new();
    for _ in 0..4 {
        let answers = observe(&*source, wanted).await;
        let seen = answers.iter().flat_map(|answer| &answer.observations).count();
        let errors: Vec<_> = answers.iter().flat_map(|answer| &answer.errors).map(|error| error.currencies).collect();
        let mut pairs = std::mem::take(&mut *asked.lock().unwrap());
        pairs.sort();
        polls.push((pairs.join(" "), seen));
        assert_eq!(errors, [if seen == 0 { wanted } else { Currency::Aud.into() }]);
    }
    let apart = ("XBTAUD XBTUSD,XBTEUR".to_owned(), 2);
    assert_eq!(polls[0], ("XBTUSD,XBTEUR,XBTAUD".to_owned(), 0));
    assert_eq!(polls[1], ("XBTAUD XBTEUR XBTUSD".to_owned(), 2));
    assert_eq!(polls[2..], [apart.clone(), apart]);
}

#[tokio::test]
async fn answer_has_the_time_at_which_it_was_sent() {
    let (url, _) = kraken_without("XBTAUD").await;
    let [answer] = &observe(&*open("kraken", &url, Duration::ZERO), Currencies::USD_EUR).await[..] else { panic!() };
    let (sent, now) = (answer.sent.unwrap(), TickId::now());
    assert!(sent.since(now).max(now.since(sent)) < Duration::from_secs(20), "{answer:?}");
}
