//! Long answers from the history, which are sent while they are read from Redis, and streams that wait for the history.

use crate::support::{SERVE, TestCluster, soon, until};
use futures_util::StreamExt;

#[tokio::test]
async fn unfinished_answer_is_aborted() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(40_000).await;
    let replica = cluster.replica("r1", &[SERVE, ("BTCFEED_WINDOW", "100")]).await;
    for encoding in ["identity", "gzip"] {
        let answer = replica.ask("/v1/prices?limit=100000&format=full", &[("accept-encoding", encoding)]).await;
        assert_eq!(answer.headers().contains_key("content-encoding"), encoding == "gzip");
        let mut body = answer.bytes_stream();
        let first = soon("the first bytes", body.next()).await.unwrap().unwrap();
        assert!(!first.is_empty());
        // The rest of the answer is in Redis, which does not respond now.
        cluster.redis.pause();
        let mut end = Ok(());
        while let Some(chunk) = soon("the rest", body.next()).await {
            end = chunk.map(drop);
        }
        cluster.redis.resume();
        assert!(end.is_err(), "a truncated body must not look complete");
        until("Redis to be back", async || replica.get("/v1/prices?limit=1").await.0 == 200).await;
    }
}

#[tokio::test]
async fn unread_answers_cost_little_memory() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(40_000).await;
    let replica = cluster.replica("r1", &[SERVE, ("BTCFEED_WINDOW", "100")]).await;
    let before = replica.memory_kib();
    let mut slow = Vec::new();
    for client in 0..24 {
        let encoding = if client % 2 == 0 { "identity" } else { "gzip" };
        let answer = replica.ask("/v1/prices?limit=100000&format=full", &[("accept-encoding", encoding)]).await;
        slow.push(answer.bytes_stream());
    }
    for body in &mut slow {
        soon("the first bytes", body.next()).await.unwrap().unwrap();
    }
    let grown = replica.memory_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB for 24 answers of 6 MB each");
    // Other clients can still read the history from Redis.
    assert_eq!(replica.get("/v1/prices?limit=3").await.0, 200);
}

#[tokio::test]
async fn streams_that_wait_for_redis_are_logged_once() {
    let cluster = TestCluster::new().await;
    let ids = cluster.redis.fill(1000).await;
    let replica = cluster.replica("r1", &[SERVE, ("BTCFEED_WINDOW", "100")]).await;
    cluster.redis.pause();
    let mut clients = [replica.connect("format=full&since=0").await, replica.connect("format=audit&since=0").await];
    let lines = || replica.log().iter().filter(|line| line.contains("streams wait for the history")).count();
    until("a line in the log", async || lines() > 0).await;
    // Each stream tries again once a second.
    let before = replica.metric("btcfeed_store_errors_total").await;
    until("more attempts", async || replica.metric("btcfeed_store_errors_total").await >= before + 4.0).await;
    cluster.redis.resume();
    for client in &mut clients {
        assert_eq!(client.json().await["id"], ids[0]);
    }
    assert_eq!(lines(), 1);
}
