//! Connections to Redis: their names, new ones after Redis has closed them, and a Redis with a long round trip.

use crate::support::exchange::Exchange;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::store_contract::{OPTIONS, append, lease};
use crate::support::{TestCluster, entries, until};
use btcfeed::store::{self, Store};
use btcfeed::tick::TickId;
use std::time::Duration;

#[tokio::test]
async fn every_connection_has_a_name() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r 1", &[]).await;
    entries(&mut replica.connect("format=full").await, 1).await;
    let mut expected = vec!["clients", "commands", "history", "live", "messages"];
    until("all connections", async || {
        let list: String = redis::from_redis_value(cluster.redis.command(&["CLIENT", "LIST"]).await).unwrap();
        // Left out, because they have no name: this connection, and any that was just opened and has run no command.
        let replicas = list.lines().filter(|line| !line.contains("cmd=client|list") && !line.contains("cmd=NULL"));
        let names: Vec<_> = replicas.filter_map(|line| line.split(" name=").nth(1)?.split(' ').next()).collect();
        expected.retain(|purpose| !names.contains(&format!("btcfeed/r_1/{purpose}").as_str()));
        assert!(names.iter().all(|name| name.starts_with("btcfeed/r_1/")), "{list}");
        expected.is_empty()
    })
    .await;
}

#[tokio::test]
async fn connections_closed_while_idle_are_replaced() {
    let server = Redis::start_with(&["--timeout", "1"]).await;
    let store = store::Redis::new(&server.url(), "test", OPTIONS).unwrap();
    let lease = lease(&store).await;
    append(&store, &lease, "1").await;
    let idle = async || {
        let mut client = server.connection().await;
        until("Redis to close the connections", async || {
            let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut client).await.unwrap();
            !list.contains("name=btcfeed/")
        })
        .await;
    };
    store.remember(&[("a".to_owned(), TickId::from_ms(1))]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.newest(10).await.unwrap().len(), 1);
        assert_eq!(store.recall("a").await.unwrap(), Some(TickId::from_ms(1)));
        idle().await;
        assert!(store.head().await.is_ok());
        assert_eq!(store.recall("a").await.unwrap(), Some(TickId::from_ms(1)));
        store.remember(&[("a".to_owned(), TickId::from_ms(1))]).await.unwrap();
        idle().await;
        store.remember(&[("a".to_owned(), TickId::from_ms(1))]).await.unwrap();
    }
}

#[tokio::test]
async fn distant_redis_can_be_used() {
    let cluster = TestCluster { redis: Redis::start().await, exchange: Exchange::start().await };
    let proxy = Proxy::start_with_delay(cluster.redis.port, Duration::from_millis(350)).await;
    let url = proxy.url();
    let settings = [("REDIS_URL", url.as_str()), ("BTCFEED_LEASE_TTL", "6s"), ("BTCFEED_INTERVAL", "2s")];
    let replica = cluster.replica("r1", &settings).await;
    let ids = crate::support::unbroken(&entries(&mut replica.connect("format=full").await, 4).await);
    assert!(ids[3] - ids[0] < 9_000, "{ids:?}");
}
