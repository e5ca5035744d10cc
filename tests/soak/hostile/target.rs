//! The replica under attack, and measurements of honest clients, of the operators' port and of the replica.

use super::attack::Attacker;
use crate::support::redis::Redis;
use crate::support::replica::Replica;
use crate::support::tls::{Authority, connect_to, http_for};
use crate::support::{http, until};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use redis::AsyncCommands;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// Number of ticks in a day.
const DAY: u64 = 86_400;
const INTERVAL: Duration = Duration::from_secs(1);
/// Budget of the replica for answers that clients do not read, in MiB.
pub const BUDGET_MIB: u64 = 32;
/// Settings that switch limits off.
const UNLIMITED: [(&str, &str); 9] = [
    ("BTCFEED_ADDRESS_CONNECTIONS", "1000000"),
    ("BTCFEED_ADDRESS_RATE", "1000000"),
    ("BTCFEED_ADDRESS_VOLUME", "1000000000"),
    ("BTCFEED_ADDRESS_READS", "1000000"),
    ("BTCFEED_ADDRESS_CLIENT_IDS", "1000000"),
    ("BTCFEED_MAX_READS", "1000000"),
    ("BTCFEED_CLIENT_IDS", "1000000"),
    ("BTCFEED_CLIENT_MEMORY", "1000GiB"),
    ("BTCFEED_WRITE_STALL", "1h"),
];
/// Lock with which the tests run one after the other, because each of them measures times.
static ONE: Mutex<()> = Mutex::const_new(());

/// A replica with a tick each second and a day of history in a real Redis.
pub struct Target {
    pub replica: Replica,
    pub redis: Redis,
    /// True if the replica is a build with optimisation.
    pub is_optimised: bool,
    /// True if the limits are switched off.
    pub is_unlimited: bool,
    /// The issuer of its certificate, if it has TLS.
    authority: Option<Authority>,
    _one: MutexGuard<'static, ()>,
}

/// Measurements during some time.
#[derive(Debug)]
pub struct Measured {
    /// Longest time without a tick on a stream.
    pub silence: Duration,
    /// Number of ticks that are missing in the store.
    pub lost: u64,
    /// 99th percentile of the duration of a request.
    pub slow: Duration,
    /// Number of requests that were not answered with 200.
    pub refused: usize,
    /// Longest duration of a request on the operators' port. A request that is not answered with 200 counts as 30 s.
    pub ops: Duration,
    /// True if the lease at the end is that of the beginning.
    pub has_lease: bool,
    /// Maximum of the replica's memory.
    pub memory_mib: u64,
    /// Number of new keys in Redis.
    pub keys: u64,
}

impl Target {
    /// Starts the replica with these settings, and waits for its first ticks.
    pub async fn start(settings: &[(&str, &str)]) -> Target {
        Target::start_with(settings, None).await
    }

    /// Starts the replica with these settings and a certificate, and waits for its first ticks.
    pub async fn start_with_tls(settings: &[(&str, &str)]) -> Target {
        let authority = Authority::new();
        let files = authority.settings();
        let files: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
        Target::start_with(&[settings, &files].concat(), Some(authority)).await
    }

    async fn start_with(settings: &[(&str, &str)], authority: Option<Authority>) -> Target {
        let one = ONE.lock().await;
        let redis = Redis::start().await;
        // The replica has simulated prices, which must not be mixed with others.
        let tick = json!({"type": "tick", "prices": {"USD": "97000.10"}, "sources": {"USD": ["simulated"]}});
        redis.write(vec![tick; usize::try_from(DAY).unwrap()]).await;
        let optimised = std::env::var_os("BTCFEED_ATTACKED").map(PathBuf::from);
        let is_unlimited = std::env::var_os("BTCFEED_UNLIMITED").is_some();
        let (budget, url) = (format!("{BUDGET_MIB}MiB"), redis.url());
        let common = [
            ("BTCFEED_INTERVAL", "1s"),
            ("BTCFEED_LEASE_TTL", "3s"),
            ("BTCFEED_SOURCES", "simulated"),
            ("BTCFEED_CLIENT_MEMORY", &budget),
            ("REDIS_URL", &url),
        ];
        let limits: &[_] = if is_unlimited { &UNLIMITED } else { &[] };
        let settings = [&common[..], settings, limits].concat();
        let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let program = optimised.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_btcfeed")));
        let replica = Replica::start_program(program, &settings).await;
        let target = Target { replica, redis, is_optimised: optimised.is_some(), is_unlimited, authority, _one: one };
        let begin = target.newest_id().await;
        until("new ticks", async || target.ticks(begin, u64::MAX).await > 1).await;
        target
    }

    /// Starts an attack on a port. It has its own thread, so that it shares only the processors with the honest
    /// clients.
    pub fn attack(
        address: &str,
        time: Duration,
        attack: impl FnOnce(Attacker) -> BoxFuture<'static, ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let attacker = Attacker { target: address.parse().unwrap() };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { timeout(time, attack(attacker)).await.ok() });
            runtime.shutdown_background();
        })
    }

    /// Measures honest clients at `address`, and the operators' port, for some time.
    pub async fn measure(&self, address: &str, time: Duration) -> Measured {
        let started = Instant::now();
        let end = started + time;
        let (first, keys_before, lease) = (self.newest_id().await, self.keys().await, self.lease().await);
        let (silence, (slow, refused, memory_mib), ops) =
            tokio::join!(self.silence(address, end), self.probe(address, end), self.probe_ops(end));
        let written = self.ticks(first, self.newest_id().await).await;
        // The first and the last interval may be incomplete.
        let lost = (started.elapsed().as_secs() / INTERVAL.as_secs()).saturating_sub(1).saturating_sub(written);
        let has_lease = lease.is_some() && lease == self.lease().await;
        let keys = self.keys().await.saturating_sub(keys_before);
        Measured { silence, lost, slow, refused, ops, has_lease, memory_mib, keys }
    }

    /// Returns the 99th percentile of the duration of requests, the number of refused ones, and the maximum of the
    /// replica's memory in MiB.
    async fn probe(&self, address: &str, end: Instant) -> (Duration, usize, u64) {
        let (mut times, mut refused, mut memory) = (Vec::new(), 0, 0);
        let (client, scheme) = http_for(self.authority.as_ref());
        let url = format!("{scheme}://{address}/v1/prices/latest");
        while Instant::now() < end {
            let asked = Instant::now();
            refused += usize::from(!is_ok(&client, &url, Duration::from_secs(30)).await);
            times.push(asked.elapsed());
            memory = memory.max(self.replica.memory_kib() / 1024);
            sleep(Duration::from_millis(50)).await;
        }
        times.sort();
        (times[times.len() * 99 / 100], refused, memory)
    }

    /// Returns the longest duration of a request on the operators' port.
    async fn probe_ops(&self, end: Instant) -> Duration {
        const LIMIT: Duration = Duration::from_secs(30);
        let (mut longest, client) = (Duration::ZERO, http());
        while Instant::now() < end {
            for path in ["livez", "metrics"] {
                let asked = Instant::now();
                let is_ok = is_ok(&client, &format!("http://{}/{path}", self.replica.ops), LIMIT).await;
                longest = longest.max(if is_ok { asked.elapsed() } else { LIMIT });
            }
            sleep(Duration::from_millis(50)).await;
        }
        longest
    }

    async fn newest_id(&self) -> u64 {
        let mut command = redis::cmd("ZRANGE");
        command.arg(&["{btcfeed}:ticks", "-1", "-1", "WITHSCORES"]);
        let newest: Vec<(String, u64)> = command.query_async(&mut self.redis.connection().await).await.unwrap();
        newest[0].1
    }

    async fn keys(&self) -> u64 {
        redis::cmd("DBSIZE").query_async(&mut self.redis.connection().await).await.unwrap()
    }

    async fn lease(&self) -> Option<String> {
        self.redis.connection().await.get("{btcfeed}:lease").await.unwrap()
    }

    /// Returns the number of entries after one id, up to another.
    async fn ticks(&self, after: u64, until: u64) -> u64 {
        let mut command = redis::cmd("ZCOUNT");
        command.arg("{btcfeed}:ticks").arg(format!("({after}")).arg(until);
        command.query_async(&mut self.redis.connection().await).await.unwrap()
    }

    /// Returns the longest time without a tick on a WebSocket that reconnects.
    async fn silence(&self, address: &str, end: Instant) -> Duration {
        let mut client = None;
        let (mut silence, mut last) = (Duration::ZERO, Instant::now());
        while Instant::now() < end {
            let reading = async {
                if client.is_none() {
                    let connection = connect_to(address, self.authority.as_ref()).await.ok()?;
                    client = client_async("ws://localhost/v1/ws", connection).await.ok();
                }
                let (socket, _) = client.as_mut()?;
                match socket.next().await {
                    Some(Ok(Message::Text(_))) => Some(true),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => None,
                    Some(Ok(_)) => Some(false),
                }
            };
            match timeout(end - Instant::now(), reading).await {
                Ok(Some(true)) => {
                    silence = silence.max(last.elapsed());
                    last = Instant::now();
                }
                Ok(Some(false)) | Err(_) => {}
                Ok(None) => {
                    client = None;
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        silence.max(last.elapsed())
    }
}

/// Returns whether the whole answer to a request arrives within `limit`, with status 200.
async fn is_ok(client: &reqwest::Client, url: &str, limit: Duration) -> bool {
    let answer = async {
        let response = client.get(url).send().await.ok()?;
        let is_ok = response.status() == 200;
        response.bytes().await.is_ok().then_some(is_ok)
    };
    timeout(limit, answer).await.is_ok_and(|is_ok| is_ok == Some(true))
}
