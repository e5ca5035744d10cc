//! A whole replica: creates its parts from a [`Config`], runs their tasks, and stops them in order.

mod supervisor;

use crate::aggregate::{self, Aggregator};
use crate::config::{Config, Role, SourceConfig};
use crate::hub::Hub;
use crate::leader::{FeedClock, Leader};
use crate::monitor::Monitor;
use crate::server::Server;
use crate::session::Bookmarks;
use crate::shutdown::{CriticalTask, Drain, DrainOptions, Tasks};
use crate::source::Source;
use crate::store::{Disk, Memory, PriceKind, Redis, RedisOptions, Store};
use crate::telemetry::scrape;
use crate::text::{format_duration, join_list};
use crate::tick::{Tick, TickId};
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The time within which a leader must write its last tick and release the lease.
const LEADER_DEADLINE: Duration = Duration::from_secs(3);
/// The time within which the last client connections must be closed.
const CLIENTS_DEADLINE: Duration = Duration::from_secs(5);
/// The time within which all other tasks must end.
const REST_DEADLINE: Duration = Duration::from_secs(1);

/// A replica whose ports are bound, but which does not run yet.
pub struct App {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    monitor: Arc<Monitor>,
    clock: Arc<FeedClock>,
    bookmarks: Arc<Bookmarks>,
    leader: Option<Leader>,
    server: Server,
    /// The tasks of connections and sessions, on their own threads.
    clients: Tasks,
    /// Cancelled when the replica must no longer be ready.
    unready: CancellationToken,
    /// The drain: ends the streams of all clients, one group after the other.
    drain: Drain,
    drain_options: DrainOptions,
}

impl App {
    /// Creates all parts and binds the ports. Does not connect to Redis or to an exchange yet.
    ///
    /// # Errors
    /// If a port cannot be bound, if another process uses the data directory, or if a part cannot be created.
    pub fn bind(config: &Config) -> anyhow::Result<App> {
        let store = open_store(config)?;
        scrape::start();
        let hub = Arc::new(Hub::new(store.clone(), config.hub));
        let clock = Arc::new(FeedClock::default());
        let monitor = Monitor::new(hub.clone(), store.clone(), config.monitor.clone());
        let monitor = Arc::new(monitor.with_clock(clock.clone()));
        let bookmarks = Arc::new(Bookmarks::new(store.clone()));
        let leader = match config.role {
            Role::All | Role::Fetch => Some(open_leader(config, &store, &hub, &clock)?),
            Role::Serve => None,
        };
        // Threads of their own, so that clients cannot delay the leader, the hub, the store and the operators' port.
        let clients = Tasks::isolated("clients").context("cannot start the threads for clients")?;
        let (unready, drain) = (CancellationToken::new(), Drain::default());
        let server = Server::bind(
            &config.server,
            hub.clone(),
            monitor.clone(),
            bookmarks.clone(),
            clients.clone(),
            unready.clone(),
            drain.clone(),
        )?;
        let drain_options = config.drain;
        Ok(App { store, hub, monitor, clock, bookmarks, leader, server, clients, unready, drain, drain_options })
    }

    /// Returns the address on which clients connect, if this replica serves any.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.address()
    }

    /// Returns this replica's copy of the feed.
    pub fn hub(&self) -> Arc<Hub> {
        self.hub.clone()
    }

    /// Replaces the leader, and with it the sources, by those of another configuration.
    ///
    /// # Errors
    /// If a source cannot be opened.
    pub fn lead_with(&mut self, config: &Config) -> anyhow::Result<()> {
        self.leader = Some(open_leader(config, &self.store, &self.hub, &self.clock)?);
        self.monitor.set_sources(config.source_names().collect());
        Ok(())
    }

    /// Runs until `stop` is cancelled or a critical task ends. Then the replica stops in this order: it becomes
    /// unready, the lease is released, new clients are rejected, clients are closed, all other tasks end.
    ///
    /// # Errors
    /// If a critical task ended by itself, which only a defect can cause.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        // `requested` is cancelled only by the caller. `stop` is also cancelled when a critical task ends.
        let requested = stop;
        let stop = requested.child_token();
        let App { store, hub, monitor, bookmarks, leader, server, clients, unready, drain, drain_options, .. } = self;
        let count_clients = server.client_counter();
        let (services, end) = (Tasks::default(), CancellationToken::new());
        if let Some(address) = server.address() {
            info!(%address, "listening");
        }
        if let Some(address) = server.ops_address() {
            info!(%address, "listening for operators");
        }
        server.share_limits(store, &services, &end);
        server.spawn(&services, &end, &stop);
        let (following, until) = (hub.clone(), end.clone());
        let guard = CriticalTask::new("following the feed", &stop);
        services.spawn(async move {
            following.run(until).await;
            drop(guard);
        });
        let (primed, until) = (hub.clone(), stop.clone());
        services.spawn(async move {
            if until.run_until_cancelled(primed.primed()).await.is_some() {
                supervisor::ready();
            }
        });
        let until = end.clone();
        services.spawn(async move {
            until.run_until_cancelled(supervisor::watchdog()).await;
        });
        let until = end.clone();
        services.spawn(async move { monitor.run(until).await });
        // The bookmarks' task ends after the clients, because it saves the clients' last ids.
        let until = end.clone();
        services.spawn(async move { bookmarks.run(until).await });
        let stood_down = CancellationToken::new();
        match leader {
            Some(leader) => {
                let guard = CriticalTask::new("leading", &stop);
                services.spawn(lead(leader, hub, unready.clone(), stood_down.clone(), guard));
            }
            None => stood_down.cancel(),
        }

        stop.cancelled().await;
        supervisor::stopping();
        unready.cancel();
        if timeout(LEADER_DEADLINE, stood_down.cancelled()).await.is_err() {
            warn!("lease not released in time, the next leader waits until it expires");
        }
        if requested.is_cancelled() {
            sleep(drain_options.delay).await;
        }
        drain.run(drain_options.spread, count_clients()).await;
        clients.finish(CLIENTS_DEADLINE).await;
        end.cancel();
        services.finish(REST_DEADLINE).await;
        info!("stopped");
        ensure!(requested.is_cancelled(), "a critical task failed, see the log");
        Ok(())
    }
}

/// Waits until the hub has the history, then leads. The leader needs the last tick: the next one is due one interval
/// later.
async fn lead(leader: Leader, hub: Arc<Hub>, stop: CancellationToken, done: CancellationToken, _guard: CriticalTask) {
    let _done = done.drop_guard();
    if stop.run_until_cancelled(hub.primed()).await.is_some() {
        leader.run(stop).await;
    }
}

fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    if let Some(redis) = &config.redis {
        let kind = Some(price_kind(config));
        let redis = RedisOptions { settings: shared_settings(config), kind, ..redis.clone() };
        return Ok(Arc::new(Redis::open(&redis, config.store).context("cannot use REDIS_URL")?));
    }
    Ok(match &config.data {
        Some(path) => Arc::new(Disk::open(path, config.store)?.for_prices(price_kind(config))),
        None => Arc::new(Memory::new(config.store)),
    })
}

fn price_kind(config: &Config) -> PriceKind {
    PriceKind::of(config.source_names())
}

/// Returns a text with the settings of a feed. The part before the semicolon must be the same on all replicas. The part
/// after it may differ for a while, for example during an update.
pub(crate) fn shared_settings(config: &Config) -> String {
    let kind = price_kind(config).as_str();
    let currencies = config.aggregate.currencies.joined("and");
    let retention = format_duration(config.store.retention);
    let (interval, mut sources) = (format_duration(config.leader.interval), config.source_names().collect::<Vec<_>>());
    // Their order does not matter.
    sources.sort_unstable();
    format!(
        "{kind} prices in {}, kept for {retention}; one tick every {interval} by method {} from {}",
        currencies,
        aggregate::VERSION,
        join_list(&sources, "and")
    )
}

fn open_leader(
    config: &Config,
    store: &Arc<dyn Store>,
    hub: &Arc<Hub>,
    clock: &Arc<FeedClock>,
) -> anyhow::Result<Leader> {
    let aggregator = Aggregator::new(open_sources(config)?, config.aggregate);
    Ok(Leader::new(config.leader.clone(), store.clone(), hub.clone(), aggregator, clock.clone()))
}

fn open_sources(config: &Config) -> anyhow::Result<Vec<Box<dyn Source>>> {
    config.sources.iter().map(SourceConfig::open).collect()
}

/// Polls all sources once. Returns the prices that the method makes of the answers, or `None` if no currency has a
/// price.
///
/// # Errors
/// If a source cannot be opened.
pub async fn poll_once(config: &Config) -> anyhow::Result<Option<Tick>> {
    Ok(Aggregator::new(open_sources(config)?, config.aggregate).poll(TickId::now()).await.tick)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Lookup;
    use crate::feed::Feed;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    const SETTINGS: [(&str, &str); 6] = [
        ("BTCFEED_LISTEN", "127.0.0.1:0"),
        ("BTCFEED_OPS_LISTEN", "127.0.0.1:0"),
        ("BTCFEED_DATA", "none"),
        ("BTCFEED_SOURCES", "simulated"),
        ("BTCFEED_INTERVAL", "100ms"),
        ("BTCFEED_LEASE_TTL", "60s"),
    ];

    /// Waits until a condition is true.
    async fn until(what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(30), "waited for {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn blocked_threads_of_clients_stop_nothing_else() {
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let app = App::bind(&Config::read(&Lookup::new([], settings)).unwrap()).unwrap();
        let (hub, store, ops) = (app.hub(), app.store.clone(), app.server.ops_address().unwrap());
        let (clients, stop, unblocked) = (app.clients.clone(), CancellationToken::new(), CancellationToken::new());
        let threads = thread::available_parallelism().unwrap().get();
        let blocked = Arc::new(AtomicUsize::new(0));
        for _ in 0..threads {
            let (blocked, unblocked) = (blocked.clone(), unblocked.clone());
            clients.spawn(async move {
                blocked.fetch_add(1, Ordering::Relaxed);
                while !unblocked.is_cancelled() {
                    thread::park_timeout(Duration::from_millis(5));
                }
            });
        }
        until("all threads of clients to be blocked", || blocked.load(Ordering::Relaxed) == threads).await;
        #[expect(clippy::disallowed_methods, reason = "the test waits for this task")]
        let running = tokio::spawn(app.run(stop.clone()));
        for _ in 0..5 {
            let head = hub.head();
            until("a tick", || hub.head() > head).await;
            let mut socket = TcpStream::connect(ops).await.unwrap();
            socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            let reading = timeout(Duration::from_secs(10), socket.read_to_string(&mut answer));
            reading.await.expect("the operators' port answers").unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        stop.cancel();
        let released = async {
            while store.acquire("another").await.unwrap().is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LEADER_DEADLINE, released).await.expect("the lease is released");
        unblocked.cancel();
        running.await.unwrap().unwrap();
    }
}
