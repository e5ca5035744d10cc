//! A case of the matrix: faults, and what happens to the leader in the meantime.

use super::checker::Findings;
use super::fault::Fault;
use super::promises::Promise;
use super::stage::{Stage, now};
use crate::support::LEASE;
use std::fmt;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// The longest pause until another replica leads. docs/configuration.md promises at most the lease and one second. A
/// poll and 800 ms for a busy machine are added.
const HANDOVER_MS: u64 = 1000 + 1000 + 200 + 800;

/// What happens to the leader while the faults last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Nothing.
    Stays,
    /// Nothing, but replicas without entries start.
    Newcomers,
    /// It is killed.
    Killed,
    /// It is killed and starts again.
    Restarted,
}

impl Leadership {
    /// Every variant.
    pub const ALL: [Leadership; 4] =
        [Leadership::Stays, Leadership::Newcomers, Leadership::Killed, Leadership::Restarted];
}

/// Faults that last at the same time.
#[derive(Clone, Debug)]
pub struct Case {
    pub faults: Vec<Fault>,
    pub leadership: Leadership,
    /// The time that the faults last.
    pub lasts: Duration,
}

/// The result of a case.
pub struct Outcome {
    pub findings: Findings,
    /// The time from the end of the faults until the feed flows and no replica holds more than one record, in
    /// milliseconds.
    pub flowing_ms: u64,
}

impl Outcome {
    /// The outcome of a case that could not be run to its end.
    pub fn failed(reason: String) -> Outcome {
        Outcome { findings: Findings { violations: vec![reason], ..Findings::default() }, flowing_ms: 0 }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<_> = self.faults.iter().map(|fault| format!("{fault:?}")).collect();
        write!(f, "{}, leader {:?}", faults.join(" + "), self.leadership)
    }
}

impl Case {
    /// A case of the usual duration.
    pub fn new(faults: &[Fault], leadership: Leadership) -> Case {
        Case { faults: faults.to_vec(), leadership, lasts: LEASE * 4 }
    }

    /// Runs the case.
    pub async fn run(&self) -> Outcome {
        let mut stage = Stage::start().await;
        for fault in &self.faults {
            fault.begin(&mut stage).await;
        }
        let began = Instant::now();
        sleep(LEASE / 2).await;
        match self.leadership {
            Leadership::Stays => {}
            Leadership::Newcomers => {
                for _ in 0..3 {
                    stage.newcomer().await;
                }
            }
            Leadership::Killed | Leadership::Restarted => {
                stage.kill_leader().await;
                for fault in &self.faults {
                    // Another fault may have stopped the server, so that it does not answer.
                    timeout(Duration::from_secs(2), fault.leader_died(&mut stage)).await.ok();
                }
            }
        }
        if self.leadership == Leadership::Restarted {
            stage.start_leader_again().await;
        }
        let mut untold = Vec::new();
        // Each replica must report the fault. With two faults this is not checked, because one may end the other. For
        // example, FLUSHALL deletes a lease of the wrong type.
        if self.faults.len() == 1 && self.faults[0].stops_all_writes() {
            for member in stage.members.iter().filter(|member| member.replica.is_some()) {
                while !member.is_told().await {
                    if began.elapsed() > Duration::from_secs(6) {
                        untold.push(format!("{} does not report the fault within 6 s", member.name));
                        break;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        sleep(self.lasts.saturating_sub(began.elapsed())).await;
        for fault in self.faults.iter().rev() {
            fault.end(&mut stage).await;
        }
        let ended = now();
        let flows = stage.is_flowing(ended + 400, Duration::from_secs(15)).await;
        let flowing_ms = now() - ended;
        // The last polls and entries may be under way.
        sleep(Duration::from_millis(1500)).await;
        let mut records = stage.records(now() - 1200).await;
        if self.faults.iter().any(|fault| fault.isolates_the_leader()) {
            records.handover_ms = Some(HANDOVER_MS);
        }
        let mut findings = records.check();
        findings.violations.extend(untold);
        findings.violations.extend(Promise::of(&self.faults, self.leadership).broken_by(&findings));
        if !flows {
            findings.violations.push(format!("the feed does not flow {flowing_ms} ms after the fault"));
        }
        if !findings.violations.is_empty() {
            eprintln!("==== {self}: {:#?}", findings.violations);
            if std::env::var_os("BTCFEED_FAULTS_LOGS").is_some() {
                for member in &stage.members {
                    let Some(replica) = &member.replica else { continue };
                    eprintln!("---- {}\n{}", member.name, replica.log().join("\n"));
                }
            }
        }
        Outcome { findings, flowing_ms }
    }
}
