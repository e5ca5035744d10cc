//! The JSON of an entry, as Redis keeps it.

use super::connection::unavailable;
use crate::feed::Entry;
use crate::store::contract::{Result, StoreError};
use crate::telemetry::FaultLog;
use std::sync::{Mutex, PoisonError};
use tracing::error;

/// Limits the log of skipped entries, because every read of such an entry skips it.
static SKIPPED: Mutex<FaultLog> = Mutex::new(FaultLog::new());

/// Decodes an entry.
pub(super) fn decode(json: &str) -> Result<Entry> {
    serde_json::from_str(json).map_err(|error| unavailable(format_args!("invalid entry: {error}: {json:.200}")))
}

/// Decodes an entry, or logs and skips one that this version cannot decode; a newer version may have written it. The next
/// entry's `prev` tells the reader that one is missing.
pub(super) fn decode_or_skip(json: &str) -> Option<Entry> {
    let log = |error: &StoreError| {
        if SKIPPED.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
            error!(%error, "skipping an entry that cannot be decoded");
        }
    };
    decode(json).inspect_err(log).ok()
}
