//! Messages to systemd, with a socket in place of systemd's.

use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::{TestCluster, embedded, http, replica_settings, soon};
use rustix::process::Signal;
use tokio::net::UnixDatagram;

/// A socket that receives the messages of a replica.
struct Supervisor {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Supervisor {
    fn new() -> Supervisor {
        let dir = tempfile::tempdir().unwrap();
        Supervisor { socket: UnixDatagram::bind(dir.path().join("notify")).unwrap(), dir }
    }

    /// Returns the address of the socket.
    fn path(&self) -> String {
        self.dir.path().join("notify").to_str().unwrap().to_owned()
    }

    /// Returns the next message.
    async fn message(&self) -> String {
        let mut buffer = [0; 100];
        let length = soon("a message", self.socket.recv(&mut buffer)).await.unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
    }
}

#[tokio::test]
async fn readiness_follows_the_feed_and_the_signal() {
    let (cluster, supervisor) = (TestCluster::new().await, Supervisor::new());
    cluster.redis.fill(2).await;
    cluster.redis.pause();
    let (redis, path) = (cluster.redis.url(), supervisor.path());
    let settings = [("REDIS_URL", redis.as_str()), ("NOTIFY_SOCKET", path.as_str())];
    let mut replica = Replica::start_unready(&replica_settings(&cluster.exchange, "r1", &settings)).await;
    cluster.redis.resume();
    assert_eq!(supervisor.message().await, "READY=1");
    assert!(replica.is_ready().await, "the replica has read the feed");
    replica.signal(Signal::TERM);
    assert_eq!(supervisor.message().await, "STOPPING=1");
    assert!(replica.exit().await.success());
}

#[tokio::test]
async fn watchdog_gets_messages_from_the_replica() {
    let (exchange, supervisor) = (Exchange::start().await, Supervisor::new());
    let path = supervisor.path();
    let settings = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "400000")];
    let replica = embedded(&exchange, &settings).await;
    let mut seen = Vec::new();
    while seen.iter().filter(|message| *message == "WATCHDOG=1").count() < 5 {
        seen.push(supervisor.message().await);
    }
    assert!(seen.contains(&"READY=1".to_owned()), "{seen:?}");
    assert!(http().get(format!("http://{}/livez", replica.ops)).send().await.is_ok());
}
