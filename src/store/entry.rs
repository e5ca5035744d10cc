//! The JSON of an entry and of its audit, as the stores keep it.

use super::contract::{Result, StoreError};
use crate::feed::{Entry, EntryAudit};
use crate::telemetry::FaultLog;
use crate::tick::TickId;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::error;

/// The maximum time by which the id of an entry in Redis may be ahead of the greatest time that is trusted: the time of
/// a clock, or the id of a known entry. A member of the sorted set whose id is further ahead is garbage.
pub const MAX_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Limits the log lines about skipped entries. Otherwise every read of such an entry would log a line.
static SKIPPED: Mutex<FaultLog> = Mutex::new(FaultLog::new());

/// Encodes entries.
///
/// # Errors
/// [`StoreError::Unavailable`] if an entry cannot be written as JSON.
pub(super) fn encode(entries: &[Arc<Entry>]) -> Result<Vec<String>> {
    let texts = entries.iter().map(|entry| serde_json::to_string(&**entry));
    let texts: std::result::Result<_, _> = texts.collect();
    texts.map_err(|error| StoreError::Unavailable(format!("invalid entry: {error}")))
}

/// Decodes an entry.
///
/// # Errors
/// [`StoreError::Unavailable`] if this version cannot decode it.
pub(super) fn decode(json: &str) -> Result<Entry> {
    serde_json::from_str(json).map_err(|error| StoreError::Unavailable(format!("invalid entry: {error}: {json:.200}")))
}

/// Decodes an entry. If this version cannot decode it, logs that and returns `None`: a newer version may have written
/// it. The reader detects the missing entry by the `prev` of the next one.
pub(super) fn decode_or_skip(json: &str) -> Option<Entry> {
    let log = |error: &StoreError| {
        if SKIPPED.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
            let next = "readers see a gap; run the version that wrote the entry";
            error!(%error, next, "skipping an entry that cannot be decoded");
        }
    };
    decode(json).inspect_err(log).ok()
}

/// Returns the JSON of an audit with the id of its entry. `audit` is the JSON of the audit alone.
pub(super) fn audit_with_id(id: TickId, audit: &str) -> String {
    format!("{{\"id\":{id},{}", audit.strip_prefix('{').unwrap_or(audit))
}

/// Decodes an audit with the id of its entry. If this version cannot decode it, returns `None`: the entry then has no
/// audit.
pub(super) fn decode_audit(json: &str) -> Option<EntryAudit> {
    serde_json::from_str(json).ok()
}
