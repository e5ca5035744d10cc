//! Entries as Redis keeps them: JSON.

use super::connection::unavailable;
use crate::feed::Entry;
use crate::store::contract::Result;
use tracing::error;

/// Decodes an entry.
pub(super) fn decode(json: &str) -> Result<Entry> {
    serde_json::from_str(json).map_err(|error| unavailable(format_args!("invalid entry: {error}: {json:.200}")))
}

/// Decodes an entry, or logs and skips one that this version cannot decode; a newer version may have written it. The next
/// entry's `prev` tells the reader that one is missing.
pub(super) fn decode_or_skip(json: &str) -> Option<Entry> {
    decode(json).inspect_err(|error| error!(%error, "skipping an entry that cannot be decoded")).ok()
}
