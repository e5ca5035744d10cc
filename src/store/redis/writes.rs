//! Writes: the rights that they need, their results, and the replicas of Redis that must have them.

use super::Redis;
use super::connection::{RedisRequest, RequestError, public_reason};
use super::rights;
use super::server::unavailable;
use super::write_faults::Write;
use super::{BEAT_TTL, ms};
use crate::store::contract::{Lease, Result, StoreError};
use crate::tick::TickId;
use ::redis::{FromRedisValue, RedisResult, ScriptInvocation, Value};
use std::sync::atomic::Ordering;

impl Redis {
    /// Checks that the user of Redis has every right that a leader needs, once for each connection: users may differ
    /// between servers. A script that lacks a right would stop in the middle.
    pub(super) async fn check_rights(&self) -> Result<()> {
        let number = self.commands.number().await?;
        if self.rights_checked.load(Ordering::Relaxed) == number {
            return Ok(());
        }
        let trial = rights::commands(&self.keys, &self.writer, self.server.channel_command("PUBLISH"));
        let answers: Vec<RedisResult<Value>> = self.commands.send(RedisRequest::Pipeline(&trial)).await?;
        let rejected = rights::rejected(&answers);
        if rejected.is_empty() {
            self.rights_checked.store(number, Ordering::Relaxed);
            return Ok(());
        }
        let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
        self.faults.note(Write::Lease, errors.clone().next().map(public_reason));
        // A full memory or a slot that moves also rejects commands.
        let what = if errors.all(|error| error.code() == Some("NOPERM")) {
            "the user of Redis lacks rights that a leader needs"
        } else {
            "Redis rejects commands that a leader needs"
        };
        Err(unavailable(format_args!("{what}: {}", rejected.join("; "))))
    }

    /// Waits until enough replicas of Redis have everything that was written before. If an append fails here, the
    /// leader repeats it, and the store returns the same entry again.
    pub(super) async fn wait_for_replicas(&self) -> Result<()> {
        let wanted = self.server.min_acks;
        if wanted == 0 {
            return Ok(());
        }
        // WAIT counts from the last write of its own connection, which may have been opened since.
        let mut commands = ::redis::pipe();
        commands.cmd("SET").arg(format!("{}:acks", self.keys.check)).arg(1).arg("PX").arg(ms(BEAT_TTL)).ignore();
        commands.cmd("WAIT").arg(wanted).arg(ms(self.server.timeout / 2));
        let (acks,): (usize,) = self.commands.send(RedisRequest::Pipeline(&commands)).await?;
        if acks >= wanted {
            return Ok(());
        }
        self.faults.note(Write::Entries, Some("too few replicas of Redis have the last entry".to_owned()));
        Err(unavailable(format_args!(
            "{acks} replicas of Redis have the last entry, expected {wanted} (BTCFEED_REDIS_MIN_ACKS)"
        )))
    }

    /// Runs a script that writes, and notes its result. `script` is called only when there is a connection, because it
    /// may contain the age of a record at the moment of sending. It may be called again on a new connection.
    pub(super) async fn run<'a, T: FromRedisValue>(
        &'a self,
        write: Write,
        script: impl Fn() -> ScriptInvocation<'a> + Sync,
    ) -> Result<T> {
        let answer = self.commands.try_send(RedisRequest::Call(&script)).await;
        self.faults.note(write, answer.as_ref().err().map(RequestError::public_reason));
        answer.map_err(StoreError::from)
    }

    /// Runs a script that checks the lease first, and returns its result.
    pub(super) async fn write<'a>(
        &'a self,
        write: Write,
        script: impl Fn() -> ScriptInvocation<'a> + Sync,
    ) -> Result<String> {
        let reply: Vec<String> = self.run(write, script).await?;
        match reply.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["done", entry] => Ok(entry.to_owned()),
            ["done", entry, garbage] => {
                self.note_garbage(garbage.parse().unwrap_or_default());
                Ok(entry.to_owned())
            }
            ["done"] => Ok(String::new()),
            ["other", theirs] => {
                let ours = &self.settings;
                let reason = format!("replicas with other settings have this feed: {theirs}. This replica: {ours}");
                self.faults.note(Write::Settings, Some(reason));
                Err(StoreError::NotLeader)
            }
            ["claimed", holder] => Err(StoreError::Claimed(Lease::holder(holder).unwrap_or_default())),
            ["behind", newest] => Err(StoreError::Behind(TickId::from_ms(newest.parse().map_err(unavailable)?))),
            _ => Err(StoreError::NotLeader),
        }
    }
}
