//! Compares three records: what the exchanges answered, what the store holds, and what each client got.

use crate::support::exchange::Answer;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The maximum number of answers that arrive after the deadline of their poll.
const LATE: usize = 5;

/// The three records, and the replicas that were killed.
pub struct Records {
    /// The answers of the exchange. No two answers have the same price, and each poll has one answer.
    pub polls: Vec<Answer>,
    /// The history in the store: the score and the text of each member.
    pub history: Vec<(f64, String)>,
    /// The messages that each client got.
    pub clients: Vec<Vec<Value>>,
    /// The replicas that were killed, each with the moment in Unix milliseconds.
    pub killed: Vec<(String, u64)>,
    /// The lines of the logs that say what was polled. On a busy machine, an answer may arrive after the deadline of
    /// its poll, and then no line has its price.
    pub polled: String,
    /// The time between two polls, in milliseconds.
    pub interval_ms: u64,
    /// The time in milliseconds without a tick after which a gap must be reported.
    pub stale_after_ms: u64,
    /// If a fault separated the leader from the store, the longest pause in milliseconds that the change of the leader
    /// may take. The old leader's polls in this pause are not promised.
    pub handover_ms: Option<u64>,
    /// The moment in Unix milliseconds before which the prices of the history are not from polls, because the test
    /// wrote them.
    pub prices_after: u64,
    /// The moment in Unix milliseconds after which polls and entries may be missing, because they may still be under
    /// way.
    pub end: u64,
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Findings {
    /// The number of polls.
    pub polls: usize,
    /// The polls that are in the history.
    pub kept: usize,
    /// The polls for whose time the history has another tick.
    pub covered: usize,
    /// The polls that only a killed replica had.
    pub died: usize,
    /// The answers that arrived after the deadline of their poll.
    pub late: usize,
    /// The polls of a leader without its store in the pause until another replica led.
    pub handover: usize,
    /// The polls in a time that a gap reports.
    pub explained: usize,
    /// The longest time between two ticks of the history, in milliseconds.
    pub pause_ms: u64,
    /// The number of gaps that clients got, for each reason.
    pub gaps: BTreeMap<String, usize>,
    /// A text for each fault that was found. Empty if all promises were kept.
    pub violations: Vec<String>,
}

/// An entry of the history.
struct Kept {
    id: u64,
    prev: u64,
    price: Option<String>,
    /// The replica that polled it.
    replica: Option<String>,
    /// If an outage ends with this tick: the id after which that outage began.
    outage: Option<u64>,
}

impl Records {
    /// Compares the records.
    pub fn check(&self) -> Findings {
        let mut findings = Findings { polls: self.polls.len(), ..Findings::default() };
        let history = self.history(&mut findings);
        self.check_chain(&history, &mut findings);
        self.check_polls(&history, &mut findings);
        for (number, messages) in self.clients.iter().enumerate() {
            self.check_client(number, messages, &history, &mut findings);
        }
        findings
    }

    /// Leaves out the prices of entries that are older than `moment`, because no exchange gave them.
    pub fn without_prices_before(mut self, moment: u64) -> Records {
        self.prices_after = moment;
        self
    }

    fn history(&self, findings: &mut Findings) -> Vec<Kept> {
        let polled: BTreeMap<_, _> = self.polls.iter().map(|poll| (poll.price.as_str(), &poll.replica)).collect();
        let mut history = Vec::new();
        for (score, text) in &self.history {
            let Ok(entry) = serde_json::from_str::<Value>(text) else {
                findings.violations.push(format!("the history has garbage: {score} {text:.80}"));
                continue;
            };
            let id = entry["id"].as_u64().unwrap_or_default();
            if id as f64 != *score {
                findings.violations.push(format!("the history has garbage: {score} {text:.80}"));
                continue;
            }
            let price = entry["prices"]["USD"].as_str().map(str::to_owned);
            let replica = price.as_deref().and_then(|price| polled.get(price)).map(|replica| (*replica).clone());
            if price.is_some() && replica.is_none() && id >= self.prices_after {
                findings.violations.push(format!("the history has a price that no exchange gave: {text}"));
            }
            let outage = entry["outages"][0]["after"].as_u64();
            history.push(Kept { id, prev: entry["prev"].as_u64().unwrap_or_default(), price, replica, outage });
        }
        history
    }

    /// Checks that each entry follows the one before it, and that a long pause is reported.
    fn check_chain(&self, history: &[Kept], findings: &mut Findings) {
        for pair in history.windows(2) {
            if pair[1].prev != pair[0].id {
                findings.violations.push(format!("the chain is broken: {} follows {}", pair[1].id, pair[0].id));
            }
        }
        let polled = |entry: &&Kept| entry.price.is_some() && entry.id >= self.prices_after;
        let ticks: Vec<_> = history.iter().filter(polled).collect();
        for pair in ticks.windows(2) {
            let pause = pair[1].id - pair[0].id;
            findings.pause_ms = findings.pause_ms.max(pause);
            if pause > self.stale_after_ms + 500 && pair[1].outage != Some(pair[0].id) {
                findings
                    .violations
                    .push(format!("{pause} ms without a tick before {}, and no gap says so", pair[1].id));
            }
        }
    }

    fn check_polls(&self, history: &[Kept], findings: &mut Findings) {
        let mut written: BTreeMap<&str, usize> = BTreeMap::new();
        let polled = history.iter().filter(|entry| entry.id >= self.prices_after);
        for price in polled.filter_map(|entry| entry.price.as_deref()) {
            *written.entry(price).or_default() += 1;
        }
        for (price, count) in written.iter().filter(|(_, count)| **count > 1) {
            findings.violations.push(format!("the poll with the price {price} is in the history {count} times"));
        }
        for poll in self.polls.iter().filter(|poll| poll.at < self.end) {
            let is_logged = self.polled.contains(&tick_in_log(&poll.price));
            if written.contains_key(poll.price.as_str()) {
                findings.kept += 1;
                // This check makes sure that the log has a line for each poll. Without these lines, a lost poll would
                // count as late.
                if !is_logged && !self.is_killed_after(poll) {
                    findings
                        .violations
                        .push(format!("no line of the log has the poll of {} at {}", poll.replica, poll.at));
                }
            } else if self.is_explained(poll, history) {
                findings.explained += 1;
            } else if self.is_covered(poll, history) {
                findings.covered += 1;
            } else if self.is_in_handover(poll, history) {
                findings.handover += 1;
            } else if self.is_killed_after(poll) {
                findings.died += 1;
            } else if !is_logged {
                findings.late += 1;
            } else {
                findings.violations.push(format!("a poll of {} at {} is lost", poll.replica, poll.at));
            }
        }
        if findings.late > LATE {
            findings.violations.push(format!("{} polls were late, expected at most {LATE}", findings.late));
        }
    }

    /// Returns true if the history has another tick for the time of this poll: the ticks around it follow each other
    /// closely, or a tick of another replica is near.
    fn is_covered(&self, poll: &Answer, history: &[Kept]) -> bool {
        let ticks = || history.iter().filter(|entry| entry.price.is_some()).map(|entry| entry.id);
        let (before, after) = (ticks().take_while(|id| *id < poll.at).last(), ticks().find(|id| *id >= poll.at));
        if before.zip(after).is_some_and(|(before, after)| after - before < self.interval_ms * 3 / 2) {
            return true;
        }
        let near = |entry: &&Kept| entry.id.abs_diff(poll.at) <= self.interval_ms + 150;
        history.iter().filter(near).any(|entry| entry.replica.as_ref().is_some_and(|other| *other != poll.replica))
    }

    /// Returns true if the poll is in a short pause that another replica has ended.
    fn is_in_handover(&self, poll: &Answer, history: &[Kept]) -> bool {
        let Some(limit) = self.handover_ms else { return false };
        let mut ticks = history.iter().filter(|entry| entry.price.is_some());
        let before = ticks.clone().take_while(|entry| entry.id < poll.at).last();
        let after = ticks.find(|entry| entry.id >= poll.at);
        let (Some(before), Some(after)) = (before, after) else { return false };
        after.id - before.id <= limit && after.replica.as_ref() != Some(&poll.replica)
    }

    /// Returns true if the replica was killed after this poll. The end of its log may be missing.
    fn is_killed_after(&self, poll: &Answer) -> bool {
        self.killed.iter().any(|(replica, at)| *replica == poll.replica && poll.at <= *at)
    }

    fn is_explained(&self, poll: &Answer, history: &[Kept]) -> bool {
        history.iter().any(|entry| entry.outage.is_some_and(|after| after < poll.at && poll.at < entry.id))
    }

    /// Checks that a client got each entry of the history once and in order, and that a gap says where entries are
    /// missing.
    fn check_client(&self, number: usize, messages: &[Value], history: &[Kept], findings: &mut Findings) {
        let prices: BTreeMap<u64, Option<&str>> =
            history.iter().map(|entry| (entry.id, entry.price.as_deref())).collect();
        let (mut last, mut gap): (Option<u64>, Option<(u64, u64)>) = (None, None);
        let (mut got, mut gaps) = (BTreeSet::new(), Vec::new());
        let mut fail = |text: String| findings.violations.push(format!("client {number}: {text}"));
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        for message in messages {
            if message["type"] == "gap" {
                let range = (message["after"].as_u64().unwrap(), message["before"].as_u64().unwrap());
                *told.entry(message["reason"].as_str().unwrap().to_owned()).or_default() += 1;
                gap = Some(range);
                gaps.push(range);
                continue;
            }
            let (id, prev) = (message["id"].as_u64().unwrap(), message["prev"].as_u64().unwrap());
            if let Some(last) = last {
                if id <= last {
                    fail(format!("got {id} after {last}"));
                } else if prev != last && gap.is_none_or(|(_, before)| before != id) {
                    fail(format!("got {id}, which follows {prev}, after {last}, and no gap says so"));
                }
            }
            let price = message["prices"]["USD"].as_number().map(ToString::to_string);
            match prices.get(&id) {
                Some(kept) if kept.map(str::to_owned).map(|text| normal(&text)) != price.as_deref().map(normal) => {
                    fail(format!("{id} has another price in the history"));
                }
                None if id < self.end => fail(format!("{id} is not in the history")),
                _ => {}
            }
            got.insert(id);
            (last, gap) = (Some(id), None);
        }
        let (Some(first), Some(last)) = (got.first().copied(), got.last().copied()) else {
            return fail("got nothing".to_owned());
        };
        let in_gap = |id: u64| gaps.iter().any(|(after, before)| *after < id && id < *before);
        let missing: Vec<_> =
            history.iter().map(|kept| kept.id).filter(|id| (first..=last).contains(id) && !got.contains(id)).collect();
        if let Some(id) = missing.iter().find(|id| !in_gap(**id)) {
            fail(format!("did not get {id}, and no gap says so ({} entries)", missing.len()));
        }
        for (reason, count) in told {
            *findings.gaps.entry(reason).or_default() += count;
        }
    }
}

/// Returns a price without zeros at its end.
fn normal(price: &str) -> String {
    match price.contains('.') {
        true => price.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => price.to_owned(),
    }
}

/// Returns how the log names the price of a tick. The digits alone are not enough, because a bid of another poll may
/// have the same digits.
fn tick_in_log(price: &str) -> String {
    format!("{{Usd: Price({price})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Polls every 100 ms by `a`, all of them in the history, and a client that got all of it.
    fn records() -> Records {
        let price = |n: u64| format!("97000.{n:02}");
        let polled = (1..=9).map(|n| tick_in_log(&price(n))).collect();
        let polls = (1..=9).map(|n| Answer { replica: "a".to_owned(), price: price(n), at: n * 100 }).collect();
        let entry = |n: u64| json!({"type": "tick", "id": n * 100, "prev": (n - 1) * 100, "prices": {"USD": price(n)}});
        let history = (1..=9).map(|n| ((n * 100) as f64, entry(n).to_string())).collect();
        let message = |n: u64| {
            let mut message = entry(n);
            message["prices"]["USD"] = serde_json::from_str(&price(n)).unwrap();
            message
        };
        let clients = vec![(1..=9).map(message).collect()];
        Records {
            polls,
            history,
            clients,
            killed: vec![],
            polled,
            interval_ms: 100,
            stale_after_ms: 1000,
            handover_ms: None,
            prices_after: 0,
            end: 1000,
        }
    }

    fn violations(change: impl Fn(&mut Records)) -> String {
        let mut records = records();
        change(&mut records);
        records.check().violations.join("; ")
    }

    #[test]
    fn checker_accepts_equal_records() {
        let findings = records().check();
        assert_eq!((findings.kept, findings.violations.len()), (9, 0), "{:?}", findings.violations);
    }

    #[test]
    fn checker_finds_each_kind_of_violation() {
        let lost = violations(|records| drop(records.history.remove(4)));
        assert!(lost.contains("a poll of a at 500 is lost") && lost.contains("the chain is broken"), "{lost}");
        assert!(lost.contains("client 0: 500 is not in the history"), "{lost}");
        let doubled = violations(|records| {
            let text = records.history[8].1.replace("900", "910").replace("800", "900");
            records.history.push((910.0, text));
        });
        assert!(doubled.contains("is in the history 2 times"), "{doubled}");
        let skipped = violations(|records| drop(records.clients[0].remove(3)));
        assert!(skipped.contains("got 500, which follows 400, after 300"), "{skipped}");
        let twice = violations(|records| {
            let again = records.clients[0][3].clone();
            records.clients[0].push(again);
        });
        assert!(twice.contains("got 400 after 900"), "{twice}");
        let forged = violations(|records| records.polls.clear());
        assert!(forged.contains("a price that no exchange gave"), "{forged}");
        let unlogged = violations(|records| records.polled.clear());
        assert!(unlogged.contains("no line of the log has the poll of a at 500"), "{unlogged}");
        let late = violations(|records| {
            records.history.truncate(3);
            records.clients[0].truncate(3);
            records.polled.truncate(3 * tick_in_log("97000.01").len());
            // A bid with the digits of a late price is not a line about that price.
            records.polled.push_str("bid: Some(Price(97000.05))");
        });
        assert_eq!(late, "6 polls were late, expected at most 5");
        let silent = violations(|records| records.stale_after_ms = 0);
        assert_eq!(silent, "", "a pause of 100 ms is no outage");
    }
}
