//! The scenarios `cursor` and `merge` of `sdk/scenarios.json`, which need no server. Every SDK runs them.

use super::cursor::Cursor;
use super::merge::{LinePosition, Merge};
use super::received::Received;
use super::update::Update;
use crate::feed::Start;
use crate::tick::TickId;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

fn scenarios(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../sdk/scenarios.json")).unwrap();
    all[kind].as_array().unwrap().clone()
}

/// Returns a message from its short form in a scenario.
fn message(short: &Value) -> Received {
    let text = if let Some(tick) = short.get("tick") {
        json!({"type": "tick", "id": tick[0], "prev": tick[1], "prices": {}})
    } else if let Some(gap) = short.get("gap") {
        json!({"type": "gap", "after": gap[0], "before": gap[1], "reason": gap[2]})
    } else if let Some(id) = short.get("synced") {
        json!({"type": "synced", "id": id})
    } else {
        short["raw"].clone()
    };
    Received::read(&text.to_string()).unwrap()
}

/// Returns updates in the short form of a scenario.
fn in_short(updates: &VecDeque<Update>) -> Value {
    let short = |update: &Update| match update {
        Update::Tick(tick) => Some(json!(tick.id.ms())),
        Update::Gap(gap) => Some(json!([gap.after.ms(), gap.before.ms(), gap.reason.as_str()])),
        _ => None,
    };
    updates.iter().filter_map(short).collect()
}

fn cursor(scenario: &Value) -> Cursor {
    let start = scenario["after"].as_u64().map_or(Start::Latest, |id| Start::After(TickId::from_ms(id)));
    Cursor::new(start, scenario["chained"].as_bool().unwrap_or(true))
}

#[test]
fn cursor_does_what_every_sdk_does() {
    for scenario in scenarios("cursor") {
        let (name, mut cursor, mut out) = (&scenario["name"], cursor(&scenario), VecDeque::new());
        for short in scenario["messages"].as_array().unwrap() {
            cursor.receive(message(short), &mut out);
        }
        assert_eq!(in_short(&out), scenario["expect"], "{name}");
        if let Some(last) = scenario["last"].as_u64() {
            assert_eq!(cursor.last(), Some(TickId::from_ms(last)), "{name}");
        }
        if let Some(doubled) = scenario["doubled"].as_u64() {
            assert_eq!(cursor.duplicates(), doubled, "{name}");
        }
    }
}

#[test]
fn merge_does_what_every_sdk_does() {
    for scenario in scenarios("merge") {
        let (name, mut cursor, mut out) = (&scenario["name"], cursor(&scenario), VecDeque::new());
        let mut now = Instant::now();
        let mut lines = [LinePosition::default(), LinePosition::default()];
        let mut merge = Merge::new(2, now);
        for step in scenario["steps"].as_array().unwrap() {
            match step[0].as_str() {
                Some("wait") => now += Duration::from_secs(step[1].as_u64().unwrap()),
                Some("lost") => {
                    lines[usize::try_from(step[1].as_u64().unwrap()).unwrap()] = LinePosition::default();
                }
                Some("hole") => {
                    let hole = merge.hole(&cursor).unwrap();
                    assert_eq!(json!([hole.after.ms(), hole.until.ms()]), step[1], "{name}");
                }
                Some("awaited") => assert_eq!(json!(merge.is_awaited(&lines)), step[1], "{name}"),
                Some("history") => merge.heal(&mut cursor, message(&step[1]), now, &mut out),
                Some(_) => merge.give_up(&mut cursor, now, &mut out),
                None => {
                    let line = usize::try_from(step[0].as_u64().unwrap()).unwrap();
                    merge.receive(&mut cursor, &mut lines, (line, line), message(&step[1]), now, &mut out);
                }
            }
        }
        assert_eq!(in_short(&out), scenario["expect"], "{name}");
        let expected = [&scenario["doubled"], &scenario["healed"]].map(|count| count.as_u64().unwrap_or(0));
        assert_eq!([cursor.duplicates(), merge.healed()], expected, "{name}");
        assert_eq!(merge.hole(&cursor), None, "{name}");
    }
}

#[test]
fn line_that_is_late_for_5_s_is_replaced() {
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let (mut cursor, mut out) = (Cursor::new(Start::Latest, true), VecDeque::new());
    let (mut merge, mut lines) = (Merge::new(2, start), [LinePosition::default(), LinePosition::default()]);
    for line in 0..2 {
        let synced = message(&json!({"synced": 0}));
        merge.receive(&mut cursor, &mut lines, (line, line), synced, start, &mut out);
    }
    let mut late = Vec::new();
    for id in 1..30_u32 {
        let now = start + id * second;
        let tick = |id: u32| message(&json!({"tick": [id, id - 1]}));
        merge.receive(&mut cursor, &mut lines, (0, 0), tick(id), now, &mut out);
        late.extend(Merge::late(&cursor, &mut lines, now).into_iter().map(|line| (line, id)));
        // From 3 s to 19 s, line 1 is 2 s late. Then it is silent.
        if (3..20).contains(&id) {
            merge.receive(&mut cursor, &mut lines, (1, 1), tick(id - 2), now, &mut out);
            assert!(Merge::late(&cursor, &mut lines, now).is_empty());
        }
    }
    assert_eq!(late, [(1, 25), (1, 26), (1, 27), (1, 28), (1, 29)]);
}
