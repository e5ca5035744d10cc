//! The shared store: a sorted set for the history, a channel for what is live, a key with a time to live for the lease.
//!
//! Every command has a deadline, and a connection on which anything went wrong is dropped and made anew: a demoted master
//! answers PING and refuses writes, a half-open socket answers nothing. The subscription has a connection of its own with
//! a ping on it, since a subscriber that only listens would not notice for hours that nobody speaks any more.

mod link;

use super::{Lease, Live, Options, Record, Result, Store, StoreError};
use crate::feed::Entry;
use crate::tick::TickId;
use ::redis::aio::{PubSubSink, PubSubStream};
use ::redis::{Client, Cmd, FromRedisValue, RedisError, Script, ScriptInvocation};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use link::Link;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tracing::error;

/// How long Redis may take to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// How long Redis may take to answer a command.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);
/// How often a subscription is pinged.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Entries in one page of a long history.
const PAGE: usize = 1000;
/// How many entries that cannot be read may stand one after the other.
const UNREADABLE: usize = 16;
/// Entries in one write when lost ones are put back.
const RESTORE_BATCH: usize = 500;

/// The names of what is kept in Redis. The braces make Redis Cluster keep them on one node.
struct Keys {
    ticks: String,
    lease: String,
    record: String,
    live: String,
    /// What the key of each client begins with.
    client: String,
}

impl Keys {
    /// The names for a feed with this prefix in the database `db`. Channels know no databases, so the channel names it.
    fn new(prefix: &str, db: i64) -> Keys {
        let key = |name: &str| format!("{{{prefix}}}:{name}");
        let live = if db == 0 { key("live") } else { key(&format!("live:{db}")) };
        Keys { ticks: key("ticks"), lease: key("lease"), record: key("record"), live, client: key("client:") }
    }
}

/// A feed in Redis.
pub struct Redis {
    client: Client,
    keys: Keys,
    options: Options,
    scripts: Scripts,
    /// What this process's records are numbered under.
    writer: String,
    /// For what is small and must not wait: the lease, appends, the head.
    commands: Link,
    /// For history, which may be large and asked for by many.
    history: Link,
}

struct Scripts {
    append: Script,
    restore: Script,
    renew: Script,
    release: Script,
}

impl Redis {
    /// A feed at `url` (`redis://`, `rediss://`, `unix://`). Nothing is connected yet.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn new(url: &str, prefix: &str, options: Options) -> std::result::Result<Redis, RedisError> {
        let scripts = Scripts {
            append: Script::new(include_str!("append.lua")),
            restore: Script::new(include_str!("restore.lua")),
            renew: Script::new(include_str!("renew.lua")),
            release: Script::new(include_str!("release.lua")),
        };
        let client = Client::open(url)?;
        let keys = Keys::new(prefix, client.get_connection_info().redis_settings().db());
        let (commands, history) = (Link::default(), Link::default());
        let writer = format!("{:032x}", fastrand::u128(..));
        Ok(Redis { client, keys, options, scripts, writer, commands, history })
    }

    /// Whether `url` can be read.
    ///
    /// # Errors
    /// If it cannot; the URL itself, which may have a password in it, is not repeated.
    pub fn check_url(url: &str) -> std::result::Result<(), RedisError> {
        Client::open(url).map(drop)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.commands.ask(&self.client, async |mut connection| command.query_async(&mut connection).await).await
    }

    async fn ask_history<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.history.ask(&self.client, async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Runs a script that checks the lease first, and returns what it did. The script is made when there is a connection:
    /// the age of a record is what it is when it is sent.
    async fn write<'a>(&'a self, script: impl FnOnce() -> ScriptInvocation<'a>) -> Result<String> {
        let invoke = async |mut connection| script().invoke_async(&mut connection).await;
        let words: Vec<String> = self.commands.ask(&self.client, invoke).await?;
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["done", entry] => Ok(entry.to_owned()),
            ["done"] => Ok(String::new()),
            ["behind", newest] => Err(StoreError::Behind(TickId::from_ms(newest.parse().map_err(away)?))),
            _ => Err(StoreError::NotLeader),
        }
    }
}

fn away(error: impl std::fmt::Display) -> StoreError {
    StoreError::Away(error.to_string())
}

fn late<E>(doing: &'static str) -> impl Fn(E) -> StoreError {
    move |_| StoreError::Away(format!("{doing} took too long"))
}

fn read_entry(json: &str) -> Result<Entry> {
    serde_json::from_str(json).map_err(|error| away(format_args!("an entry cannot be read: {error}: {json:.200}")))
}

/// An entry that cannot be read, of a newer version perhaps, is passed over: the next one's `prev` tells that it is missing.
fn readable(json: &str) -> Option<Entry> {
    read_entry(json).inspect_err(|error| error!(%error, "an entry is passed over")).ok()
}

/// A duration as Redis takes it.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Store for Redis {
    async fn acquire(&self, holder: &str) -> Result<Option<Lease>> {
        let lease = Lease::new(holder);
        let mut command = ::redis::cmd("SET");
        command.arg(&self.keys.lease).arg(&lease.token).arg("NX").arg("PX").arg(ms(self.options.lease_ttl));
        let granted: Option<String> = self.ask(&command).await?;
        Ok(granted.map(|_| lease))
    }

    async fn renew(&self, lease: &Lease) -> Result<()> {
        let script = || {
            let mut script = self.scripts.renew.key(&self.keys.lease);
            script.arg(&lease.token).arg(ms(self.options.lease_ttl));
            script
        };
        self.write(script).await.map(drop)
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let script = || {
            let mut script = self.scripts.release.key(&self.keys.lease);
            script.arg(&lease.token);
            script
        };
        match self.write(script).await {
            Err(StoreError::NotLeader) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn append(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry> {
        let json = serde_json::to_string(&record.event).map_err(away)?;
        let body = json.strip_prefix('{').unwrap_or(&json);
        let script = || {
            let mut script = self.scripts.append.key(&self.keys.lease);
            script.key(&self.keys.ticks).key(&self.keys.record);
            script.arg(&lease.token).arg(ms(record.at.elapsed())).arg(seen.ms()).arg(ms(self.options.retention));
            script.arg(&self.writer).arg(record.number).arg(&self.keys.live).arg(body);
            script
        };
        read_entry(&self.write(script).await?)
    }

    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()> {
        for batch in entries.chunks(RESTORE_BATCH) {
            let json: Vec<_> = batch
                .iter()
                .map(|entry| serde_json::to_string(&**entry))
                .collect::<std::result::Result<_, _>>()
                .map_err(away)?;
            let script = || {
                let mut script = self.scripts.restore.key(&self.keys.lease);
                script.key(&self.keys.ticks).arg(&lease.token);
                for (entry, json) in batch.iter().zip(&json) {
                    script.arg(entry.id.ms()).arg(json);
                }
                script
            };
            self.write(script).await?;
        }
        Ok(())
    }

    async fn now(&self) -> Result<TickId> {
        let (seconds, micros): (u64, u64) = self.ask(&::redis::cmd("TIME")).await?;
        Ok(TickId::from_ms(seconds * 1000 + micros / 1000))
    }

    async fn head(&self) -> Result<TickId> {
        let mut command = ::redis::cmd("ZREVRANGE");
        command.arg(&self.keys.ticks).arg(0).arg(0).arg("WITHSCORES");
        let newest: Vec<(String, u64)> = self.ask(&command).await?;
        Ok(newest.first().map_or(TickId::ZERO, |(_, id)| TickId::from_ms(*id)))
    }

    async fn range(&self, mut after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        loop {
            let asked = limit - entries.len();
            let mut command = ::redis::cmd("ZRANGEBYSCORE");
            command.arg(&self.keys.ticks).arg(format!("({after}")).arg(until.ms()).arg("WITHSCORES");
            command.arg("LIMIT").arg(0).arg(asked);
            let page: Vec<(String, u64)> = self.ask_history(&command).await?;
            let complete = page.len() < asked;
            if let Some((_, id)) = page.last() {
                after = TickId::from_ms(*id);
            }
            entries.extend(page.iter().filter_map(|(json, _)| readable(json)));
            if complete || entries.len() == limit {
                return Ok(entries);
            }
        }
    }

    async fn nth(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        let mut command = ::redis::cmd("ZRANGEBYSCORE");
        command.arg(&self.keys.ticks).arg(format!("({after}")).arg(until.ms()).arg("WITHSCORES");
        command.arg("LIMIT").arg(n - 1).arg(UNREADABLE);
        let found: Vec<(String, u64)> = self.ask_history(&command).await?;
        Ok(found.iter().find(|(json, _)| readable(json).is_some()).map(|(_, id)| TickId::from_ms(*id)))
    }

    async fn newest(&self, limit: usize) -> Result<Vec<Entry>> {
        // In pages, so that no answer is too long for its deadline.
        let mut command = ::redis::cmd("ZREVRANGE");
        command.arg(&self.keys.ticks).arg(limit).arg(limit).arg("WITHSCORES");
        let before: Vec<(String, u64)> = self.ask_history(&command).await?;
        let mut after = before.first().map_or(TickId::ZERO, |(_, id)| TickId::from_ms(*id));
        let mut newest = Vec::new();
        loop {
            let page = self.range(after, TickId::from_ms(u64::MAX), PAGE).await?;
            let Some(last) = page.last() else { return Ok(newest) };
            after = last.id;
            newest.extend(page);
        }
    }

    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()> {
        if sent.is_empty() {
            return Ok(());
        }
        let mut commands = ::redis::pipe();
        for (client, id) in sent {
            let key = format!("{}{client}", self.keys.client);
            commands.cmd("SET").arg(key).arg(id.ms()).arg("PX").arg(ms(self.options.retention)).ignore();
        }
        self.history.ask(&self.client, async |mut connection| commands.query_async(&mut connection).await).await
    }

    async fn recall(&self, client: &str) -> Result<Option<TickId>> {
        let mut command = ::redis::cmd("GET");
        command.arg(format!("{}{client}", self.keys.client));
        let id: Option<u64> = self.ask_history(&command).await?;
        Ok(id.map(TickId::from_ms))
    }

    async fn subscribe(&self) -> Result<Live> {
        let connecting = timeout(CONNECT_DEADLINE, self.client.get_async_pubsub());
        let (mut sink, stream) = connecting.await.map_err(late("connecting"))?.map_err(away)?.split();
        let subscribing = timeout(ANSWER_DEADLINE, sink.subscribe(&self.keys.live));
        subscribing.await.map_err(late("subscribing"))?.map_err(away)?;
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let subscription = Subscription { sink, stream, pings, broken: false };
        Ok(stream::unfold(subscription, Subscription::next).boxed())
    }
}

/// A subscription that is pinged, so that it ends when its connection does.
struct Subscription {
    sink: PubSubSink,
    stream: PubSubStream,
    pings: Interval,
    broken: bool,
}

impl Subscription {
    async fn next(mut self) -> Option<(Result<Entry>, Subscription)> {
        if self.broken {
            return None;
        }
        let result = loop {
            // Both arms are cancel-safe: a message or a ping that is due stays so.
            tokio::select! {
                biased;
                message = self.stream.next() => match message {
                    Some(message) => {
                        if let Some(entry) = message.get_payload::<String>().ok().as_deref().and_then(readable) {
                            break Ok(entry);
                        }
                    }
                    None => break Err(away("the subscription ended")),
                },
                _ = self.pings.tick() => match timeout(ANSWER_DEADLINE, self.sink.ping::<()>()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break Err(away(error)),
                    Err(_) => break Err(away("the subscription does not answer its ping")),
                },
            }
        };
        self.broken = result.is_err();
        Some((result, self))
    }
}
