//! Tests of the contract with each store, and tests of promises that only the Redis store makes.

use crate::support::proxy::Proxy;
use crate::support::redis::Redis as Server;
use crate::support::store_contract::{EVERYTHING, OPTIONS, append, ids, lease, tick};
use crate::support::{soon, until};
use btcfeed::candle::Detail;
use btcfeed::store::{Claim, HISTORY_READERS, Redis, RedisOptions, Store};
use btcfeed::tick::TickId;
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Runs each promise on a memory store, on a disk store with its own directory, and on a Redis store with its own
/// server.
macro_rules! contract {
    ($($promise:ident),+ $(,)?) => {
        mod memory {
            use crate::support::store_contract;

            $(#[tokio::test]
            async fn $promise() {
                store_contract::$promise(&btcfeed::store::Memory::new(store_contract::OPTIONS)).await;
            })+
        }
        mod disk {
            use crate::support::{data_directory, store_contract};

            $(#[tokio::test]
            async fn $promise() {
                let directory = data_directory();
                let store = btcfeed::store::Disk::open(directory.path(), store_contract::OPTIONS).unwrap();
                store_contract::$promise(&store).await;
                assert_eq!(btcfeed::store::Store::fault(&store), None);
            })+
        }
        mod redis {
            use crate::support::store_contract;

            $(#[tokio::test]
            async fn $promise() {
                let server = super::Server::start().await;
                let store = super::Redis::new(&server.url(), "test", store_contract::OPTIONS).unwrap();
                store_contract::$promise(&store).await;
            })+
        }
    };
}

for_each_promise!(contract);

#[tokio::test]
async fn all_keys_of_a_feed_share_a_hash_tag() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let lease = lease(&store).await;
    append(&store, &lease, "1").await;
    store.remember(&[("a".to_owned(), TickId::from_ms(1))]).await.unwrap();
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(&mut server.connection().await).await.unwrap();
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| key.starts_with("{shop}:")), "{keys:?}");
}

#[tokio::test]
async fn lease_is_reserved_for_the_longest_history() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let lease = lease(&store).await;
    let newest = append(&store, &lease, "1").await.id;
    store.release(&lease).await.unwrap();
    let claim = async |holder, seen: TickId, records| store.claim(Claim { holder, seen, records }).await.unwrap();
    assert_eq!(claim("a", newest, 0).await, None, "the store has everything that this replica has");
    assert_eq!(claim("a", newest.next(), 0).await, None, "the lease is reserved for this replica");
    assert_eq!(claim("b", newest.next(), 0).await.as_deref(), Some("a"), "the first of equal claims counts");
    assert_eq!(claim("b", newest.next().next(), 0).await, None, "`b` has seen a newer entry");
    assert_eq!(claim("c", TickId::ZERO, 1).await, None, "a record that nobody else has counts most");
    assert_eq!(claim("a", newest, 0).await.as_deref(), Some("c"));
    for other in ["a", "b"] {
        assert_eq!(store.acquire(other).await.unwrap(), None);
    }
    assert!(store.acquire("c").await.unwrap().is_some());
    // A replica that is gone does not keep the lease from others.
    let _: u64 = ::redis::cmd("DEL").arg("{shop}:lease").query_async(&mut server.connection().await).await.unwrap();
    until("the claim to expire", async || store.acquire("a").await.unwrap().is_some()).await;
}

#[tokio::test]
async fn unwritten_ticks_count_more_than_settings() {
    let server = Server::start().await;
    let open = |settings: &str| {
        let options = RedisOptions { settings: settings.to_owned(), ..RedisOptions::new(&server.url(), "shop") };
        Redis::open(&options, OPTIONS).unwrap()
    };
    let (own, other) = (open("for a day"), open("for an hour"));
    // After an outage, `b` takes the lease first, with other settings. It releases the lease, because `a` claims the
    // lease for unwritten ticks.
    let early = other.acquire("b").await.unwrap().unwrap();
    assert_eq!(own.claim(Claim { holder: "a", seen: TickId::ZERO, records: 1 }).await.unwrap(), None);
    other.release(&early).await.unwrap();
    assert_eq!(other.acquire("b").await.unwrap(), None);
    let lease = own.acquire("a").await.unwrap().expect("nobody else has the ticks");
    own.release(&lease).await.unwrap();
    let _: u64 = ::redis::cmd("DEL").arg("{shop}:claim").query_async(&mut server.connection().await).await.unwrap();
    // With other settings, a replica cannot claim the lease for newer entries alone.
    other.claim(Claim { holder: "b", seen: TickId::now(), records: 0 }).await.unwrap();
    assert_eq!(other.acquire("b").await.unwrap(), None, "the settings of the replica that led count");
}

#[tokio::test]
async fn claim_that_never_expires_counts_as_none() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let mut set = ::redis::cmd("HSET");
    set.arg("{shop}:claim").arg("holder").arg("gone/1").arg("rank").arg(9_e15);
    let _: u64 = set.query_async(&mut server.connection().await).await.unwrap();
    let lease = lease(&store).await;
    append(&store, &lease, "1").await;
}

#[tokio::test]
async fn members_that_are_no_text_are_skipped() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let lease = lease(&store).await;
    let first = append(&store, &lease, "1").await.id;
    let second = append(&store, &lease, "2").await.id;
    let mut connection = server.connection().await;
    for (score, member) in [(first.ms() - 1, &b"\xff"[..]), (second.ms() + 1, b"\xfe")] {
        let mut add = ::redis::cmd("ZADD");
        let _: u64 = add.arg("{shop}:ticks").arg(score).arg(member).query_async(&mut connection).await.unwrap();
    }
    let mut set = ::redis::cmd("HSET");
    let _: u64 = set.arg("{shop}:candles").arg(b"\xff").arg(b"\xff").query_async(&mut connection).await.unwrap();
    assert_eq!(store.head().await.unwrap(), second);
    assert_eq!(store.newest(10).await.unwrap().len(), 2);
    assert_eq!(ids(&store, TickId::ZERO, EVERYTHING, 10).await, [first, second]);
    assert_eq!(store.kept_hours(Detail::Minutes).await.unwrap(), Some(vec![]));
    assert_eq!(append(&store, &lease, "3").await.prev, second);
}

#[tokio::test]
async fn garbage_beside_a_loss_does_not_hide_it() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let lease = lease(&store).await;
    let mut entries = Vec::new();
    for price in ["1", "2", "3", "4"] {
        entries.push(Arc::new(append(&store, &lease, price).await));
        sleep(Duration::from_millis(5)).await;
    }
    let mut connection = server.connection().await;
    let lost = &entries[1..3];
    for entry in lost {
        let id = entry.id.ms();
        let mut remove = ::redis::cmd("ZREMRANGEBYSCORE");
        let _: u64 = remove.arg("{shop}:ticks").arg(id).arg(id).query_async(&mut connection).await.unwrap();
        let mut add = ::redis::cmd("ZADD");
        let member = format!("garbage {id}");
        let _: u64 = add.arg("{shop}:ticks").arg(id + 1).arg(member).query_async(&mut connection).await.unwrap();
    }
    assert_eq!(store.newest(2).await.unwrap().len(), 2, "garbage does not count");
    assert_eq!(store.newest(10).await.unwrap().len(), 2);
    assert_eq!(store.lacking(&entries).await.unwrap(), lost);
    assert_eq!(store.put_back(lost).await.unwrap(), 2);
    assert_eq!(store.lacking(&entries).await.unwrap(), []);
    let kept: Vec<_> = store.newest(10).await.unwrap().into_iter().map(Arc::new).collect();
    assert_eq!(kept, entries);
}

#[tokio::test]
async fn garbage_does_not_confirm_a_lost_answer() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let lease = lease(&store).await;
    let record = tick("1");
    let written = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    // The entry is lost, and garbage has its place.
    let mut connection = server.connection().await;
    let _: u64 = ::redis::cmd("DEL").arg("{shop}:ticks").query_async(&mut connection).await.unwrap();
    let mut add = ::redis::cmd("ZADD");
    let _: u64 = add.arg("{shop}:ticks").arg(written.id.ms()).arg("x").query_async(&mut connection).await.unwrap();
    let again = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    assert_eq!((again.event, again.prev), (written.event, TickId::ZERO));
    assert_eq!(store.newest(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn subscriber_that_reads_too_slowly_is_told() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let mut stream = store.subscribe().await.unwrap();
    let mut connection = server.connection().await;
    let mut flood = ::redis::pipe();
    for _ in 0..5000 {
        flood.cmd("PUBLISH").arg("{shop}:live").arg("junk").ignore();
    }
    let _: () = flood.query_async(&mut connection).await.unwrap();
    let error = soon("the stream to end", stream.next()).await.expect("a reason").unwrap_err().to_string();
    assert!(error.contains("messages wait"), "{error}");
    assert!(soon("the end", stream.next()).await.is_none());
}

#[tokio::test]
async fn client_is_forgotten_after_the_retention() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    store.remember(&[("a".to_owned(), TickId::from_ms(1))]).await.unwrap();
    let mut ttl = ::redis::cmd("PTTL");
    let ttl_ms: u64 = ttl.arg("{shop}:client:a").query_async(&mut server.connection().await).await.unwrap();
    assert!((3_590_000..=3_600_000).contains(&ttl_ms), "{ttl_ms}");
}

#[tokio::test]
async fn closed_history_connections_are_replaced() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "test", OPTIONS).unwrap();
    let lease = lease(&store).await;
    append(&store, &lease, "1").await;
    let mut admin = server.connection().await;
    for _ in 0..3 {
        assert_eq!(store.newest(10).await.unwrap().len(), 1);
        // The setting `timeout` of Redis closes idle connections in the same way.
        let mut kill = ::redis::cmd("CLIENT");
        let closed: u64 = kill.arg("KILL").arg("TYPE").arg("normal").query_async(&mut admin).await.unwrap();
        assert!(closed > 0, "the read left a connection open");
    }
}

#[tokio::test]
async fn read_survives_a_break_at_any_byte() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "test", OPTIONS).unwrap();
    let lease = lease(&store).await;
    append(&store, &lease, "1").await;
    let proxy = Proxy::start(server.port).await;
    let reader = Redis::new(&proxy.url(), "test", OPTIONS).unwrap();
    for bytes in 1..300 {
        // The open connection breaks while the pool checks it with PING, or during the answer to the read.
        assert_eq!(ids(&reader, TickId::ZERO, EVERYTHING, 10).await.len(), 1);
        proxy.break_after(bytes);
        assert_eq!(ids(&reader, TickId::ZERO, EVERYTHING, 10).await.len(), 1, "after {bytes} bytes");
    }
}

#[tokio::test]
async fn hanging_history_connections_are_replaced() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port).await;
    let store = Redis::new(&proxy.url(), "test", OPTIONS).unwrap();
    let reads = || join_all((0..HISTORY_READERS).map(|_| store.newest(10)));
    assert!(reads().await.iter().all(Result::is_ok));
    assert_eq!(proxy.open(), HISTORY_READERS, "each read has a connection of its own");
    proxy.freeze();
    soon("a read to succeed", async { while store.newest(10).await.is_err() {} }).await;
}
