//! Random faults in rounds of six cases. The seed of each round is printed. `BTCFEED_FAULTS_SEED` repeats a round, and
//! `BTCFEED_FAULTS_SECONDS` sets the time in which rounds begin.

use super::case::{Case, Leadership};
use super::fault::Fault;
use super::matrix::run;
use std::time::{Duration, Instant};

/// Seeds of rounds that have failed. Each run begins with them, unless `BTCFEED_FAULTS_SEED` is set.
const FAILED_ONCE: &[u64] = &[665_037];

/// The number of cases that start at the same time.
const ROUND: usize = 6;

/// Returns a random case.
fn random_case(random: &mut fastrand::Rng) -> Case {
    let number = 1 + random.usize(..3);
    let mut faults: Vec<Fault> = Vec::new();
    while faults.len() < number {
        let fault = Fault::ALL[random.usize(..Fault::ALL.len())];
        // A server that does not run cannot be stopped again.
        let is_second_stop = fault.stops_the_server() && faults.iter().any(|other| other.stops_the_server());
        if !faults.contains(&fault) && !is_second_stop {
            faults.push(fault);
        }
    }
    // A server that does not answer can be given no other fault, so a fault that stops it begins last.
    faults.sort_by_key(|fault| fault.stops_the_server());
    let leadership = Leadership::ALL[random.usize(..Leadership::ALL.len())];
    Case { lasts: Duration::from_millis(500 + random.u64(..5000)), ..Case::new(&faults, leadership) }
}

/// Returns the cases of a seed.
fn cases(seed: u64) -> Vec<Case> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..ROUND).map(|_| random_case(&mut random)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults() {
    let setting = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let length = Duration::from_secs(setting("BTCFEED_FAULTS_SECONDS").unwrap_or(60));
    let (started, mut broken) = (Instant::now(), Vec::new());
    let mut seeds = setting("BTCFEED_FAULTS_SEED").map_or(FAILED_ONCE.to_vec(), |seed| vec![seed]);
    while started.elapsed() < length || !seeds.is_empty() {
        let seed = seeds.pop().unwrap_or_else(|| fastrand::u64(..1_000_000));
        println!("\nBTCFEED_FAULTS_SEED={seed}");
        broken.extend(run(cases(seed)).await.into_iter().map(|case| format!("seed {seed}: {case}")));
        if setting("BTCFEED_FAULTS_SEED").is_some() {
            break;
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
