//! The audits of entries: a sorted set beside that of the entries, with the same scores.

use super::Redis;
use crate::feed::EntryAudit;
use crate::store::contract::Result;
use crate::store::entry::decode_audit;
use crate::tick::TickId;
use ::redis::cmd;

impl Redis {
    /// Returns the oldest `limit` audits of a range.
    pub(super) async fn read_audits(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<EntryAudit>> {
        let mut command = cmd("ZRANGEBYSCORE");
        command.arg(&self.keys.audits).arg(format!("({after}")).arg(until.ms()).arg("LIMIT").arg(0).arg(limit);
        let members: Vec<Vec<u8>> = self.history.query(&command).await?;
        Ok(members.iter().filter_map(|member| decode_audit(std::str::from_utf8(member).ok()?)).collect())
    }
}
