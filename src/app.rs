//! The only place where everything meets: what is made of a [`Config`], what runs, and in which order it ends.

use crate::aggregate::Aggregator;
use crate::config::{Config, Role};
use crate::hub::Hub;
use crate::leader::Leader;
use crate::server::Server;
use crate::session::Bookmarks;
use crate::shutdown::{CriticalTask, Tasks};
use crate::store::{Memory, Redis, Store};
use crate::{source, store};
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long a leader may take to write its last tick and release the lease, clients to be let go, and the rest to end.
const LEADER_DEADLINE: Duration = Duration::from_secs(3);
const CLIENTS_DEADLINE: Duration = Duration::from_secs(5);
const REST_DEADLINE: Duration = Duration::from_secs(1);

/// A replica whose ports are bound, not running yet.
pub struct App {
    hub: Arc<Hub>,
    bookmarks: Arc<Bookmarks>,
    leader: Option<Leader>,
    server: Server,
    /// Connections and sessions, on threads of their own.
    clients: Tasks,
    /// Cancelled when no new clients are wanted, and when those that are here are to be let go.
    unready: CancellationToken,
    drain: CancellationToken,
}

impl App {
    /// Makes everything and binds the ports. Redis need not be there yet.
    ///
    /// # Errors
    /// If a port cannot be bound, or a part cannot be made.
    pub fn bind(config: &Config) -> anyhow::Result<App> {
        let store = open_store(config)?;
        let hub = Arc::new(Hub::new(store.clone(), config.hub));
        let bookmarks = Arc::new(Bookmarks::new(store.clone()));
        let leader = match config.role {
            Role::All | Role::Fetch => {
                let aggregate = Aggregator::new(open_sources(config)?, config.aggregate);
                Some(Leader::new(config.leader.clone(), store, hub.clone(), aggregate))
            }
            Role::Serve => None,
        };
        // Whatever clients ask for, the leader, the hub, the store and the operators' port run on time.
        let clients = Tasks::isolated("clients").context("cannot start the threads for clients")?;
        let (unready, drain) = (CancellationToken::new(), CancellationToken::new());
        let server = Server::bind(
            &config.server,
            hub.clone(),
            bookmarks.clone(),
            clients.clone(),
            unready.clone(),
            drain.clone(),
        )?;
        Ok(App { hub, bookmarks, leader, server, clients, unready, drain })
    }

    /// Where clients connect, if this replica serves any.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.address()
    }

    /// This replica's copy of the feed.
    pub fn hub(&self) -> Arc<Hub> {
        self.hub.clone()
    }

    /// Runs until `stop`, then ends in order: unready → lease released → clients told to go elsewhere → the rest.
    ///
    /// # Errors
    /// If a part without which there is no feed ended by itself, which only a defect can bring about.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        // Stopped by whoever runs this, or by ourselves.
        let asked = stop;
        let stop = asked.child_token();
        let App { hub, bookmarks, leader, server, clients, unready, drain } = self;
        let (services, end) = (Tasks::default(), CancellationToken::new());
        if let Some(address) = server.address() {
            info!(%address, "listening");
        }
        if let Some(address) = server.ops_address() {
            info!(%address, "listening for operators");
        }
        server.spawn(&services, &end, &stop);
        let (following, until) = (hub.clone(), end.clone());
        let guard = CriticalTask::new("following the feed", &stop);
        services.spawn(async move {
            following.run(until).await;
            drop(guard);
        });
        // They end after the clients, whose last places they write.
        let until = end.clone();
        services.spawn(async move { bookmarks.run(until).await });
        let led = CancellationToken::new();
        match leader {
            Some(leader) => {
                let guard = CriticalTask::new("leading", &stop);
                services.spawn(lead(leader, hub, unready.clone(), led.clone(), guard));
            }
            None => led.cancel(),
        }

        stop.cancelled().await;
        unready.cancel();
        if timeout(LEADER_DEADLINE, led.cancelled()).await.is_err() {
            warn!("the lease was not released in time, the next leader waits for it to run out");
        }
        drain.cancel();
        clients.finish(CLIENTS_DEADLINE).await;
        end.cancel();
        services.finish(REST_DEADLINE).await;
        info!("stopped");
        ensure!(asked.is_cancelled(), "a part of this replica failed, see the log");
        Ok(())
    }
}

/// Leads once the history is here: ids must not run backwards, and the next tick is due an interval after the last.
async fn lead(leader: Leader, hub: Arc<Hub>, stop: CancellationToken, done: CancellationToken, _guard: CriticalTask) {
    let _done = done.drop_guard();
    if stop.run_until_cancelled(hub.primed()).await.is_some() {
        leader.run(stop).await;
    }
}

fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let options: store::Options = config.store;
    Ok(match &config.redis {
        None => Arc::new(Memory::new(options)),
        Some(redis) => {
            Arc::new(Redis::new(&redis.url, &redis.key_prefix, options).context("REDIS_URL cannot be used")?)
        }
    })
}

fn open_sources(config: &Config) -> anyhow::Result<Vec<Box<dyn source::Source>>> {
    let open = |wanted: &crate::config::SourceConfig| {
        source::open(&wanted.name, wanted.url.as_deref())?
            .with_context(|| format!("there is no source {:?}", wanted.name))
    };
    config.sources.iter().map(open).collect()
}

/// Asks every configured source once: whether any of them gives a price now.
///
/// # Errors
/// If a source cannot be made.
pub async fn sources_answer(config: &Config) -> anyhow::Result<bool> {
    let poll = Aggregator::new(open_sources(config)?, config.aggregate).poll().await;
    Ok(poll.tick.is_some())
}
