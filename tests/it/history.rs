//! The history over REST: page by page, in every form, and how long an answer holds.

use crate::support::{SERVE, TestCluster, soon, until};
use futures_util::StreamExt;

#[tokio::test]
async fn a_long_answer_leaves_while_it_is_read_and_is_broken_off_where_it_cannot_go_on() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(40_000).await;
    let replica = cluster.replica("r1", &[SERVE, ("BTCFEED_WINDOW", "100")]).await;
    for encoding in ["identity", "gzip"] {
        let answer = replica.ask("/v1/prices?limit=100000&format=full", &[("accept-encoding", encoding)]).await;
        assert_eq!(answer.headers().contains_key("content-encoding"), encoding == "gzip");
        let mut body = answer.bytes_stream();
        let first = soon("the first bytes", body.next()).await.unwrap().unwrap();
        assert!(!first.is_empty());
        // What is still to come is still in Redis, which does not give it now.
        cluster.redis.pause();
        let mut end = Ok(());
        while let Some(chunk) = soon("the rest", body.next()).await {
            end = chunk.map(drop);
        }
        cluster.redis.resume();
        assert!(end.is_err(), "an answer that is not whole must not look whole");
        until("redis to be back", async || replica.get("/v1/prices?limit=1").await.0 == 200).await;
    }
}

#[tokio::test]
async fn clients_that_do_not_read_their_long_answers_cost_no_memory() {
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
    // Nor do they keep others from reading what is not in memory.
    assert_eq!(replica.get("/v1/prices?limit=3").await.0, 200);
}
