//! The table of bounds in `docs/method.md`: the greatest error that a wrong source causes in the price, under the rule
//! of version 0.2.0 and under method 1.

use super::old_rule::OldRule;
use super::*;
use std::fmt::Write;
use std::{env, fs};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/method.md");
const BEGIN: &str = "<!-- bounds -->\n";
const END: &str = "<!-- end of bounds -->\n";
/// The number of polls in an hour.
const HOUR: u32 = 720;

/// A market with a wrong source: what each source says in a poll, and the right price.
struct Case {
    name: &'static str,
    configured: usize,
    min_sources: usize,
    polls: u32,
    /// The number of different liars that are tried.
    choices: u32,
    says: fn(u32, Seen) -> (Vec<Decimal>, Decimal),
}

/// What the answer of a liar depends on, besides the number of the poll.
#[derive(Clone, Copy)]
struct Seen {
    /// The newest price of the feed.
    last: Decimal,
    /// Which of the different liars this is, counted from 0.
    choice: u32,
}

fn thousandths(value: i64) -> Decimal {
    Decimal::new(value, 3)
}

/// The prices of two honest sources that differ by 0.02 %, and their median.
const LOW: Decimal = Decimal::from_parts(9_999_000, 0, 0, false, 2);
const HIGH: Decimal = Decimal::from_parts(10_001_000, 0, 0, false, 2);
const MIDDLE: Decimal = Decimal::from_parts(10_000_000, 0, 0, false, 2);

/// Returns the relative error of the liar with this choice: -20 % for choice 0, then in steps of 1 % up to +20 %.
fn share(choice: u32) -> Decimal {
    thousandths(i64::from(choice) * 10 - 200)
}

const CASES: [Case; 9] = [
    Case {
        name: "one of three says −20 % to +20 %",
        configured: 3,
        min_sources: 2,
        polls: 1,
        choices: 41,
        says: |_, seen| (vec![LOW, HIGH, MIDDLE + MIDDLE * share(seen.choice)], MIDDLE),
    },
    Case {
        name: "one of three walks by 0.4 % a poll for an hour",
        configured: 3,
        min_sources: 2,
        polls: HOUR,
        choices: 1,
        says: |poll, _| (vec![LOW, HIGH, MIDDLE + MIDDLE * thousandths(4) * Decimal::from(poll)], MIDDLE),
    },
    Case {
        name: "one of three says 4 % too much, as Gemini once did",
        configured: 3,
        min_sources: 2,
        polls: 1,
        choices: 1,
        says: |_, _| (vec![LOW, HIGH, MIDDLE * thousandths(1040)], MIDDLE),
    },
    Case {
        name: "one of two says 4 % too much, as Gemini once did",
        configured: 3,
        min_sources: 2,
        polls: 1,
        choices: 1,
        says: |_, _| (vec![MIDDLE, MIDDLE * thousandths(1040)], MIDDLE),
    },
    Case {
        name: "one of two says −20 % to +20 %",
        configured: 2,
        min_sources: 2,
        polls: 2,
        choices: 41,
        // In the first poll, both sources are right. The old rule compares the values of the second poll with the price
        // of the first.
        says: |poll, seen| {
            let lie = if poll == 0 { MIDDLE } else { MIDDLE + MIDDLE * share(seen.choice) };
            (vec![MIDDLE, lie], MIDDLE)
        },
    },
    Case {
        name: "one of two walks by 4 % a poll for 46 polls; the other does not answer in the first two of them",
        configured: 2,
        min_sources: 2,
        polls: 47,
        choices: 1,
        says: |poll, seen| {
            let lie = if poll == 0 { MIDDLE } else { seen.last * thousandths(1040) };
            (if (1..=2).contains(&poll) { vec![lie] } else { vec![lie, MIDDLE] }, MIDDLE)
        },
    },
    Case {
        name: "one of two keeps within 1 % of the other, which is right, for an hour",
        configured: 2,
        min_sources: 2,
        polls: HOUR,
        choices: 1,
        says: |_, _| (vec![MIDDLE, MIDDLE * thousandths(1010)], MIDDLE),
    },
    Case {
        name: "one of two is frozen while the market rises by 3 % in an hour",
        configured: 2,
        min_sources: 2,
        polls: HOUR,
        choices: 1,
        says: |poll, _| {
            let right = MIDDLE + MIDDLE * thousandths(30) * Decimal::from(poll) / Decimal::from(HOUR);
            (vec![right, MIDDLE], right)
        },
    },
    Case {
        name: "after ten calm polls, only one of three sources answers, and it walks by 4 % a poll for 46 polls (`BTCFEED_MIN_SOURCES=1`)",
        configured: 3,
        min_sources: 1,
        polls: 56,
        choices: 1,
        says: |poll, seen| {
            // In the first ten polls, two sources move together by 0.01 %.
            let calm = MIDDLE + if poll % 2 == 0 { Decimal::ZERO } else { Decimal::TEN };
            if poll < 10 { (vec![calm, calm], calm) } else { (vec![seen.last * thousandths(1040)], MIDDLE) }
        },
    },
];

impl Case {
    /// Returns the greatest error of the price, and the greatest number of polls without a price, each over all liars.
    fn worst(&self, mut feed: impl FnMut() -> Box<dyn FnMut(&[Decimal]) -> Option<Decimal>>) -> (Decimal, u32) {
        let runs = (0..self.choices).map(|choice| {
            let (mut price, mut last, mut worst, mut silent) = (feed(), MIDDLE, Decimal::ZERO, 0);
            for poll in 0..self.polls {
                let (values, right) = (self.says)(poll, Seen { last, choice });
                match price(&values.iter().map(|value| value.round_dp(8)).collect::<Vec<_>>()) {
                    Some(price) => {
                        last = price;
                        worst = worst.max((price - right).abs() / right);
                    }
                    None => silent += 1,
                }
            }
            (worst, silent)
        });
        runs.fold((Decimal::ZERO, 0), |worst, run| (worst.0.max(run.0), worst.1.max(run.1)))
    }

    fn row(&self) -> String {
        let (old, _) = self.worst(|| {
            let mut rule = OldRule::default();
            Box::new(move |values| rule.price(values))
        });
        let (new, silent) = self.worst(|| {
            let mut polled = Polled::new(self.configured, self.min_sources);
            Box::new(move |values| polled.price(values))
        });
        let note = match (silent, self.polls) {
            (0, _) => "",
            (silent, polls) if silent == polls => ", no price",
            (_, 2) => ", or no price",
            _ => ", then no price",
        };
        format!("| {} | {} % | {} %{note} |\n", self.name, super::percent(old), super::percent(new))
    }
}

#[test]
fn bounds_before_and_after_are_documented() {
    let mut table = "| a wrong source | version 0.2.0 | method 1 |\n|---|---|---|\n".to_owned();
    for case in &CASES {
        write!(table, "{}", case.row()).unwrap();
    }
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (documented, after) = rest.split_once(END).unwrap();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(documented, table, "UPDATE_DOCS=1 cargo test bounds updates docs/method.md");
    }
}
