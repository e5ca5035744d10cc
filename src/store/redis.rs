//! The shared store: a sorted set for the history, a channel for what is live, a key with a time to live for the lease.
//!
//! Every command has a deadline, and a connection on which anything went wrong is dropped and made anew: a demoted master
//! answers PING and refuses writes, a half-open socket answers nothing. The subscription has a connection of its own with
//! a ping on it, since a subscriber that only listens would not notice for hours that nobody speaks any more.

use super::{Lease, Live, Options, Record, Result, Store, StoreError};
use crate::feed::Entry;
use crate::tick::TickId;
use ::redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use ::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, Script, ScriptInvocation};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// How long Redis may take to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// How long Redis may take to answer a command.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);
/// How often a subscription is pinged.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Entries in one write when lost ones are put back.
const RESTORE_BATCH: usize = 500;

/// The names of what is kept in Redis. The braces make Redis Cluster keep them on one node.
#[derive(Clone, Debug)]
pub struct Keys {
    ticks: String,
    lease: String,
    record: String,
    live: String,
}

impl Keys {
    /// The names for a feed with this prefix.
    pub fn new(prefix: &str) -> Keys {
        let key = |name| format!("{{{prefix}}}:{name}");
        Keys { ticks: key("ticks"), lease: key("lease"), record: key("record"), live: key("live") }
    }
}

/// A feed in Redis.
pub struct Redis {
    client: Client,
    keys: Keys,
    options: Options,
    scripts: Scripts,
    /// The connection for commands. A tokio mutex: while one caller connects, the others wait for the same connection.
    commands: Mutex<Option<MultiplexedConnection>>,
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
    pub fn new(url: &str, keys: Keys, options: Options) -> std::result::Result<Redis, RedisError> {
        let scripts = Scripts {
            append: Script::new(include_str!("append.lua")),
            restore: Script::new(include_str!("restore.lua")),
            renew: Script::new(include_str!("renew.lua")),
            release: Script::new(include_str!("release.lua")),
        };
        Ok(Redis { client: Client::open(url)?, keys, options, scripts, commands: Mutex::new(None) })
    }

    /// Whether `url` can be read.
    ///
    /// # Errors
    /// If it cannot; the URL itself, which may have a password in it, is not repeated.
    pub fn check_url(url: &str) -> std::result::Result<(), RedisError> {
        Client::open(url).map(drop)
    }

    async fn connection(&self) -> Result<MultiplexedConnection> {
        let mut slot = self.commands.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(Some(ANSWER_DEADLINE));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(CONNECT_DEADLINE, connecting).await.map_err(late("connecting"))?.map_err(away)?;
        Ok(slot.insert(connection).clone())
    }

    /// Passes a result on, dropping the connection if it failed.
    async fn checked<T>(&self, result: std::result::Result<T, RedisError>) -> Result<T> {
        if result.is_err() {
            *self.commands.lock().await = None;
        }
        result.map_err(away)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let mut connection = self.connection().await?;
        let answer = command.query_async(&mut connection).await;
        self.checked(answer).await
    }

    /// Runs a script that checks the lease first, and returns what it did.
    async fn write(&self, script: &ScriptInvocation<'_>) -> Result<String> {
        let mut connection = self.connection().await?;
        let answer = script.invoke_async(&mut connection).await;
        let words: Vec<String> = self.checked(answer).await?;
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

fn read_entries(members: &[String]) -> Result<Vec<Entry>> {
    members.iter().map(|json| read_entry(json)).collect()
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
        let mut script = self.scripts.renew.key(&self.keys.lease);
        script.arg(&lease.token).arg(ms(self.options.lease_ttl));
        self.write(&script).await.map(drop)
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let mut script = self.scripts.release.key(&self.keys.lease);
        script.arg(&lease.token);
        match self.write(&script).await {
            Err(StoreError::NotLeader) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn append(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry> {
        let json = serde_json::to_string(&record.event).map_err(away)?;
        let body = json.strip_prefix('{').unwrap_or(&json);
        let mut script = self.scripts.append.key(&self.keys.lease);
        script.key(&self.keys.ticks).key(&self.keys.record);
        script.arg(&lease.token).arg(ms(record.at.elapsed())).arg(seen.ms()).arg(ms(self.options.retention));
        script.arg(&record.name).arg(&self.keys.live).arg(body);
        read_entry(&self.write(&script).await?)
    }

    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()> {
        for batch in entries.chunks(RESTORE_BATCH) {
            let mut script = self.scripts.restore.key(&self.keys.lease);
            script.key(&self.keys.ticks).arg(&lease.token);
            for entry in batch {
                script.arg(entry.id.ms()).arg(serde_json::to_string(&**entry).map_err(away)?);
            }
            self.write(&script).await?;
        }
        Ok(())
    }

    async fn head(&self) -> Result<TickId> {
        let mut command = ::redis::cmd("ZREVRANGE");
        command.arg(&self.keys.ticks).arg(0).arg(0).arg("WITHSCORES");
        let newest: Vec<(String, u64)> = self.ask(&command).await?;
        Ok(newest.first().map_or(TickId::ZERO, |(_, id)| TickId::from_ms(*id)))
    }

    async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>> {
        let mut command = ::redis::cmd("ZRANGEBYSCORE");
        command.arg(&self.keys.ticks).arg(format!("({after}")).arg(until.ms()).arg("LIMIT").arg(0).arg(limit);
        read_entries(&self.ask::<Vec<String>>(&command).await?)
    }

    async fn newest(&self, limit: usize) -> Result<Vec<Entry>> {
        let mut command = ::redis::cmd("ZREVRANGE");
        command.arg(&self.keys.ticks).arg(0).arg(limit.saturating_sub(1));
        let mut newest = read_entries(&self.ask::<Vec<String>>(&command).await?)?;
        newest.reverse();
        Ok(newest)
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
                message = self.stream.next() => break match message {
                    Some(message) => message.get_payload::<String>().map_err(away).and_then(|json| read_entry(&json)),
                    None => Err(away("the subscription ended")),
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
