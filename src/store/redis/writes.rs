//! Writes. This file checks the rights that a leader needs, appends records, reads the results of scripts, and waits
//! until enough replicas of Redis have an entry.

use super::Redis;
use super::connection::{RedisRequest, RequestError, public_reason};
use super::rights::{self, Need};
use super::server::unavailable;
use super::write_faults::Write;
use super::{BEAT_TTL, QUARANTINE, ms};
use crate::feed::Entry;
use crate::store::contract::{Lease, Record, Result, StoreError};
use crate::store::entry::decode;
use crate::store::kind;
use crate::store::reckoning::MAX_CLOCK_ERROR;
use crate::telemetry::metrics::SETTINGS_DIFFER;
use crate::text::excerpt;
use crate::tick::TickId;
use ::redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation, ServerErrorKind, Value};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use tracing::warn;

/// The maximum length of other replicas' settings in a message.
const MAX_SETTINGS: usize = 300;

impl Redis {
    /// Checks that the user of Redis has every right that a leader needs, once for each connection: users may differ
    /// between servers. A script that lacks a right would stop in the middle.
    pub(super) async fn check_rights(&self) -> Result<()> {
        let number = self.commands.number().await?;
        if self.rights_checked.load(Ordering::Relaxed) == number {
            return Ok(());
        }
        let needs = self.server.needs();
        let trial = rights::commands(&self.keys, &self.writer, self.server.publish_command(), &needs);
        let answers: Vec<RedisResult<Value>> = self.commands.send(RedisRequest::Pipeline(&trial)).await?;
        let errors = || answers.iter().filter_map(|answer| answer.as_ref().err());
        // The keys of a trial do not exist yet, so a node whose slot is moving redirects the commands.
        if let Some(error) = errors().find(|error| is_moving(error)) {
            self.faults.note(Write::Lease, Some(public_reason(error)));
            return Err(unavailable("the slot of the feed is moving to another node of the cluster, trying again"));
        }
        let rejected = rights::rejected(&answers, &needs);
        let (candles, leading): (Vec<_>, Vec<_>) = rejected.into_iter().partition(|(need, _)| *need == Need::Candles);
        let join =
            |rights: Vec<(Need, String)>| rights.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("; ");
        let (candles, leading) = (join(candles), join(leading));
        if leading.is_empty() {
            if !candles.is_empty() {
                warn!(rejected = candles, "the user of Redis lacks rights, so the candles of hours are not kept");
            }
            self.rights_checked.store(number, Ordering::Relaxed);
            return Ok(());
        }
        self.faults.note(Write::Lease, errors().next().map(public_reason));
        // Redis also rejects commands if its memory is full.
        let what = if errors().all(|error| error.code() == Some("NOPERM")) {
            "the user of Redis lacks rights that a leader needs"
        } else {
            "Redis rejects commands that a leader needs"
        };
        Err(unavailable(format_args!("{what}: {leading}")))
    }

    /// Appends a record. If an answer requires another form of the call, calls the script again in that form.
    pub(super) async fn append_record(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry> {
        let json = serde_json::to_string(&record.event).map_err(unavailable)?;
        let body = json.strip_prefix('{').unwrap_or(&json);
        let audit = record.audit.as_deref().and_then(|audit| audit.strip_prefix('{')).unwrap_or_default();
        let call = |form: AppendForm| {
            let audit = if form.leaves_audit_out { "" } else { audit };
            let mut script = self.scripts.append.key(&self.keys.lease);
            script.key(&self.keys.ticks).key(&self.keys.record);
            if form.has_all_keys || !audit.is_empty() {
                script.key(&self.keys.audits);
            }
            if form.has_all_keys {
                script.key(&self.keys.quarantine).key(&self.keys.claim);
            }
            script.arg(&lease.token).arg(ms(record.at.elapsed())).arg(seen.ms()).arg(ms(self.options.retention));
            script.arg(&self.writer).arg(record.number).arg(&self.keys.live).arg(body);
            script.arg(QUARANTINE).arg(self.server.publish_command()).arg(audit);
            script.arg(record.reckoned.map_or_else(String::new, |reckoned| reckoned.moment.to_string()));
            script.arg(ms(MAX_CLOCK_ERROR));
            let passed = record.reckoned.and_then(|reckoned| reckoned.passed);
            script.arg(passed.map_or_else(String::new, |passed| ms(passed).to_string()));
            script.arg(if form.ignores_number { "1" } else { "" });
            script
        };
        let mut form = AppendForm::default();
        let reply = loop {
            let script = || call(form);
            let answer = self.commands.try_send::<Vec<Vec<u8>>>(RedisRequest::Call(&script)).await;
            match &answer {
                // While a slot moves, Redis rejects the call if the set of the audits has moved already or does not
                // exist. Then the entry is appended without its audit.
                Err(RequestError::Answer(_, error)) if form.may_leave_audit_out(audit) && is_try_again(error) => {
                    form.leaves_audit_out = true;
                }
                Ok(reply) if is_word(reply, "again") && !form.has_all_keys => form.has_all_keys = true,
                Ok(reply) if is_word(reply, "later") && !form.ignores_number && !has_known_number(reply) => {
                    form.ignores_number = true;
                }
                _ => break self.note_answer(Write::Entries, answer)?,
            }
        };
        let entry = decode(&self.result(&reply)?)?;
        self.wait_for_replicas().await?;
        Ok(entry)
    }

    /// Waits until enough replicas of Redis have everything that was written before. If an append fails here, the
    /// leader repeats it, and the store returns the same entry again.
    async fn wait_for_replicas(&self) -> Result<()> {
        let wanted = self.server.min_acks;
        if wanted == 0 {
            return Ok(());
        }
        // WAIT counts the replicas that have the last write of its own connection, so a key is written on this
        // connection first. The connection is used for nothing else, because the renewal of the lease must not wait.
        let patience = (self.server.timeout / 2).min(self.options.lease_ttl / 4);
        let mut commands = ::redis::pipe();
        commands.cmd("SET").arg(format!("{}:acks", self.keys.check)).arg(1).arg("PX").arg(ms(BEAT_TTL)).ignore();
        commands.cmd("WAIT").arg(wanted).arg(ms(patience));
        let answer = self.acks.try_send(RedisRequest::Pipeline(&commands)).await;
        let fault = match &answer {
            Ok((acks,)) if *acks >= wanted => None,
            Ok(_) => Some("too few replicas of Redis have the last entry".to_owned()),
            Err(error) => Some(error.public_reason()),
        };
        self.faults.note(Write::Acks, fault);
        let (acks,): (usize,) = answer?;
        if acks >= wanted {
            return Ok(());
        }
        Err(unavailable(format_args!(
            "{acks} replicas of Redis have the last entry, expected {wanted} (BTCFEED_REDIS_MIN_ACKS)"
        )))
    }

    /// Notes the settings of the replicas that may lead. If they differ from this replica's, the feed may change when
    /// another replica leads.
    pub(super) fn note_others(&self, theirs: &str) {
        let differs = !theirs.is_empty() && !self.settings.is_empty() && theirs != self.settings;
        let (ours, theirs) = (&self.settings, excerpt(theirs, MAX_SETTINGS));
        let text = || format!("replicas of this feed have other settings: {theirs}. This replica: {ours}");
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = differs.then(text);
        SETTINGS_DIFFER.gauge("").set(u8::from(differs));
    }

    /// Runs a script that writes, and notes its result. `script` is called each time that the request is sent.
    pub(super) async fn run<'a, T: FromRedisValue>(
        &'a self,
        write: Write,
        script: impl Fn() -> ScriptInvocation<'a> + Sync,
    ) -> Result<T> {
        self.note_answer(write, self.commands.try_send(RedisRequest::Call(&script)).await)
    }

    /// Notes the result of a write.
    fn note_answer<T>(&self, write: Write, answer: std::result::Result<T, RequestError>) -> Result<T> {
        self.faults.note(write, answer.as_ref().err().map(RequestError::public_reason));
        answer.map_err(StoreError::from)
    }

    /// Runs a script that checks the lease first, and returns its result, which may be empty.
    pub(super) async fn write<'a>(
        &'a self,
        write: Write,
        script: impl Fn() -> ScriptInvocation<'a> + Sync,
    ) -> Result<String> {
        self.result(&self.run::<Vec<Vec<u8>>>(write, script).await?)
    }

    /// Returns the result of a script that checks the lease first.
    fn result(&self, reply: &[Vec<u8>]) -> Result<String> {
        let reply: Vec<_> = reply.iter().map(|word| String::from_utf8_lossy(word)).collect();
        match reply.iter().map(|word| &**word).collect::<Vec<_>>()[..] {
            ["done", entry] => Ok(entry.to_owned()),
            ["done", entry, garbage, replaced] => {
                self.note_garbage(garbage.parse().unwrap_or_default());
                if !replaced.is_empty() {
                    warn!(keys = replaced, "replaced keys of the feed that had values of a wrong type");
                }
                Ok(entry.to_owned())
            }
            ["done"] => Ok(String::new()),
            ["other", theirs] => {
                let (ours, theirs) = (&self.settings, excerpt(theirs, MAX_SETTINGS));
                let reason = format!("this feed is led with other settings: {theirs}. This replica: {ours}");
                self.faults.note(Write::Settings, Some(reason));
                Err(StoreError::NotLeader)
            }
            ["mixed", kind] => {
                let reason = kind::refusal(kind, "another BTCFEED_KEY_PREFIX");
                self.faults.note(Write::Settings, Some(reason));
                Err(StoreError::NotLeader)
            }
            ["claimed", holder] => Err(StoreError::Claimed(Lease::holder(holder).unwrap_or_default())),
            ["behind", newest] => Err(StoreError::Behind(TickId::from_ms(newest.parse().map_err(unavailable)?))),
            _ => Err(StoreError::NotLeader),
        }
    }
}

/// The form of a call of the script that appends. The first call has the default form, which is nearly always enough.
#[derive(Clone, Copy, Default)]
struct AppendForm {
    /// True if the call also has the keys that often do not exist. While a slot moves, a script runs only if all of its
    /// keys exist.
    has_all_keys: bool,
    /// True if the call has no audit, because the slot moves and its node lacks the set of the audits.
    leaves_audit_out: bool,
    /// True if the number of the newest record is ignored, because another program has changed it.
    ignores_number: bool,
}

impl AppendForm {
    fn may_leave_audit_out(self, audit: &str) -> bool {
        !audit.is_empty() && !self.leaves_audit_out && !self.has_all_keys
    }
}

fn is_word(reply: &[Vec<u8>], word: &str) -> bool {
    reply.first().is_some_and(|first| first == word.as_bytes())
}

/// Returns true if the number in a reply is that of a record of this process.
fn has_known_number(reply: &[Vec<u8>]) -> bool {
    let number = reply.get(1).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
    number.is_some_and(Record::is_number_used)
}

/// Returns true if a slot moves and its node lacks some keys of a request: they have moved already, or do not exist.
fn is_try_again(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain)
}

/// Returns true if a slot that moves is the reason why a node of a cluster rejects a command.
fn is_moving(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, Moved, TryAgain};
    matches!(error.kind(), ErrorKind::Server(Ask | Moved | TryAgain))
}
