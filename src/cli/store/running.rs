//! Finds the replicas that still run. After a tool has changed the store, they would write entries from their memory
//! back into it.

use super::place::Place;
use crate::store::{Portable, Result};
use crate::tick::TickId;
use anyhow::ensure;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The time in which every running replica reports at least once.
const REPORT_TIME: Duration = Duration::from_secs(3);
/// The time between two reads.
const READ_EVERY: Duration = Duration::from_millis(200);

/// Checks that no replica uses the store. A report counts for some seconds after its replica has stopped, so only
/// replicas that report again are running. Returns at once if there are no reports.
pub(super) async fn check_alone(place: &Place) -> anyhow::Result<()> {
    let (first, started) = (reports(&*place.store).await?, Instant::now());
    loop {
        let mut running = reports(&*place.store).await?;
        if running.is_empty() {
            return Ok(());
        }
        running.retain(|name, until| first.get(name).is_none_or(|before| before < until));
        let is_over = started.elapsed() >= REPORT_TIME;
        ensure!(
            running.is_empty() || !is_over,
            "replicas of the feed in {} are running, and would undo this from their memory: stop all replicas {}",
            place.name,
            names(running)
        );
        sleep(READ_EVERY).await;
    }
}

/// Returns the names of the replicas that have reported in the last seconds, in brackets.
pub(super) async fn reported(store: &dyn Portable) -> Result<String> {
    reports(store).await.map(names)
}

fn names(replicas: BTreeMap<String, TickId>) -> String {
    format!("({})", replicas.into_keys().collect::<Vec<_>>().join(", "))
}

/// Returns the names of all replicas, each with the time until which its last report counts.
async fn reports(store: &dyn Portable) -> Result<BTreeMap<String, TickId>> {
    let reports = store.reports().await?;
    Ok(reports.into_iter().map(|(replica, until)| (replica.name, until)).collect())
}
