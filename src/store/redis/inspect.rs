//! Inspection of a Redis: the facts that an operator should know before a feed depends on it.

use super::connection::{RedisConnection, RedisRequest};
use super::keys::KeyNames;
use super::rights::{self, Need};
use super::server::RedisServer;
use super::subscription::subscribe;
use crate::store::contract::{Lease, Result, StoreError};
use crate::tick::TickId;
use ::redis::{InfoDict, RedisResult, Value, cmd};
use std::sync::Arc;

/// State and settings of a Redis.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The version of the server, or `unknown` if the server rejects `INFO`.
    pub version: String,
    /// True if the server writes its data to a disk, or `None` if that is unknown.
    pub is_persistent: Option<bool>,
    /// The server's policy for full memory, such as `noeviction`, or `unknown` if the server rejects `INFO`.
    pub eviction: String,
    /// The time of the server's clock minus that of this machine's clock, in milliseconds, or 0 if the server rejects
    /// `TIME`.
    pub clock_ahead_ms: i64,
    /// The replica that holds the lease, or `None` if there is no lease.
    pub leader: Option<String>,
    /// The settings of the replicas that may lead, as text for people, or `None` if there are none.
    pub settings: Option<String>,
    /// The commands that a leader needs and the server rejects, each with the server's reason.
    pub rejected: Vec<String>,
    /// The other commands that the server rejects, each with the server's reason. Without them, candles are not kept in
    /// Redis, or connections have no names.
    pub optional: Vec<String>,
    /// The main keys of the feed that have a wrong type, for example because another program uses them. Each text
    /// contains the key, its type and the expected type.
    pub misused: Vec<String>,
}

/// A server, and the names that the feed uses there.
pub(super) struct Inspector<'a> {
    pub(super) server: &'a Arc<RedisServer>,
    pub(super) commands: &'a RedisConnection,
    pub(super) keys: &'a KeyNames,
}

impl Inspector<'_> {
    /// Reads the server's state and settings, and tries each command that the feed needs, on separate keys.
    ///
    /// # Errors
    /// If the server cannot be reached, or rejects `PING`.
    pub(super) async fn inspect(&self) -> Result<Inspection> {
        self.commands.query::<Value>(&cmd("PING")).await?;
        let info = self.commands.query::<InfoDict>(&cmd("INFO")).await.ok();
        let fact = |name: &str| info.as_ref().and_then(|info| info.get::<String>(name));
        let sent = TickId::now();
        let clock_ahead_ms = match self.commands.query::<(u64, u64)>(&cmd("TIME")).await {
            Ok((seconds, micros)) => {
                // The server read its clock between the request and the arrival of the answer.
                let here = sent.plus(TickId::now().since(sent) / 2);
                i64::try_from(seconds * 1000 + micros / 1000).unwrap_or(i64::MAX)
                    - i64::try_from(here.ms()).unwrap_or_default()
            }
            Err(_) => 0,
        };
        let saves = self.commands.query::<Vec<String>>(cmd("CONFIG").arg("GET").arg("save")).await.ok();
        let snapshots = saves.and_then(|answer| answer.get(1).map(|points| !points.is_empty()));
        let appends = fact("aof_enabled").map(|enabled| enabled == "1");
        let is_persistent = match (appends, snapshots) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        let token = self.commands.query::<Option<String>>(cmd("GET").arg(&self.keys.lease)).await.ok().flatten();
        let (rejected, optional) = self.rejected().await;
        Ok(Inspection {
            version: fact("redis_version").unwrap_or_else(|| "unknown".to_owned()),
            is_persistent,
            eviction: fact("maxmemory_policy").unwrap_or_else(|| "unknown".to_owned()),
            clock_ahead_ms,
            leader: token.as_deref().and_then(Lease::holder),
            settings: self.commands.query(cmd("GET").arg(&self.keys.settings)).await.ok().flatten(),
            rejected,
            optional,
            misused: self.misused().await,
        })
    }

    /// Tries each command that the feed uses. Returns those that are rejected: first those that a leader needs, then
    /// the others.
    async fn rejected(&self) -> (Vec<String>, Vec<String>) {
        let needs = self.server.needs();
        let trial = rights::commands(self.keys, "check", self.server.publish_command(), &needs);
        let answers: Result<Vec<RedisResult<Value>>> = self.commands.send(RedisRequest::Pipeline(&trial)).await;
        let (optional, needed): (Vec<_>, Vec<_>) = match answers {
            Ok(answers) => rights::rejected(&answers, &needs),
            Err(error) => vec![(Need::Lead, error.to_string())],
        }
        .into_iter()
        .partition(|(need, _)| *need == Need::Candles);
        let texts = |all: Vec<(Need, String)>| all.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        let (mut rejected, mut optional) = (texts(needed), texts(optional));
        for channel in [&self.keys.live, &self.keys.messages] {
            if let Err(error) = subscribe(self.server, channel, "check").await {
                rejected.push(format!("SUBSCRIBE: {}", self.reason(error).await));
            }
        }
        optional.extend(self.name_rejected().await);
        (rejected, optional)
    }

    /// Names the connection. Returns the reason if the server rejects that.
    async fn name_rejected(&self) -> Option<String> {
        let mut command = cmd("CLIENT");
        command.arg("SETNAME").arg("btcfeed/check");
        let error = self.commands.query::<Value>(&command).await.err()?;
        Some(format!("CLIENT SETNAME: {}", self.reason(error).await))
    }

    /// Returns the main keys of the feed that have a wrong type, for example because another program uses them.
    async fn misused(&self) -> Vec<String> {
        let KeyNames { ticks, lease, claim, replicas, record, candles, hours, .. } = self.keys;
        let mut misused = Vec::new();
        let types = [
            (ticks, "zset"),
            (lease, "string"),
            (claim, "hash"),
            (replicas, "zset"),
            (record, "hash"),
            (candles, "hash"),
            (hours, "hash"),
        ];
        for (key, expected) in types {
            let kind = self.commands.query::<String>(cmd("TYPE").arg(key)).await;
            // The feed itself does not need this command, so the server may reject it.
            let Ok(kind) = kind else { break };
            if kind != expected && kind != "none" {
                misused.push(format!("{key} is a {kind} instead of a {expected}"));
            }
        }
        misused
    }

    /// Returns the server's reason, without its address.
    async fn reason(&self, error: StoreError) -> String {
        let StoreError::Unavailable(reason) = error else { return error.to_string() };
        let location = self.server.locate().await;
        let address = location.map(|location| format!("{}: ", location.address())).unwrap_or_default();
        reason.strip_prefix(&address).map_or(reason.clone(), str::to_owned)
    }
}
