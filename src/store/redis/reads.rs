//! Reads of the history. Not every member of its sorted set is an entry: other programs may have written garbage into
//! it.
//!
//! A member is an entry if its score is the id in its text, and if this id is at most a day ahead of the latest of
//! three times: the clock of Redis, this machine's clock, and the newest entry that a script has written. The scripts
//! that write apply nearly the same rule (`feed.lua`).

use super::connection::RedisRequest;
use super::{NTH_CANDIDATES, PAGE, Redis};
use crate::feed::Entry;
use crate::store::contract::Result;
use crate::store::entry::{MAX_AHEAD, decode_or_skip};
use crate::telemetry::metrics::QUARANTINED;
use crate::tick::TickId;
use ::redis::{Cmd, FromRedisValue, cmd};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::warn;

/// The number of members in one step of a search for the newest entry.
const STEP: usize = 10;
/// The maximum number of entries in one read after an announcement.
const ANNOUNCED: usize = 100;

/// The bytes of a member, which need not be valid text, and the score of the member.
pub(super) type Member = (Vec<u8>, f64);

/// The connections on which a search reads.
#[derive(Clone, Copy)]
enum ReadsOn {
    /// The connection for requests that must not wait.
    Commands,
    /// The connections for reads of the history.
    History,
}

/// The part of an entry that every version writes.
#[derive(Deserialize)]
struct Place {
    id: TickId,
    #[serde(rename = "prev")]
    _prev: TickId,
}

impl Redis {
    /// Returns the time of the clock of Redis: this machine's time plus the difference that was noted last.
    pub(super) fn time(&self) -> TickId {
        let ahead = self.server.clock_ahead_ms.load(Ordering::Relaxed);
        let offset = Duration::from_millis(ahead.unsigned_abs());
        if ahead < 0 { TickId::now().minus(offset) } else { TickId::now().plus(offset) }
    }

    /// Returns the greatest id that an entry can have at the moment.
    pub(super) fn horizon(&self) -> TickId {
        // Any of the clocks may be behind.
        let newest = TickId::from_ms(self.server.newest.load(Ordering::Relaxed));
        self.time().max(TickId::now()).max(newest).plus(MAX_AHEAD)
    }

    /// Notes the time of the clock of Redis.
    pub(super) fn note_clock(&self, now: TickId) {
        let here = TickId::now();
        let ahead = i64::try_from(now.ms()).unwrap_or(i64::MAX) - i64::try_from(here.ms()).unwrap_or(i64::MAX);
        self.server.clock_ahead_ms.store(ahead, Ordering::Relaxed);
    }

    async fn read<T: FromRedisValue>(&self, on: ReadsOn, command: &Cmd) -> Result<T> {
        match on {
            ReadsOn::Commands => self.commands.query(command).await,
            ReadsOn::History => self.history.query(command).await,
        }
    }

    /// Notes the newest id that a script has written. Other programs may have changed the hash `record`, from which
    /// this id is read. So an id that is ahead of the clocks counts only if an entry is at most a day before it.
    async fn note_newest(&self, on: ReadsOn) -> Result<()> {
        let (id,): (Option<Vec<u8>>,) = self.read(on, cmd("HMGET").arg(&self.keys.record).arg("id")).await?;
        let id = id.and_then(|id| String::from_utf8_lossy(&id).parse().ok()).map_or(TickId::ZERO, TickId::from_ms);
        let is_known = id <= self.time().max(TickId::now()) || self.newest_up_to(on, id).await? >= id.minus(MAX_AHEAD);
        self.server.newest.store(if is_known { id.ms() } else { 0 }, Ordering::Relaxed);
        Ok(())
    }

    /// Logs and counts members of the set that were not entries.
    pub(super) fn note_garbage(&self, members: u64) {
        if members > 0 {
            let key = &self.keys.quarantine;
            warn!(members, key, "moved members of the history that are not entries into quarantine");
            QUARANTINED.counter("").increment(members);
        }
    }

    /// Returns the id of the newest entry, even if this version cannot decode the entry.
    pub(super) async fn newest_id(&self) -> Result<TickId> {
        self.note_newest(ReadsOn::Commands).await?;
        self.newest_up_to(ReadsOn::Commands, self.horizon()).await
    }

    /// Returns the newest id up to `until`, or zero if there is none.
    async fn newest_up_to(&self, on: ReadsOn, until: TickId) -> Result<TickId> {
        for from in (0..).step_by(STEP) {
            let mut command = cmd("ZREVRANGEBYSCORE");
            command.arg(&self.keys.ticks).arg(until.ms()).arg("-inf").arg("WITHSCORES");
            let members: Vec<Member> = self.read(on, command.arg("LIMIT").arg(from).arg(STEP)).await?;
            if let Some(id) = members.iter().find_map(place) {
                return Ok(id);
            }
            if members.is_empty() {
                break;
            }
        }
        Ok(TickId::ZERO)
    }

    /// Returns the oldest `limit` entries of a range.
    pub(super) async fn entries(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>> {
        self.oldest(&self.keys.ticks, (after, until), limit, decode_member).await
    }

    /// Returns the oldest `limit` members that `decode` accepts, from a range of a set. If `decode` rejects some
    /// members, reads more.
    pub(super) async fn oldest<T>(
        &self,
        set: &str,
        (after, until): (TickId, TickId),
        limit: usize,
        decode: impl Fn(&Member) -> Option<T>,
    ) -> Result<Vec<T>> {
        let (mut found, mut from, mut skipped) = (Vec::new(), format!("({after}"), 0);
        loop {
            let asked = limit - found.len();
            let mut command = cmd("ZRANGEBYSCORE");
            command.arg(set).arg(&from).arg(until.min(self.horizon()).ms()).arg("WITHSCORES");
            let page: Vec<Member> = self.history.query(command.arg("LIMIT").arg(skipped).arg(asked)).await?;
            found.extend(page.iter().filter_map(&decode));
            let Some((_, score)) = page.last().filter(|_| page.len() == asked && found.len() < limit) else {
                return Ok(found);
            };
            // More members may have this score, and `decode` may accept one of them.
            let same = page.iter().rev().take_while(|(_, other)| other.total_cmp(score).is_eq()).count();
            let next = score.to_string();
            skipped = if from == next { skipped + same } else { same };
            from = next;
        }
    }

    /// Returns the oldest entries after `after`, to confirm an announcement. Reads only once, because it uses the
    /// connection for requests that must not wait.
    pub(super) async fn announced_entries(&self, after: TickId) -> Result<Vec<Entry>> {
        let mut command = cmd("ZRANGEBYSCORE");
        command.arg(&self.keys.ticks).arg(format!("({after}")).arg(self.horizon().ms()).arg("WITHSCORES");
        let page: Vec<Member> = self.commands.query(command.arg("LIMIT").arg(0).arg(ANNOUNCED)).await?;
        Ok(page.iter().filter_map(decode_member).collect())
    }

    /// Reads [`NTH_CANDIDATES`] members, beginning at the `n`th member of a range. Returns the id of the first entry
    /// that can be decoded.
    pub(super) async fn nth_id(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        let mut command = cmd("ZRANGEBYSCORE");
        command.arg(&self.keys.ticks).arg(format!("({after}")).arg(until.min(self.horizon()).ms()).arg("WITHSCORES");
        let found: Vec<Member> = self.history.query(command.arg("LIMIT").arg(n - 1).arg(NTH_CANDIDATES)).await?;
        Ok(found.iter().find_map(decode_member).map(|entry| entry.id))
    }

    /// Reads [`NTH_CANDIDATES`] members, from the `n`th newest member of a range to older ones. Returns the id of the
    /// first entry that can be decoded.
    pub(super) async fn nth_newest_id(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        let mut command = cmd("ZREVRANGEBYSCORE");
        command.arg(&self.keys.ticks).arg(until.min(self.horizon()).ms()).arg(format!("({after}")).arg("WITHSCORES");
        let found: Vec<Member> = self.history.query(command.arg("LIMIT").arg(n - 1).arg(NTH_CANDIDATES)).await?;
        Ok(found.iter().find_map(decode_member).map(|entry| entry.id))
    }

    /// Returns the newest `limit` entries, even if there are other members among them. Reads in pages, so that no
    /// answer takes longer than its deadline.
    pub(super) async fn newest_entries(&self, limit: usize) -> Result<Vec<Entry>> {
        // The horizon depends on the newest id that a script has written.
        self.note_newest(ReadsOn::History).await?;
        let mut members = limit;
        loop {
            let before = self.score_before(members).await?;
            let mut newest = self.entries_after(before.unwrap_or(TickId::ZERO)).await?;
            let lacking = limit.saturating_sub(newest.len());
            if before.is_none() || lacking == 0 {
                newest.drain(..newest.len().saturating_sub(limit));
                return Ok(newest);
            }
            members += lacking.max(members);
        }
    }

    /// Returns the score of the member right before the newest `members` members, if there is one.
    async fn score_before(&self, members: usize) -> Result<Option<TickId>> {
        let mut command = cmd("ZREVRANGEBYSCORE");
        command.arg(&self.keys.ticks).arg(self.horizon().ms()).arg("-inf").arg("WITHSCORES");
        let before: Vec<Member> = self.history.query(command.arg("LIMIT").arg(members).arg(1)).await?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "only garbage has a fraction or a sign"
        )]
        Ok(before.first().map(|(_, score)| TickId::from_ms(score.max(0.0) as u64)))
    }

    /// Returns all entries after `after`.
    async fn entries_after(&self, mut after: TickId) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        loop {
            let page = self.entries(after, TickId::from_ms(u64::MAX), PAGE).await?;
            let Some(last) = page.last() else { return Ok(entries) };
            after = last.id;
            entries.extend(page);
        }
    }

    /// Returns those of these entries that the set does not have.
    pub(super) async fn lacking_entries(&self, entries: &[Arc<Entry>]) -> Result<Vec<Arc<Entry>>> {
        let script = || {
            let mut script = self.scripts.lacking.key(&self.keys.ticks);
            for entry in entries {
                script.arg(entry.id.ms());
            }
            script
        };
        let places: Vec<usize> = self.commands.send(RedisRequest::Call(&script)).await?;
        Ok(places.iter().filter_map(|place| entries.get(place.checked_sub(1)?).cloned()).collect())
    }

    /// Returns the number of members with `after < id <= until`.
    pub(super) async fn count_members(&self, after: TickId, until: TickId) -> Result<usize> {
        self.commands.query(cmd("ZCOUNT").arg(&self.keys.ticks).arg(format!("({after}")).arg(until.ms())).await
    }
}

/// Returns true if a score is this id.
#[expect(clippy::float_cmp, clippy::cast_precision_loss, reason = "ids are whole numbers of 13 digits")]
pub(super) fn is_score_of(id: TickId, score: f64) -> bool {
    id.ms() as f64 == score
}

/// Returns the id of a member that is an entry.
pub(super) fn place((text, score): &Member) -> Option<TickId> {
    let place: Place = serde_json::from_slice(text).ok()?;
    is_score_of(place.id, *score).then_some(place.id)
}

/// Decodes a member. Returns `None` if it is garbage, or an entry that only a newer version can decode. Writes at most
/// one log line a minute about members that cannot be decoded.
fn decode_member((text, score): &Member) -> Option<Entry> {
    decode_or_skip(&String::from_utf8_lossy(text)).filter(|entry| is_score_of(entry.id, *score))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    #[test]
    fn clients_connections_know_the_clock_of_redis() {
        let options = Options { retention: MAX_AHEAD, lease_ttl: MAX_AHEAD };
        let redis = Redis::new("redis://127.0.0.1:9", "test", options).unwrap();
        redis.note_clock(TickId::now().plus(MAX_AHEAD * 3));
        let clients = Redis::at(redis.server.clone(), redis.keys.clone(), options);
        assert!(clients.horizon() > TickId::now().plus(MAX_AHEAD * 3));
    }
}
