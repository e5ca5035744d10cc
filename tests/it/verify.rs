//! `btcfeed verify` and `examples/verify.py`: both compute all prices of a stream again, and find a wrong digit.

use crate::support::exchange::Exchange;
use crate::support::foreign_server::{Answer, Server};
use crate::support::{data_directory, embedded, soon, until};
use async_trait::async_trait;
use btcfeed::aggregate::{Aggregator, Options, Rules};
use btcfeed::encode::{Format, Framing, View};
use btcfeed::feed::{Entry, Event};
use btcfeed::source::{self, Observation, Source, SourceError};
use btcfeed::tick::{Audit, Currencies, Currency, Price, TickId};
use rust_decimal::Decimal;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// The currencies of the recorded feed.
const CURRENCIES: [Currency; 2] = [Currency::Usd, Currency::Eur];

/// A source that is mostly right, lies now and then, is frozen for some time, and fails sometimes.
struct Erratic {
    name: &'static str,
    random: fastrand::Rng,
    polls: u64,
    frozen: Option<(u64, Vec<Observation>)>,
}

impl Erratic {
    fn new(name: &'static str, seed: u64) -> Erratic {
        Erratic { name, random: fastrand::Rng::with_seed(seed), polls: 0, frozen: None }
    }

    fn price(cents: i64) -> Option<Price> {
        Decimal::new(cents, 2).to_string().parse().ok()
    }

    fn observation(&mut self, currency: Currency) -> Observation {
        // All sources see the same slow walk.
        let middle = 9_700_000 + (self.polls as i64 % 4000 - 2000).abs() * 37 + self.random.i64(-900..=900);
        let middle = match self.random.u8(..) {
            0..4 => middle * self.random.i64(50..=150) / 100,
            4..20 => middle * self.random.i64(992..=1008) / 1000,
            _ => middle,
        };
        let half = self.random.i64(0..=300);
        let (bid, ask) = (Erratic::price(middle - half), Erratic::price(middle + half));
        let (bid, ask) = match self.random.u8(..) {
            0..10 => (ask, bid),
            10..20 => (None, None),
            20..25 => (Erratic::price(middle / 2), ask),
            _ => (bid, ask),
        };
        let last = Erratic::price(middle + self.random.i64(-500..=500));
        let volume = Some(Decimal::new(self.random.i64(1..=1_000_000), 3));
        let time = self.random.bool().then(TickId::now);
        Observation { currency, bid, ask, last, volume, time, trade_time: None }
    }
}

struct Scripted(std::sync::Mutex<Erratic>);

#[async_trait]
impl Source for Scripted {
    fn name(&self) -> &'static str {
        self.0.lock().unwrap().name
    }

    fn currencies(&self) -> Currencies {
        Currencies::all()
    }

    async fn observe(&self, currencies: Currencies, _deadline: Duration) -> Vec<source::Answer> {
        let mut source = self.0.lock().unwrap();
        source.polls += 1;
        if source.random.u8(..) == 0 {
            let reason = SourceError::new(currencies, "HTTP 503".to_owned());
            return vec![source::Answer::failed(reason, Duration::from_millis(3))];
        }
        let polls = source.polls;
        if let Some((_, same)) = source.frozen.clone().filter(|(until, _)| polls < *until) {
            return vec![source::Answer::new(same, vec![], Duration::from_millis(7))];
        }
        let seen: Vec<_> = currencies.iter().map(|currency| source.observation(currency)).collect();
        if source.random.u16(..400) == 0 {
            let same = seen.iter().map(|seen| Observation { time: None, ..seen.clone() }).collect();
            source.frozen = Some((polls + 100, same));
        }
        vec![source::Answer::new(seen, vec![], Duration::from_millis(5))]
    }
}

/// Records this number of ticks of a feed with five sources, in the format `audit`.
async fn record(count: usize) -> String {
    record_of(&["coinbase", "kraken", "bitstamp", "gemini", "bitfinex"], count).await
}

/// Records ticks of a feed with these sources.
async fn record_of(names: &[&'static str], count: usize) -> String {
    let source =
        |(name, seed): (&&'static str, u64)| Box::new(Scripted(Erratic::new(name, seed).into())) as Box<dyn Source>;
    let sources = names.iter().zip(1..).map(source).collect();
    let rules = Rules {
        interval: Duration::from_secs(5),
        max_age: Duration::from_secs(60),
        outlier_share: Decimal::new(1, 2),
        clamp_share: Decimal::new(5, 3),
        min_sources: 2,
        frozen_polls: 20,
    };
    let currencies = CURRENCIES.into_iter().collect();
    let mut aggregator = Aggregator::new(sources, Options { currencies, deadline: Duration::from_secs(5), rules });
    let view = View::new(Format::Audit, currencies, Framing::Line);
    let (mut lines, mut prev) = (Vec::new(), TickId::ZERO);
    let (mut ticks, mut id) = (0, TickId::now());
    while ticks < count {
        let poll = aggregator.poll(TickId::now()).await;
        let Some(mut tick) = poll.tick else { continue };
        tick.audit = Some(Arc::new(Audit { parameters: poll.parameters, inputs: poll.inputs }));
        view.write_entry(&Entry { id, prev, event: Event::Tick { tick, outages: vec![] } }, &mut lines);
        (prev, id, ticks) = (id, id.plus(Duration::from_millis(fastrand::u64(1..9000))), ticks + 1);
    }
    String::from_utf8(lines).unwrap()
}

fn is_book(field: &str) -> bool {
    matches!(field, r#""bid":"# | r#""ask":"#)
}

/// Returns whether the value of the input around `at` is the middle of its book.
fn has_value_of_book(recording: &str, at: usize) -> bool {
    let begin = recording[..at].rfind('{').unwrap();
    let end = at + recording[at..].find('}').unwrap();
    let input: serde_json::Value = serde_json::from_str(&recording[begin..=end]).unwrap();
    let number = |field: &str| input[field].as_f64();
    let middle = || Some((number("bid")? + number("ask")?) / 2.0);
    middle().zip(number("value")).is_some_and(|(middle, value)| (middle - value).abs() < 1e-6)
}

/// Runs a verifier. Returns its exit code, and what it prints.
async fn verify(mut command: Command, path: &Path) -> (i32, String) {
    command.arg(path).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("the verifier", command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

fn verifiers() -> [Command; 2] {
    let mut program = Command::new(env!("CARGO_BIN_EXE_btcfeed"));
    program.arg("verify");
    let mut script = Command::new("python3");
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/verify.py"));
    [program, script]
}

#[tokio::test]
async fn both_verifiers_compute_every_price_again() {
    let recording = record(10_000).await;
    let has = |word: &str| recording.contains(word);
    assert!(has("outlier: ") && has("frozen: ") && has("HTTP 503"), "the sources lie, freeze and fail");
    let directory = data_directory();
    let path = directory.path().join("audit.ndjson");
    std::fs::write(&path, &recording).unwrap();
    for verifier in verifiers() {
        let (code, text) = verify(verifier, &path).await;
        assert!(code == 0 && text.contains("10000 entries"), "{text}");
    }
}

#[tokio::test]
async fn feed_is_verified_at_its_address() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    until("some ticks", async || replica.history().await.len() > 5).await;
    let url = format!("http://{}", replica.address);
    let [program, _] = verifiers();
    let (code, text) = verify(program, Path::new(&url)).await;
    let numbers: Vec<u64> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [entries, prices] = numbers[..] else { panic!("{text}") };
    assert!(code == 0 && prices > entries, "each tick has prices in both currencies: {text}");
    let [program, _] = verifiers();
    let (code, text) = verify(program, Path::new("http://127.0.0.1:9")).await;
    assert!(code == 3 && text.contains("0 entries"), "{text}");
    let [program, _] = verifiers();
    assert_eq!(verify(program, Path::new("http://")).await.0, 2);
}

#[tokio::test]
async fn feed_that_disconnects_is_verified_to_its_end() {
    let recording = record(6).await;
    let hello = r#"{"type":"hello","replica":"r1","version":"1","currencies":["USD","EUR"],"interval_ms":5000,"state":null,"reason":null}"#;
    let synced = r#"{"type":"synced","id":1}"#;
    let lines: Vec<_> = recording.lines().collect();
    let answer = |lines: &[&str], close| Answer::messages(&[&[hello], lines].concat(), close);
    let end = [&lines[3..], &[synced]].concat();
    // The first connection only asks for the currencies. The server closes the second and the third.
    let answers = [answer(&[], None), answer(&lines[..3], Some(1012)), answer(&[], Some(1012)), answer(&end, None)];
    let server = Server::start(answers.into()).await;
    let [program, _] = verifiers();
    let (code, text) = verify(program, Path::new(&format!("http://{}", server.address))).await;
    assert!(code == 0 && text.starts_with("6 entries in an unbroken chain, 12 prices"), "{text}");
    assert!(server.requests()[1].0.contains("currency=USD%2CEUR"), "{:?}", server.requests());
}

#[tokio::test]
async fn missing_entry_needs_a_gap_of_its_own() {
    let recording = record(6).await;
    let lines: Vec<&str> = recording.lines().collect();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap();
    let (last, next) = (id(lines[2]), id(lines[4]));
    let gap = |after: u64, before: u64, reason: &str| {
        format!(r#"{{"type":"gap","after":{after},"before":{before},"reason":"{reason}"}}"#)
    };
    let cases = [
        (String::new(), 1),
        (gap(last, next, "source_outage"), 1),
        (gap(last, next, "held_too_long"), 1),
        (gap(last - 1, next, "history_expired"), 1),
        (gap(last, next + 1, "history_expired"), 1),
        (gap(last, next, "history_expired"), 0),
        (gap(last, next, "history_lost"), 0),
        (gap(last, next, "replay_limit"), 0),
        (gap(0, next, "unknown_client_id"), 0),
        (gap(0, next + 1, "unknown_client_id"), 1),
    ];
    let directory = data_directory();
    let path = directory.path().join("audit.ndjson");
    for (gap, expected) in cases {
        let kept = [&lines[..3], &[&*gap], &lines[4..]].concat();
        let kept: Vec<_> = kept.into_iter().filter(|line| !line.is_empty()).collect();
        std::fs::write(&path, kept.join("\n") + "\n").unwrap();
        for verifier in verifiers() {
            let (code, text) = verify(verifier, &path).await;
            assert_eq!(code, expected, "{gap}: {text}");
            assert!(code == 0 || text.contains(&next.to_string()), "{text}");
        }
        let (_, text) = verify(verifiers().into_iter().next().unwrap(), &path).await;
        assert_eq!(text.contains("5 entries with 1 reported gaps"), expected == 0, "{text}");
    }
}

#[tokio::test]
async fn sources_without_a_price_are_found() {
    let recording = record_of(&["coinbase", "kraken"], 300).await;
    let has = |line: &&str, text: &str| line.contains(text);
    // Too few sources agreed on this price, or the currency is not one of the feed.
    let no_euro = recording.lines().find(|line| has(line, r#""currency":"EUR""#) && !has(line, r#""EUR":["#));
    let cases = [(no_euro.expect("a tick without euros"), "EUR"), (recording.lines().next().unwrap(), "GBP")];
    let directory = data_directory();
    let path = directory.path().join("audit.ndjson");
    for (line, currency) in cases {
        std::fs::write(&path, line).unwrap();
        for verifier in verifiers() {
            assert_eq!(verify(verifier, &path).await.0, 0, "{line}");
        }
        for (field, value) in [("sources", r#"["kraken"]"#), ("confidence", "1"), ("spread", "1")] {
            let more = format!(r#""{field}":{{"{currency}":{value},"#);
            let changed = line.replacen(&format!(r#""{field}":{{"#), &more, 1);
            assert_ne!(changed, line);
            std::fs::write(&path, changed).unwrap();
            for verifier in verifiers() {
                let (code, text) = verify(verifier, &path).await;
                assert!(code == 1 && text.contains(currency), "{field}: {code}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_to_verify_is_no_success() {
    let recording = record(2).await;
    let full = recording.lines().map(|line| {
        let mut tick: Value = serde_json::from_str(line).unwrap();
        tick.as_object_mut().unwrap().retain(|name, _| name != "inputs" && name != "parameters");
        tick.to_string() + "\n"
    });
    let directory = data_directory();
    let path = directory.path().join("audit.ndjson");
    for input in [String::new(), "{\"type\":\"synced\",\"id\":1}\n".to_owned(), full.collect()] {
        std::fs::write(&path, &input).unwrap();
        for verifier in verifiers() {
            let (code, text) = verify(verifier, &path).await;
            assert_eq!(code, 3, "{input}: {text}");
        }
    }
    let [program, _] = verifiers();
    assert_eq!(verify(program, &directory.path().join("nothing")).await.0, 3);
    std::fs::write(&path, "<html>\n").unwrap();
    let [program, _] = verifiers();
    assert_eq!(verify(program, &path).await.0, 3);
}

#[tokio::test]
async fn changed_digit_is_found_by_both_verifiers() {
    let recording = record(12).await;
    let directory = data_directory();
    let path = directory.path().join("audit.ndjson");
    // The digits of the chain, of the inputs of each price, and of what is computed from them.
    let fields =
        [r#""id":"#, r#""prev":"#, r#""USD":"#, r#""EUR":"#, r#""bid":"#, r#""ask":"#, r#""value":"#, r#""used":"#];
    let mut places = Vec::new();
    for (start, field) in fields.iter().flat_map(|field| recording.match_indices(field)) {
        let number = start + field.len();
        let digits = recording[number..].bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        // The first entry may follow any other. A bid or ask has no effect if the value of its input is the last trade.
        if (field == r#""prev":"# && number < 100) || (is_book(field) && !has_value_of_book(&recording, start)) {
            continue;
        }
        places.extend((number..number + digits).filter(|place| recording.as_bytes()[*place] != b'.'));
    }
    fastrand::shuffle(&mut places);
    for place in &places[..40] {
        let mut changed = recording.clone().into_bytes();
        changed[*place] = b'0' + (changed[*place] - b'0' + fastrand::u8(1..10)) % 10;
        std::fs::write(&path, &changed).unwrap();
        let around = &recording[place.saturating_sub(30)..*place];
        for verifier in verifiers() {
            let (code, text) = verify(verifier, &path).await;
            assert_ne!(code, 0, "a changed digit after {around:?} was not found: {text}");
        }
    }
}
