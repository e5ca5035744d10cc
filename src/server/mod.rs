//! The doors: HTTP and WebSocket for clients on one port, health for operators on another.
//!
//! A file here holds framing and nothing else. What two doors have in common is in [`session`](crate::session).

mod listener;
mod ops;
mod problem;
mod query;
mod rest;
mod ws;

use crate::hub::Hub;
use crate::session::Limits;
use crate::shutdown::Tasks;
use crate::tick::{Currencies, Currency};
use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::{any, get};
use listener::Listener;
use problem::Problem;
use query::Offer;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the server is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where clients connect; `None` if this replica serves none.
    pub listen: Option<SocketAddr>,
    /// Where operators do.
    pub ops_listen: SocketAddr,
    /// The currencies that clients may choose from.
    pub currencies: Currencies,
    /// What clients get who choose none.
    pub default_currency: Currency,
    /// The most client connections.
    pub max_connections: usize,
    /// What a client's session allows.
    pub limits: Limits,
}

/// Connections on the operator's port.
const MAX_OPS_CONNECTIONS: usize = 64;

/// What every request can see.
struct State {
    hub: Arc<Hub>,
    offer: Offer,
    limits: Limits,
    tasks: Tasks,
    /// Cancelled when no new clients are wanted.
    unready: CancellationToken,
    /// Cancelled when clients are to be let go.
    drain: CancellationToken,
}

impl State {
    /// The hub, once it has the history: before, a client would be told that there is none.
    fn primed_hub(&self) -> Result<&Hub, Problem> {
        let unprimed = || Problem::unavailable("this replica has not read the history yet, try another or again");
        self.hub.is_primed().then_some(&*self.hub).ok_or_else(unprimed)
    }
}

/// Ports that are bound and not yet served.
pub struct Server {
    public: Option<Listener>,
    ops: Listener,
    state: Arc<State>,
}

impl Server {
    /// Binds both ports. `unready` and `drain` tell when to turn clients away and when to let them go.
    ///
    /// # Errors
    /// If a port cannot be bound.
    pub fn bind(
        options: &Options,
        hub: Arc<Hub>,
        tasks: Tasks,
        unready: CancellationToken,
        drain: CancellationToken,
    ) -> anyhow::Result<Server> {
        let bind = |address: SocketAddr, limit, name| {
            Listener::bind(address, limit).with_context(|| format!("{name}: cannot listen on {address}"))
        };
        let public = options.listen.map(|address| bind(address, options.max_connections, "BTCFEED_LISTEN"));
        let ops = bind(options.ops_listen, MAX_OPS_CONNECTIONS, "BTCFEED_OPS_LISTEN")?;
        let Options { currencies, default_currency, limits, .. } = *options;
        let offer = Offer { currencies, default: default_currency };
        let state = Arc::new(State { hub, offer, limits, tasks, unready, drain });
        Ok(Server { public: public.transpose()?, ops, state })
    }

    /// Where clients connect.
    pub fn address(&self) -> Option<SocketAddr> {
        self.public.as_ref().and_then(|listener| listener.address().ok())
    }

    /// Where operators connect.
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.ops.address().ok()
    }

    /// Serves clients until `drain`, and operators, among the `services`, until `end`.
    pub fn spawn(self, services: &Tasks, end: &CancellationToken) {
        let Server { public, ops, state } = self;
        services.spawn(ops.serve(ops::router(state.clone()), services.clone(), end.clone()));
        if let Some(public) = public {
            let (clients, drain) = (state.tasks.clone(), state.drain.clone());
            state.tasks.clone().spawn(public.serve(router(state), clients, drain));
        }
    }
}

fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/v1/ws", any(ws::connect))
        .route("/ws", any(ws::connect))
        .route("/v1/prices/latest", get(rest::latest))
        .route("/v1/prices", get(rest::history))
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path reads GET"))
        .fallback(async |uri: Uri| {
            let paths = "/v1/ws, /v1/prices/latest and /v1/prices";
            Problem::new(StatusCode::NOT_FOUND, format!("there is no {}, only {paths}", uri.path()))
        })
        .with_state(state)
}
