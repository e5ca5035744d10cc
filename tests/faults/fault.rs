//! The faults: how each of them begins and ends on a real Redis.

use super::stage::{Stage, now};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, cmd};
use std::fs::{create_dir, remove_dir};
use std::time::Duration;
use tokio::time::sleep;

/// A fault of the store, or of the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Redis is the replica of a master that is gone, so it rejects writes (READONLY).
    ReadOnly,
    /// Redis needs a replica of its own to accept writes (NOREPLICAS).
    NoReplicas,
    /// Redis holds writes back, and answers reads.
    PausedWrites,
    /// The memory of Redis is full (OOM).
    OutOfMemory,
    /// Redis cannot save its data (MISCONF).
    DiskFull,
    /// The user has lost a permission (NOPERM).
    NoPermission,
    /// The key of the lease holds a list (WRONGTYPE).
    LeaseOfWrongType,
    /// The memory is full, and Redis evicts keys that expire, such as the lease.
    LeaseEvicted,
    /// The lease never expires.
    LeaseWithoutTtl,
    /// The lease expires in an hour, as after a step of the clock.
    LeaseOfAnHour,
    /// Redis hangs.
    Hang,
    /// Redis is unavailable, and comes back with its data.
    Restart,
    /// Redis is unavailable, and comes back empty.
    RestartEmpty,
    /// All data is deleted.
    Flush,
    /// The history is deleted, three times.
    HistoryDeleted,
    /// The memory is full, and Redis evicts any key, such as the history.
    HistoryEvicted,
    /// Members that no replica wrote are added to the history: invalid texts, and ticks whose score is far ahead or not
    /// a whole number. All scores are higher than that of the newest entry.
    Garbage,
    /// Entries that nobody wrote are announced.
    ForgedEntries,
    /// Texts that are not entries are announced.
    ChannelJunk,
    /// Redis closes all connections.
    ConnectionsKilled,
    /// The leader cannot reach Redis.
    LeaderCutOff,
    /// The leader's connections hang.
    LeaderFrozen,
}

impl Fault {
    /// Every fault.
    pub const ALL: &[Fault] = &[
        Fault::ReadOnly,
        Fault::NoReplicas,
        Fault::PausedWrites,
        Fault::OutOfMemory,
        Fault::DiskFull,
        Fault::NoPermission,
        Fault::LeaseOfWrongType,
        Fault::LeaseEvicted,
        Fault::LeaseWithoutTtl,
        Fault::LeaseOfAnHour,
        Fault::Hang,
        Fault::Restart,
        Fault::RestartEmpty,
        Fault::Flush,
        Fault::HistoryDeleted,
        Fault::HistoryEvicted,
        Fault::Garbage,
        Fault::ForgedEntries,
        Fault::ChannelJunk,
        Fault::ConnectionsKilled,
        Fault::LeaderCutOff,
        Fault::LeaderFrozen,
    ];

    /// Returns the description of the fault.
    pub fn words(self) -> &'static str {
        match self {
            Fault::ReadOnly => "Redis is a read-only replica (`READONLY`)",
            Fault::NoReplicas => "too few replicas of Redis (`NOREPLICAS`)",
            Fault::PausedWrites => "Redis holds writes back (`CLIENT PAUSE WRITE`)",
            Fault::OutOfMemory => "the memory of Redis is full (`OOM`)",
            Fault::DiskFull => "Redis cannot save its data (`MISCONF`)",
            Fault::NoPermission => "the user has lost a permission (`NOPERM`)",
            Fault::LeaseOfWrongType => "the key of the lease has a wrong type",
            Fault::LeaseEvicted => "Redis is full and evicts keys that expire (`volatile-ttl`)",
            Fault::LeaseWithoutTtl => "the lease never expires (`PERSIST`)",
            Fault::LeaseOfAnHour => "the lease expires in an hour, as after a step of the clock",
            Fault::Hang => "Redis hangs",
            Fault::Restart => "Redis is unavailable and comes back with its data",
            Fault::RestartEmpty => "Redis is unavailable and comes back empty",
            Fault::Flush => "`FLUSHALL`",
            Fault::HistoryDeleted => "the history is deleted, three times",
            Fault::HistoryEvicted => "Redis is full and evicts the history (`allkeys-lru`)",
            Fault::Garbage => {
                "garbage in the history: texts that are no entries, scores that are infinite, not whole or a year ahead"
            }
            Fault::ForgedEntries => "forged entries on the channel",
            Fault::ChannelJunk => "texts on the channel that are no entries",
            Fault::ConnectionsKilled => "Redis closes all connections",
            Fault::LeaderCutOff => "the leader alone cannot reach Redis",
            Fault::LeaderFrozen => "the connections of the leader alone hang",
        }
    }

    /// Returns true if no replica can write while the fault lasts, so that each replica must report it.
    pub fn stops_all_writes(self) -> bool {
        use Fault::*;
        matches!(
            self,
            ReadOnly | NoReplicas | PausedWrites | OutOfMemory | DiskFull | NoPermission | LeaseOfWrongType | Hang
        ) || matches!(self, Restart | RestartEmpty | LeaseEvicted | HistoryEvicted)
    }

    /// Returns true if the server does not answer while the fault lasts.
    pub fn stops_the_server(self) -> bool {
        matches!(self, Fault::Hang | Fault::Restart | Fault::RestartEmpty)
    }

    /// Returns true if the fault affects only the leader, so that another replica leads.
    pub fn isolates_the_leader(self) -> bool {
        matches!(self, Fault::LeaderCutOff | Fault::LeaderFrozen)
    }

    /// Begins the fault.
    pub async fn begin(self, stage: &mut Stage) {
        match self {
            Fault::ReadOnly => stage.run("REPLICAOF 127.0.0.1 1").await,
            Fault::NoReplicas => stage.run("CONFIG SET min-replicas-to-write 1").await,
            Fault::PausedWrites => stage.run("CLIENT PAUSE 100000 WRITE").await,
            Fault::OutOfMemory => stage.run("CONFIG SET maxmemory 1").await,
            Fault::DiskFull => {
                create_dir(stage.redis.directory().join("dump.rdb")).unwrap();
                create_dir(stage.redis.directory().join("dump.rdb/full")).unwrap();
                stage.run("CONFIG SET save '3600 1'").await;
                stage.run("BGSAVE").await;
            }
            Fault::NoPermission => stage.run("ACL SETUSER default -zadd").await,
            Fault::LeaseOfWrongType => {
                let replace = "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'x')".replace('\'', "\"");
                stage.run(&format!("EVAL '{replace}' 1 {{btcfeed}}:lease")).await;
            }
            Fault::LeaseEvicted => {
                stage.run("CONFIG SET maxmemory-policy volatile-ttl").await;
                stage.run("CONFIG SET maxmemory 1").await;
            }
            Fault::LeaseWithoutTtl => stage.run("PERSIST {btcfeed}:lease").await,
            Fault::LeaseOfAnHour => stage.run("PEXPIRE {btcfeed}:lease 3600000").await,
            Fault::Hang => stage.redis.pause(),
            Fault::Restart => stage.redis.kill().await,
            Fault::RestartEmpty => {
                stage.redis.kill().await;
                stage.redis.delete_data();
            }
            Fault::Flush => stage.run("FLUSHALL").await,
            Fault::HistoryDeleted => stage.run("DEL {btcfeed}:ticks").await,
            Fault::HistoryEvicted => {
                stage.run("CONFIG SET maxmemory-policy allkeys-lru").await;
                stage.run("CONFIG SET maxmemory 1").await;
            }
            Fault::Garbage => {
                let (soon, year_ahead) = (now() + 1500, now() + 365 * 24 * 3600 * 1000);
                let garbage = [
                    ("+inf".to_owned(), "not JSON".to_owned()),
                    ("100000000000000000".to_owned(), tick(100_000_000_000_000_000, 0)),
                    (year_ahead.to_string(), tick(year_ahead, year_ahead - 1)),
                    (format!("{soon}.5"), tick(soon, soon - 1)),
                    ((soon + 20).to_string(), "{\"id\":1}".to_owned()),
                    ((soon + 30).to_string(), "[]".to_owned()),
                ];
                let words: Vec<_> = garbage.iter().map(|(score, text)| format!("{score} '{text}'")).collect();
                stage.run(&format!("ZADD {{btcfeed}}:ticks {}", words.join(" "))).await;
            }
            Fault::ForgedEntries => {
                for _ in 0..20 {
                    let head = stage.head().await;
                    for text in [tick(head + 50, head), tick(head + 365 * 24 * 3600 * 1000, head), tick(head + 60, 5)] {
                        stage.run(&format!("PUBLISH {{btcfeed}}:live '{text}'")).await;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
            Fault::ChannelJunk => {
                for number in 0..500 {
                    stage.run(&format!("PUBLISH {{btcfeed}}:live '{{\"junk\": {number}'")).await;
                }
            }
            Fault::ConnectionsKilled => {
                stage.run("CLIENT KILL TYPE normal").await;
                stage.run("CLIENT KILL TYPE pubsub").await;
            }
            Fault::LeaderCutOff => stage.leader_proxy().cut(),
            Fault::LeaderFrozen => stage.leader_proxy().freeze(),
        }
    }

    /// Begins a fault of the lease again after the leader was killed. A running leader ends such a fault when it renews
    /// the lease.
    pub async fn leader_died(self, stage: &mut Stage) {
        if matches!(self, Fault::LeaseWithoutTtl | Fault::LeaseOfAnHour) {
            self.begin(stage).await;
        }
    }

    /// Ends the fault.
    pub async fn end(self, stage: &mut Stage) {
        match self {
            Fault::ReadOnly => stage.run("REPLICAOF NO ONE").await,
            Fault::NoReplicas => stage.run("CONFIG SET min-replicas-to-write 0").await,
            Fault::PausedWrites => stage.run("CLIENT UNPAUSE").await,
            Fault::OutOfMemory => stage.run("CONFIG SET maxmemory 0").await,
            Fault::DiskFull => {
                remove_dir(stage.redis.directory().join("dump.rdb/full")).ok();
                remove_dir(stage.redis.directory().join("dump.rdb")).ok();
                stage.run("CONFIG SET save ''").await;
            }
            Fault::NoPermission => stage.run("ACL SETUSER default +zadd").await,
            Fault::LeaseOfWrongType => stage.run("DEL {btcfeed}:lease").await,
            Fault::LeaseEvicted | Fault::HistoryEvicted => {
                stage.run("CONFIG SET maxmemory 0").await;
                stage.run("CONFIG SET maxmemory-policy noeviction").await;
            }
            Fault::Hang => stage.redis.resume(),
            Fault::Restart | Fault::RestartEmpty => stage.redis.run().await,
            Fault::HistoryDeleted => {
                stage.run("DEL {btcfeed}:ticks").await;
                sleep(Duration::from_millis(30)).await;
                stage.run("DEL {btcfeed}:ticks").await;
            }
            Fault::LeaderCutOff => stage.restore_proxies(),
            Fault::LeaseWithoutTtl | Fault::LeaseOfAnHour | Fault::Flush => {}
            Fault::Garbage | Fault::ForgedEntries | Fault::ChannelJunk => {}
            Fault::ConnectionsKilled | Fault::LeaderFrozen => {}
        }
    }
}

/// Returns a tick with a price that no exchange has.
fn tick(id: u64, prev: u64) -> String {
    let prices = r#""prices":{"USD":"1.00"},"sources":{"USD":["coinbase"]}"#;
    format!(r#"{{"id":{id},"prev":{prev},"type":"tick",{prices}}}"#)
}

/// Returns a command of words that are separated by spaces. A word may be in single quotes.
pub fn command(words: &str) -> Cmd {
    let mut parts: Vec<String> = Vec::new();
    for (number, part) in words.split('\'').enumerate() {
        match number % 2 {
            0 => parts.extend(part.split_whitespace().map(str::to_owned)),
            _ => parts.push(part.to_owned()),
        }
    }
    let mut command = cmd(&parts[0]);
    command.arg(&parts[1..]);
    command
}

/// Runs a command. Another fault may make Redis reject the command, so an error is only printed.
pub async fn run(connection: &mut MultiplexedConnection, words: &str) {
    let answer: Result<redis::Value, _> = command(words).query_async(connection).await;
    if let Err(error) = answer {
        eprintln!("{words}: {error}");
    }
}
