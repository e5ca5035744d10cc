//! The shared store: a sorted set for the history, one for its audits, a channel for live entries, a hash for the
//! newest record, two hashes for the candles of ended hours, keys with a time to live for the lease, the claim, the
//! settings and the bookmarks of clients, a sorted set of the replicas that are alive, a channel for their messages,
//! and a sorted set for garbage that was found in the history.
//!
//! Each change of the lease or of its claim, each step that adds entries, and each beat is a Lua script in the folder
//! `redis/`, so it is atomic. A long restore runs its script once for each batch. Reads of the history for clients, and
//! other requests for them, have connections of their own, so that they never delay the renewal of the lease.

mod audits;
mod bookmarks;
mod connection;
mod history;
mod hours;
mod inspect;
mod keys;
mod lease;
mod location;
mod node;
mod options;
mod portable;
mod reads;
mod redirect;
mod rights;
mod scripts;
mod server;
mod subscription;
mod url;
mod write_faults;
mod writes;

use super::contract::{
    Claim, EntryStream, Lease, Members, MessageStream, Options, Record, ReplicaBeat, Result, Store, StoreError,
};
use super::entry::encode;
use super::kind::PriceKind;
use crate::candle::Detail;
use crate::feed::{Entry, EntryAudit};
use crate::tick::TickId;
use async_trait::async_trait;
use connection::RedisConnection;
use history::HistoryPool;
pub use inspect::Inspection;
use inspect::Inspector;
use keys::KeyNames;
pub use options::{InvalidUrl, RedisOptions, RedisTls, RedisTlsError};
use scripts::Scripts;
use server::RedisServer;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;
use write_faults::{Write, WriteFaults};

/// The number of entries in one page of a long history.
const PAGE: usize = 1000;
/// The number of consecutive members among which [`Store::nth`] and [`Store::nth_newest`] look for an entry that can be
/// decoded.
const NTH_CANDIDATES: usize = 16;
/// The number of entries in one write of [`Store::restore`].
const RESTORE_BATCH: usize = 500;
/// The maximum number of members in quarantine.
const QUARANTINE: usize = 1000;
/// The time for which a claim reserves the lease. The replica that needs the lease repeats its claim several times in a
/// second.
const CLAIM_TTL: Duration = Duration::from_secs(2);
/// The longest time to live that can be configured for leases. A lease's token normally contains the maximum time to
/// live of this lease. If it does not, this value is the maximum.
const LONGEST_TERM: Duration = Duration::from_secs(60);
/// The time for which a replica counts as alive after its last beat.
const BEAT_TTL: Duration = Duration::from_secs(5);

/// A feed in Redis.
pub struct Redis {
    server: Arc<RedisServer>,
    keys: KeyNames,
    options: Options,
    scripts: Scripts,
    /// The name of this process in the hash of the newest record.
    writer: String,
    /// The connection for short requests that must not wait: the lease, writes of the feed, beats, the head, the time,
    /// announced entries, and counts of entries.
    commands: RedisConnection,
    /// The connection for the bookmarks of clients, writes of candles, and messages to other replicas.
    clients: RedisConnection,
    /// The connection on which appends wait for the replicas of Redis.
    acks: RedisConnection,
    /// The connections for reads of the history.
    history: HistoryPool,
    faults: WriteFaults,
    /// The settings of this replica, as in [`RedisOptions::settings`].
    settings: String,
    /// The kind of the prices that this replica writes.
    kind: Option<PriceKind>,
    /// A warning, if the replicas that may lead have other settings than this one.
    others: Mutex<Option<String>>,
    /// The number that identifies the connection on which the last successful trial of the rights ran. Zero before the
    /// first successful trial.
    rights_checked: AtomicU64,
    /// The time at which `is_comparison_due` last returned true.
    kind_compared: Mutex<Option<Instant>>,
}

impl Redis {
    /// A feed at `url`, with the default for all other options. No connection is opened yet.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub fn new(url: &str, prefix: &str, options: Options) -> std::result::Result<Redis, InvalidUrl> {
        Redis::open(&RedisOptions::new(url, prefix), options)
    }

    /// A feed in a Redis. No connection is opened yet.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub fn open(redis: &RedisOptions, options: Options) -> std::result::Result<Redis, InvalidUrl> {
        let server = Arc::new(RedisServer::new(redis)?);
        let keys = KeyNames::new(&redis.key_prefix, server.database());
        Ok(Redis { settings: redis.settings.clone(), kind: redis.kind, ..Redis::at(server, keys, options) })
    }

    /// A feed on a server, with connections of its own.
    fn at(server: Arc<RedisServer>, keys: KeyNames, options: Options) -> Redis {
        let [commands, clients, acks] =
            ["commands", "clients", "acks"].map(|purpose| RedisConnection::new(server.clone(), purpose));
        let (history, writer) = (HistoryPool::new(server.clone()), Uuid::now_v7().simple().to_string());
        let (scripts, faults, rights_checked) = (Scripts::new(CLAIM_TTL), WriteFaults::default(), AtomicU64::default());
        Redis {
            server,
            keys,
            options,
            scripts,
            writer,
            commands,
            clients,
            acks,
            history,
            faults,
            settings: String::new(),
            kind: None,
            others: Mutex::default(),
            rights_checked,
            kind_compared: Mutex::default(),
        }
    }

    /// Returns the words of an ACL that grant the rights that a feed with this prefix needs. A database other than 0, a
    /// cluster, and `BTCFEED_REDIS_MIN_ACKS` need more rights.
    pub fn acl(prefix: &str) -> String {
        rights::acl(prefix)
    }

    /// Returns the forms that `REDIS_URL` can have, as text for people.
    pub fn url_forms() -> &'static str {
        url::EXPECTED
    }

    /// Returns true if a URL names a Unix socket.
    pub fn is_socket(url: &str) -> bool {
        url::is_socket(url)
    }

    /// Checks that a replica can use `url`.
    ///
    /// # Errors
    /// The reason why it cannot. It does not contain the URL, because a URL may contain a password.
    pub fn check_url(url: &str) -> std::result::Result<(), InvalidUrl> {
        options::check_url(url)
    }

    /// Reads the server's state and settings, and tries each command that the feed needs, on separate keys.
    ///
    /// # Errors
    /// If the server cannot be reached, or rejects `PING`.
    pub async fn inspect(&self) -> Result<Inspection> {
        Inspector { server: &self.server, commands: &self.commands, keys: &self.keys }.inspect().await
    }
}

/// Converts a duration to whole milliseconds, as Redis expects it.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reads a member of the set of replicas.
fn replica_of(member: &str) -> Option<ReplicaBeat> {
    let (name, version) = member.rsplit_once('/')?;
    Some(ReplicaBeat { name: name.to_owned(), version: version.to_owned() })
}

#[async_trait]
impl Store for Redis {
    fn is_shared(&self) -> bool {
        true
    }

    fn for_clients(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(Redis::at(self.server.clone(), self.keys.clone(), self.options)))
    }

    fn clock(&self) -> Option<TickId> {
        Some(self.time())
    }

    fn warning(&self) -> Option<String> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fault(&self) -> Option<String> {
        self.faults.current()
    }

    async fn acquire(&self, holder: &str) -> Result<Option<Lease>> {
        self.acquire_lease(holder).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Option<String>> {
        self.claim_lease(claim).await
    }

    async fn beat(&self, replica: &ReplicaBeat) -> Result<Members> {
        let member = format!("{}/{}", replica.name, replica.version);
        let script = || {
            let mut script = self.scripts.beat.key(&self.keys.lease);
            script.key(&self.keys.replicas).key(&self.keys.settings).arg(&member).arg(ms(BEAT_TTL)).arg(&self.settings);
            script
        };
        let words: Vec<Vec<u8>> = self.run(Write::Beat, script).await?;
        let mut words = words.iter().map(|word| String::from_utf8_lossy(word).into_owned());
        if let Some(now) = words.next().and_then(|now| now.parse().ok()) {
            self.note_clock(TickId::from_ms(now));
        }
        let leader = words.next().as_deref().and_then(Lease::holder);
        // A negative number says that there is no lease, or that it has no time to live.
        let lease_ttl = words.next().and_then(|left| left.parse().ok()).map(Duration::from_millis);
        self.note_others(&words.next().unwrap_or_default());
        let mut replicas: Vec<_> = words.filter_map(|member| replica_of(&member)).collect();
        replicas.sort();
        Ok(Members { leader, lease_ttl, replicas })
    }

    async fn renew(&self, lease: &Lease) -> Result<()> {
        let script = || {
            let mut script = self.scripts.renew.key(&self.keys.lease);
            script.arg(&lease.token).arg(ms(self.options.lease_ttl));
            script
        };
        self.write(Write::Lease, script).await.map(drop)
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let script = || {
            let mut script = self.scripts.release.key(&self.keys.lease);
            script.arg(&lease.token);
            script
        };
        match self.write(Write::Lease, script).await {
            Err(StoreError::NotLeader) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn append(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry> {
        self.append_record(lease, record, seen).await
    }

    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()> {
        for batch in entries.chunks(RESTORE_BATCH) {
            let json = encode(batch)?;
            let script = || {
                let mut script = self.scripts.restore.key(&self.keys.lease);
                script.key(&self.keys.ticks).key(&self.keys.record).arg(&lease.token);
                for (entry, json) in batch.iter().zip(&json) {
                    script.arg(entry.id.ms()).arg(json);
                }
                script
            };
            self.write(Write::Entries, script).await?;
        }
        Ok(())
    }

    async fn lacking(&self, entries: &[Arc<Entry>]) -> Result<Vec<Arc<Entry>>> {
        self.lacking_entries(entries).await
    }

    async fn put_back(&self, entries: &[Arc<Entry>]) -> Result<usize> {
        let json = encode(entries)?;
        let script = || {
            let mut script = self.scripts.put_back.key(&self.keys.ticks);
            script.arg(ms(self.options.retention));
            for (entry, json) in entries.iter().zip(&json) {
                script.arg(entry.id.ms()).arg(entry.prev.ms()).arg(json);
            }
            script
        };
        self.run(Write::Entries, script).await
    }

    async fn now(&self) -> Result<TickId> {
        let (seconds, micros): (u64, u64) = self.commands.query(&::redis::cmd("TIME")).await?;
        let now = TickId::from_ms(seconds * 1000 + micros / 1000);
        self.note_clock(now);
        Ok(now)
    }

    async fn head(&self) -> Result<TickId> {
        self.newest_id().await
    }

    async fn announced(&self, _announced: &Entry, after: TickId) -> Result<Vec<Entry>> {
        self.announced_entries(after).await
    }

    async fn count(&self, after: TickId, until: TickId) -> Result<usize> {
        self.count_members(after, until).await
    }

    async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>> {
        self.entries(after, until, limit).await
    }

    async fn nth(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        self.nth_id(after, until, n).await
    }

    async fn nth_newest(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        self.nth_newest_id(after, until, n).await
    }

    async fn newest(&self, limit: usize) -> Result<Vec<Entry>> {
        self.newest_entries(limit).await
    }

    async fn audits(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<EntryAudit>> {
        self.read_audits(after, until, limit).await
    }

    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()> {
        self.write_bookmarks(sent).await
    }

    async fn put_back_bookmarks(&self, sent: &[(String, TickId)]) -> Result<usize> {
        self.write_missing_bookmarks(sent).await
    }

    async fn recall(&self, client: &str) -> Result<Option<TickId>> {
        self.read_bookmark(client).await
    }

    async fn kept_hours(&self, detail: Detail) -> Result<Option<Vec<TickId>>> {
        self.hours(detail).await.map(Some)
    }

    async fn read_hours(&self, detail: Detail, starts: &[TickId]) -> Result<Vec<Option<String>>> {
        self.texts_of_hours(detail, starts).await
    }

    async fn keep_hours(&self, detail: Detail, hours: &[(TickId, String)], expired: &[TickId]) -> Result<()> {
        self.write_hours(detail, hours, expired).await
    }

    async fn subscribe(&self) -> Result<EntryStream> {
        subscription::subscribe_to_entries(&self.server, &self.keys.live).await
    }

    async fn broadcast(&self, message: &str) -> Result<()> {
        let mut command = ::redis::cmd(self.server.publish_command());
        self.clients.query(command.arg(&self.keys.messages).arg(message)).await
    }

    async fn messages(&self) -> Result<Option<MessageStream>> {
        subscription::subscribe(&self.server, &self.keys.messages, "messages").await.map(Some)
    }
}
