//! The audits of entries: a sorted set beside that of the entries, with the same scores.

use super::Redis;
use super::reads::{Member, is_score_of};
use crate::feed::EntryAudit;
use crate::store::contract::Result;
use crate::store::entry::decode_audit;
use crate::tick::TickId;

impl Redis {
    /// Returns the oldest `limit` audits of a range.
    pub(super) async fn read_audits(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<EntryAudit>> {
        let decode = |(text, score): &Member| {
            decode_audit(std::str::from_utf8(text).ok()?).filter(|of| is_score_of(of.id, *score))
        };
        self.oldest(&self.keys.audits, (after, until), limit, decode).await
    }
}
