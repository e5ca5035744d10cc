//! The functions for `btcfeed store`: summary, bookmarks and deletion of a whole feed in Redis.

use super::keys::KeyNames;
use super::write_faults::Write;
use super::{RESTORE_BATCH, Redis};
use crate::feed::EntryAudit;
use crate::store::contract::{Lease, Result, Store};
use crate::store::portable::{Portable, Summary};
use crate::tick::TickId;
use ::redis::cmd;
use async_trait::async_trait;

/// The number of keys that Redis examines in one step of a scan.
const SCAN_STEP: usize = 1000;

impl Redis {
    /// Returns the keys of all bookmarks.
    async fn client_keys(&self) -> Result<Vec<String>> {
        let special = ['*', '?', '[', ']', '\\'];
        let quoted: String = self
            .keys
            .client
            .chars()
            .flat_map(|c| special.contains(&c).then_some('\\').into_iter().chain([c]))
            .collect();
        let (mut keys, mut cursor) = (Vec::new(), 0);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{quoted}*")).arg("COUNT").arg(SCAN_STEP);
            let (next, found): (u64, Vec<String>) = self.clients.query(&scan).await?;
            keys.extend(found);
            cursor = next;
            if cursor == 0 {
                // A scan may return a key twice.
                keys.sort();
                keys.dedup();
                return Ok(keys);
            }
        }
    }
}

#[async_trait]
impl Portable for Redis {
    async fn summary(&self) -> Result<Summary> {
        let entries = self.commands.query(cmd("ZCARD").arg(&self.keys.ticks)).await?;
        let mut first = cmd("ZRANGE");
        first.arg(&self.keys.ticks).arg(0).arg(0).arg("WITHSCORES");
        let oldest: Vec<(String, u64)> = self.commands.query(&first).await?;
        let oldest = oldest.first().map_or(TickId::ZERO, |(_, id)| TickId::from_ms(*id));
        let audits = self.commands.query(cmd("ZCARD").arg(&self.keys.audits)).await?;
        Ok(Summary { entries, audits, oldest, newest: self.head().await?, bytes: None })
    }

    async fn restore_audits(&self, lease: &Lease, audits: &[EntryAudit]) -> Result<()> {
        let texts: Vec<_> = audits.iter().filter_map(|of| Some((of.id, serde_json::to_string(of).ok()?))).collect();
        for batch in texts.chunks(RESTORE_BATCH) {
            // The script restores members of any set whose scores are ids.
            let script = || {
                let mut script = self.scripts.restore.key(&self.keys.lease);
                script.key(&self.keys.audits).arg(&lease.token);
                for (id, text) in batch {
                    script.arg(id.ms()).arg(text);
                }
                script
            };
            self.write(Write::Entries, script).await?;
        }
        Ok(())
    }

    async fn bookmarks(&self) -> Result<Vec<(String, TickId)>> {
        let mut bookmarks = Vec::new();
        for keys in self.client_keys().await?.chunks(SCAN_STEP) {
            let ids: Vec<Option<u64>> = self.clients.query(cmd("MGET").arg(keys)).await?;
            let name = |key: &String| key[self.keys.client.len()..].to_owned();
            // A bookmark may have expired since the scan.
            bookmarks.extend(keys.iter().zip(ids).filter_map(|(key, id)| Some((name(key), TickId::from_ms(id?)))));
        }
        Ok(bookmarks)
    }

    async fn restore_bookmarks(&self, lease: &Lease, bookmarks: &[(String, TickId)]) -> Result<()> {
        self.renew(lease).await?;
        self.remember(bookmarks).await
    }

    async fn clear(&self, lease: &Lease) -> Result<()> {
        self.renew(lease).await?;
        for keys in self.client_keys().await?.chunks(SCAN_STEP) {
            self.clients.query::<u64>(cmd("UNLINK").arg(keys)).await?;
        }
        let KeyNames { ticks, audits, record, candles, .. } = &self.keys;
        self.commands.query::<u64>(cmd("UNLINK").arg(&[ticks, audits, record, candles])).await.map(drop)
    }
}
