//! Each fault alone, with everything that can happen to the leader, and pairs of faults.

use super::case::{Case, Leadership, Outcome};
use super::fault::Fault;
use futures_util::{FutureExt, StreamExt, stream};
use std::panic::AssertUnwindSafe;

/// The number of cases that run at the same time. They mostly wait.
const CONCURRENT: usize = 6;

/// Runs cases, prints the table, and returns the cases that broke a promise.
async fn run(cases: Vec<Case>) -> Vec<String> {
    let run = async |case: Case| {
        let outcome = AssertUnwindSafe(case.run()).catch_unwind().await;
        (case, outcome.unwrap_or_else(|_| Outcome::failed("the case panicked".to_owned())))
    };
    let outcomes: Vec<(Case, Outcome)> = stream::iter(cases).map(run).buffered(CONCURRENT).collect().await;
    println!(
        "\n| case | polls | kept | covered | handover | died | longest pause | flows after | gaps | |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut broken = Vec::new();
    for (case, Outcome { findings, flowing_ms }) in &outcomes {
        let gaps: Vec<_> = findings.gaps.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let verdict = if findings.violations.is_empty() { "ok" } else { "BROKEN" };
        println!(
            "| {case} | {} | {} | {} | {} | {} | {} ms | {flowing_ms} ms | {} | {verdict} |",
            findings.polls,
            findings.kept,
            findings.covered,
            findings.handover,
            findings.died,
            findings.pause_ms,
            gaps.join(", ")
        );
        if !findings.violations.is_empty() {
            broken.push(format!("{case}: {}", findings.violations.join("; ")));
        }
    }
    broken
}

#[tokio::test(flavor = "multi_thread")]
async fn matrix() {
    let wanted = std::env::var("BTCFEED_FAULTS").unwrap_or_default();
    let cases = Fault::ALL.iter().flat_map(|fault| Leadership::ALL.map(|leadership| Case::new(&[*fault], leadership)));
    let cases = cases.filter(|case| wanted.split(',').any(|word| case.to_string().contains(word)));
    let broken = run(cases.collect()).await;
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
