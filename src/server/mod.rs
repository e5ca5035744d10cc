//! The doors: HTTP, WebSocket and gRPC for clients on one port, health for operators on another.
//!
//! A file here holds framing and nothing else. What two doors have in common is in [`session`](crate::session).

mod answer;
mod candles;
mod compress;
mod cors;
mod docs;
mod follow;
mod full;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grpc;
mod history;
mod latest;
mod listener;
mod media;
mod ops;
mod page;
mod problem;
mod query;
mod reactor;
mod sse;
mod ws;

pub use cors::Cors;
pub use query::{EVERY, REPLAY_LIMIT, periods};

use crate::hub::Hub;
use crate::session::{Bookmarks, Limits, Session, Sessions, Subscription};
use crate::shutdown::{Tasks, Vital};
use crate::tick::{Currencies, Currency};
use crate::view::{Framing, Hello};
use anyhow::Context;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::{Extension, Router};
use candles::Candles;
use docs::{Documents, Facts};
use listener::{Front, Listener};
use problem::Problem;
use query::Offer;
use reactor::{Reactor, Shards};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

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
    /// How often an event stream says that it is still there.
    pub heartbeat: Duration,
    /// The origins whose pages may read the feed.
    pub cors: Cors,
    /// What clients are told who want to know who serves them.
    pub hello: Hello,
}

/// How long a goodbye may take where the replica stops, the client's answer to it included; and whatever else was under way.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long the store may be asked where a client is to begin.
const LONGEST_LOOK_UP: Duration = Duration::from_secs(5);

/// Connections on the operator's port.
const MAX_OPS_CONNECTIONS: usize = 64;

/// What every request can see.
struct State {
    sessions: Arc<Sessions>,
    reactor: Arc<Reactor>,
    cors: Cors,
    candles: Candles,
    offer: Offer,
    heartbeat: Duration,
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
        self.hub().is_primed().then(|| self.hub()).ok_or_else(unprimed)
    }

    fn hub(&self) -> &Hub {
        &self.sessions.hub
    }

    /// A session for a client, unless this is no time for new ones.
    async fn open(&self, asked: &Subscription, framing: Framing) -> Result<Session, Problem> {
        self.primed_hub()?;
        if self.drain.is_cancelled() {
            return Err(Problem::unavailable("this replica is stopping, try another"));
        }
        let opened = timeout(LONGEST_LOOK_UP, self.sessions.open(asked, framing)).await;
        let away = || Problem::unavailable("where to begin cannot be looked up now, try again or say after which id");
        opened.ok().and_then(Result::ok).ok_or_else(away)
    }
}

/// Ports that are bound and not yet served.
pub struct Server {
    public: Option<Listener>,
    ops: Listener,
    state: Arc<State>,
    shards: Shards,
}

impl Server {
    /// Binds both ports. `unready` and `drain` tell when to turn clients away and when to let them go.
    ///
    /// # Errors
    /// If a port cannot be bound.
    pub fn bind(
        options: &Options,
        hub: Arc<Hub>,
        bookmarks: Arc<Bookmarks>,
        tasks: Tasks,
        unready: CancellationToken,
        drain: CancellationToken,
    ) -> anyhow::Result<Server> {
        let bind = |address: SocketAddr, limit, name| {
            Listener::bind(address, limit, options.limits)
                .with_context(|| format!("{name}: cannot listen on {address}"))
        };
        let public = options.listen.map(|address| bind(address, options.max_connections, "BTCFEED_LISTEN"));
        let ops = bind(options.ops_listen, MAX_OPS_CONNECTIONS, "BTCFEED_OPS_LISTEN")?;
        let Options { currencies, default_currency, limits, heartbeat, .. } = *options;
        let offer = Offer { currencies, default: default_currency };
        let candles = Candles::new(&hub);
        let sessions = Arc::new(Sessions { hub, limits, bookmarks, hello: options.hello.clone() });
        let (reactor, shards) =
            Reactor::open(sessions.clone(), heartbeat, &tasks).context("sockets cannot be waited for")?;
        let (reactor, cors) = (Arc::new(reactor), options.cors.clone());
        let front = Front { paths: stream_paths(), reactor: reactor.clone() };
        let public = public.transpose()?.map(|listener| listener.with_front(front).with_cors(&cors));
        let state = Arc::new(State { sessions, reactor, cors, candles, offer, heartbeat, tasks, unready, drain });
        Ok(Server { public, ops, state, shards })
    }

    /// Where clients connect.
    pub fn address(&self) -> Option<SocketAddr> {
        self.public.as_ref().and_then(|listener| listener.address().ok())
    }

    /// Where operators connect.
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.ops.address().ok()
    }

    /// Serves clients until `drain`, and operators, among the `services`, until `end`. Cancels `stop` if it cannot go on.
    pub fn spawn(self, services: &Tasks, end: &CancellationToken, stop: &CancellationToken) {
        let Server { public, ops, state, shards } = self;
        shards.spawn(&state.tasks, stop);
        let (reactor, drain) = (state.reactor.clone(), state.drain.clone());
        let vital = Vital::new("waking the streams", stop);
        services.spawn(async move {
            reactor.ring(&drain).await;
            drop(vital);
        });
        services.spawn(ops.serve(ops::router(state.clone()), services.clone(), end.clone()));
        if let Some(public) = public {
            let (clients, drain) = (state.tasks.clone(), state.drain.clone());
            state.tasks.clone().spawn(public.serve(router(state), clients, drain));
        }
    }
}

/// The streams that go out on raw sockets.
fn streams() -> [UtoipaMethodRouter<Arc<State>>; 4] {
    [
        ws::route(),
        docs::short_form("/ws", ws::route()),
        routes!(sse::connect),
        docs::short_form("/prices/stream", routes!(sse::connect)),
    ]
}

fn stream_paths() -> Arc<[String]> {
    streams().into_iter().flat_map(|(_, paths, _)| paths.paths.into_keys()).collect()
}

fn router(state: Arc<State>) -> Router {
    let (router, openapi) = streams()
        .into_iter()
        .fold(OpenApiRouter::with_openapi(docs::head()), OpenApiRouter::routes)
        .routes(routes!(latest::latest))
        .routes(routes!(history::history))
        .routes(routes!(candles::candles))
        .routes(routes!(docs::openapi))
        .routes(routes!(docs::asyncapi))
        .routes(routes!(docs::page))
        .routes(routes!(docs::style))
        .split_for_parts();
    let paths = openapi.paths.paths.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let documents = Documents::new(&openapi, &Facts { limits: state.sessions.limits, heartbeat: state.heartbeat });
    router
        .merge(page::routes())
        .method_not_allowed_fallback(async |method: Method| {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("this path reads GET and HEAD, got {method}"))
        })
        .fallback(async move |uri: Uri, headers: HeaderMap| {
            if grpc::is_grpc(&headers) {
                return grpc::unknown_method(uri.path());
            }
            Problem::new(StatusCode::NOT_FOUND, format!("there is no {}, only /, /btcfeed.js, {paths}", uri.path()))
                .into_response()
        })
        .layer(Extension(documents))
        .layer(compress::layer())
        .merge(grpc::router(&state))
        .layer(state.cors.layer())
        .with_state(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_takes_every_stream_under_either_of_its_names() {
        assert_eq!(*stream_paths(), ["/v1/ws", "/ws", "/v1/prices/stream", "/prices/stream"]);
    }
}
