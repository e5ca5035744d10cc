//! The functions that only `btcfeed store` uses. They read, count, restore or delete the content of a feed in Redis.

use super::connection::RedisRequest;
use super::keys::KeyNames;
use super::reads::{self, Member};
use super::write_faults::Write;
use super::{BEAT_TTL, PAGE, RESTORE_BATCH, Redis, bookmarks, ms, replica_of};
use crate::feed::EntryAudit;
use crate::store::contract::{Lease, ReplicaBeat, Result, Store};
use crate::store::portable::{Portable, Summary};
use crate::tick::TickId;
use ::redis::cmd;
use async_trait::async_trait;

/// The number of keys that Redis examines in one step of a scan.
const SCAN_STEP: usize = 1000;

impl Redis {
    /// Returns a page of the members of the history's sorted set, oldest first. Not every member is an entry.
    async fn members(&self, from: usize) -> Result<Vec<Member>> {
        let mut page = cmd("ZRANGE");
        page.arg(&self.keys.ticks).arg(from).arg(from + PAGE - 1).arg("WITHSCORES");
        self.history.query(&page).await
    }

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
            let (next, found): (u64, Vec<Vec<u8>>) = self.clients.query(&scan).await?;
            // A key that is not text is no bookmark.
            keys.extend(found.into_iter().filter_map(|key| String::from_utf8(key).ok()));
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

/// Returns the number of these members that are not entries, and the id of the oldest one that is an entry. A member
/// with an id after `horizon` is not an entry.
fn examine(members: &[Member], horizon: TickId) -> (u64, Option<TickId>) {
    let entries = || members.iter().filter_map(reads::place).filter(|id| *id <= horizon);
    (members.len() as u64 - entries().count() as u64, entries().next())
}

#[async_trait]
impl Portable for Redis {
    async fn reports(&self) -> Result<Vec<(ReplicaBeat, TickId)>> {
        let now = self.now().await?.ms();
        let mut command = cmd("ZRANGEBYSCORE");
        // A score is the time until which a report counts. A replica may report after `now` was read, so the upper
        // bound is twice the time to live. A greater score was written while the clock of Redis was ahead.
        command.arg(&self.keys.replicas).arg(format!("({now}")).arg(now + 2 * ms(BEAT_TTL)).arg("WITHSCORES");
        let members: Vec<(Vec<u8>, u64)> = self.commands.query(&command).await?;
        let report = |(member, until): (Vec<u8>, u64)| {
            Some((replica_of(&String::from_utf8_lossy(&member))?, TickId::from_ms(until)))
        };
        Ok(members.into_iter().filter_map(report).collect())
    }

    async fn summary(&self) -> Result<Summary> {
        let entries = self.commands.query(cmd("ZCARD").arg(&self.keys.ticks)).await?;
        let mut oldest = None;
        for from in (0..).step_by(PAGE) {
            let members = self.members(from).await?;
            oldest = examine(&members, self.horizon()).1;
            if oldest.is_some() || members.is_empty() {
                break;
            }
        }
        let oldest = oldest.unwrap_or(TickId::ZERO);
        let audits = self.commands.query(cmd("ZCARD").arg(&self.keys.audits)).await?;
        Ok(Summary { entries, audits, oldest, newest: self.head().await?, bytes: None })
    }

    async fn count_garbage(&self) -> Result<u64> {
        let mut garbage = 0;
        for from in (0..).step_by(PAGE) {
            let members = self.members(from).await?;
            if members.is_empty() {
                break;
            }
            garbage += examine(&members, self.horizon()).0;
        }
        Ok(garbage)
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
        let mut found = Vec::new();
        for keys in self.client_keys().await?.chunks(SCAN_STEP) {
            let texts: Vec<Option<Vec<u8>>> = self.clients.query(cmd("MGET").arg(keys)).await?;
            let name = |key: &String| key[self.keys.client.len()..].to_owned();
            // A bookmark may have expired since the scan.
            let bookmark = |(key, text): (&String, Option<Vec<u8>>)| Some((name(key), bookmarks::place(&text?)));
            found.extend(keys.iter().zip(texts).filter_map(bookmark));
        }
        Ok(found)
    }

    async fn restore_bookmarks(&self, lease: &Lease, bookmarks: &[(String, TickId)]) -> Result<()> {
        self.renew(lease).await?;
        self.remember(bookmarks).await
    }

    async fn remove(&self, lease: &Lease, ids: &[TickId]) -> Result<()> {
        self.renew(lease).await?;
        for batch in ids.chunks(RESTORE_BATCH) {
            let mut commands = ::redis::pipe();
            for id in batch {
                for key in [&self.keys.ticks, &self.keys.audits] {
                    commands.cmd("ZREMRANGEBYSCORE").arg(key).arg(id.ms()).arg(id.ms()).ignore();
                }
            }
            let _: () = self.commands.send(RedisRequest::Pipeline(&commands)).await?;
        }
        Ok(())
    }

    async fn clear(&self, lease: &Lease) -> Result<()> {
        self.renew(lease).await?;
        for keys in self.client_keys().await?.chunks(SCAN_STEP) {
            self.clients.query::<u64>(cmd("UNLINK").arg(keys)).await?;
        }
        let KeyNames { ticks, audits, record, candles, hours, quarantine, .. } = &self.keys;
        let keys = [ticks, audits, record, candles, hours, quarantine];
        self.commands.query::<u64>(cmd("UNLINK").arg(&keys)).await.map(drop)
    }
}
