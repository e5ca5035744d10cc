//! Each fault alone, with everything that can happen to the leader.

use super::case::{Case, Leadership, Outcome};
use super::fault::Fault;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The number of cases that run at the same time. They mostly wait.
const CONCURRENT: usize = 8;

/// The time after which a case has failed.
const CASE_DEADLINE: Duration = Duration::from_secs(120);

/// Runs cases, prints the table, and returns the cases that broke a promise.
pub async fn run(cases: Vec<Case>) -> Vec<String> {
    let (permits, mut running) = (Arc::new(Semaphore::new(CONCURRENT)), Vec::new());
    for case in cases {
        let permit = permits.clone().acquire_owned().await.unwrap();
        let own = case.clone();
        // On a thread of its own, a case that panics does not end the others.
        let run = spawn_blocking(move || {
            let _permit = permit;
            let limited = async { timeout(CASE_DEADLINE, own.run()).await };
            Handle::current().block_on(limited).unwrap_or_else(|_| Outcome::failed("the case did not end".to_owned()))
        });
        running.push((case, run));
    }
    let mut outcomes = Vec::new();
    for (case, run) in running {
        outcomes.push((case, run.await.unwrap_or_else(|error| Outcome::failed(error.to_string()))));
    }
    println!(
        "\n| case | polls | kept | covered | handover | died | late | longest pause | flows after | gaps | |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut broken = Vec::new();
    for (case, Outcome { findings, flowing_ms }) in &outcomes {
        let gaps: Vec<_> = findings.gaps.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let verdict = if findings.violations.is_empty() { "ok" } else { "BROKEN" };
        println!(
            "| {case} | {} | {} | {} | {} | {} | {} | {} ms | {flowing_ms} ms | {} | {verdict} |",
            findings.polls,
            findings.kept,
            findings.covered,
            findings.handover,
            findings.died,
            findings.late,
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
