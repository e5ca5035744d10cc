//! The server: binds the ports, routes requests and runs the tasks that serve them. Only this module uses all three of
//! `api`, `site` and `net`.

use crate::access::Keys;
use crate::admission::address_limits::AddressLimits;
pub use crate::admission::address_limits::AddressOptions;
pub use crate::admission::client_address::TrustedProxies;
use crate::admission::sharing;
use crate::api::auth::require_key;
pub use crate::api::base_url::BaseUrl;
use crate::api::candle_cache::CandleCache;
pub use crate::api::cors::Cors;
use crate::api::descriptions::{Described, Descriptions};
#[cfg(feature = "grpc")]
use crate::api::grpc::{self, call};
use crate::api::hardening::{harden, require_tls};
use crate::api::newest_audits::NewestAudits;
use crate::api::problem::Problem;
use crate::api::query::SupportedCurrencies;
use crate::api::rest::{candles, history, latest, mempool, price_at, sources, status, udf};
use crate::api::state::ApiState;
use crate::api::stream::{sse, websocket};
use crate::api::{compress, descriptions, feed_headers, ops, overload, request_id};
use crate::encode::ReplicaInfo;
use crate::hub::Hub;
use crate::monitor::Monitor;
use crate::net::client_memory::ClientMemory;
use crate::net::connection_limit::Permit;
use crate::net::listener::Listener;
use crate::net::reactor::{Reactor, Shards};
use crate::net::takeover::Takeover;
use crate::schema::asyncapi::StreamFacts;
use crate::schema::openapi;
use crate::session::{Bookmarks, Limits, Sessions};
use crate::shutdown::{CriticalTask, Drain, Tasks};
use crate::site::docs::Docs;
use crate::site::method::MethodPage;
use crate::site::{docs, method, page};
use crate::store::Store;
use crate::text::excerpt;
use crate::tick::{Currencies, Currency};
use crate::tls::Tls;
pub use crate::tls::{CertificateError, CertificateWarning, TlsOptions, TlsVersion};
use anyhow::{Context, anyhow};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower_http::normalize_path::NormalizePath;
use tracing::warn;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address for clients, or `None` if this replica serves none.
    pub listen: Option<SocketAddr>,
    /// Address for operators.
    pub ops_listen: SocketAddr,
    /// Currencies that clients can choose.
    pub currencies: Currencies,
    /// Currency of clients that choose none.
    pub default_currency: Currency,
    /// Certificate for clients, or `None` for plain HTTP.
    pub tls: Option<TlsOptions>,
    /// File of API keys, or `None` if clients need no key.
    pub keys: Option<PathBuf>,
    /// Maximum number of clients: connections over HTTP/1, and concurrent requests over HTTP/2.
    pub max_connections: usize,
    /// Limits of each client's address.
    pub addresses: AddressOptions,
    /// Maximum number of bytes, over all clients, that wait because clients do not read them.
    pub client_memory: usize,
    /// Limits of a client's session.
    pub limits: Limits,
    /// Time between two comments on an event stream.
    pub heartbeat: Duration,
    /// Origins whose pages may read the feed.
    pub cors: Cors,
    /// URL under which clients reach this server, or `None` if it is taken from each request.
    pub public_url: Option<BaseUrl>,
    /// Description of this replica for the message `hello`.
    pub hello: ReplicaInfo,
}

/// Maximum number of connections on the operators' port.
const MAX_OPS_CONNECTIONS: usize = 64;

/// Ports that are bound and not served yet.
pub struct Server {
    public: Option<Listener>,
    ops: Listener,
    state: Arc<ApiState>,
    shards: Shards,
    tls: Option<Arc<Tls>>,
    keys: Option<Arc<Keys>>,
}

impl Server {
    /// Binds the ports. `unready` is cancelled when load balancers should send no more new clients. `drain` ends the
    /// streams.
    ///
    /// # Errors
    /// If a port cannot be bound, the certificate or the API keys cannot be used, or this process has too many open
    /// file descriptors.
    pub fn bind(
        options: &Options,
        hub: Arc<Hub>,
        monitor: Arc<Monitor>,
        bookmarks: Arc<Bookmarks>,
        tasks: Tasks,
        unready: CancellationToken,
        drain: Drain,
    ) -> anyhow::Result<Server> {
        let tls = options.tls.clone().map(|tls| Tls::open(tls, options.max_connections)).transpose();
        let tls = tls.context("cannot use the certificate")?.map(Arc::new);
        let keys = open_keys(options)?;
        let bind = |address: SocketAddr, limit, addresses, (flag, variable)| {
            // The response that rejects a client because of a limit has CORS headers, too. Without them, the browser
            // hides the response from an `EventSource` of another origin, and the `EventSource` never reconnects.
            let overload = overload::router().layer(options.cors.layer());
            let overload = overload.layer(from_fn(harden)).layer(from_fn(request_id::assign));
            let listener = Listener::bind(address, limit, Arc::new(addresses), options.limits, overload);
            listener.map_err(|error| {
                anyhow!("cannot listen on {address}: {error}; choose another with --{flag} or {variable}")
            })
        };
        warn_of_limits(options);
        let public = options.listen.map(|address| {
            let _runtime = tasks.enter();
            let addresses = AddressLimits::new(options.addresses.clone());
            bind(address, options.max_connections, addresses, ("listen", "BTCFEED_LISTEN"))
        });
        let ops = ("ops-listen", "BTCFEED_OPS_LISTEN");
        let ops = bind(options.ops_listen, MAX_OPS_CONNECTIONS, AddressLimits::none(), ops);
        let (public, ops) = match (public.transpose(), ops) {
            (Ok(public), Ok(ops)) => (public, ops),
            (Err(public), Err(ops)) => return Err(anyhow!("{public}\n{ops}")),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
        };
        let (state, shards) = open(options, hub, monitor, bookmarks, tasks, unready, drain)?;
        let takeover = Takeover { paths: stream_paths(), reactor: state.reactor.clone() };
        let memory = state.memory.clone();
        let public = public.map(|listener| listener.with_memory(memory).with_takeover(takeover).with_tls(tls.clone()));
        Ok(Server { public, ops, state, shards, tls, keys })
    }

    /// Returns the address for clients.
    pub fn address(&self) -> Option<SocketAddr> {
        self.public.as_ref().and_then(|listener| listener.address().ok())
    }

    /// Returns the address for operators.
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.ops.address().ok()
    }

    /// Returns a function that counts the clients.
    pub fn client_counter(&self) -> impl Fn() -> usize + Send + use<> {
        let counter = self.public.as_ref().map(Listener::client_counter);
        move || counter.as_ref().map_or(0, |count| count())
    }

    /// Makes the limits of addresses count over all replicas that use `store`, until `end` is cancelled.
    pub fn share_limits(&self, store: Arc<dyn Store>, services: &Tasks, end: &CancellationToken) {
        let Some(public) = &self.public else { return };
        let (limits, end) = (public.addresses().clone(), end.clone());
        services.spawn(async move {
            end.run_until_cancelled(sharing::run(&limits, &*store)).await;
        });
    }

    /// Starts to serve clients until the drain, and operators until `end` is cancelled. The shards and the connections
    /// of clients belong to the tasks that [`bind`](Self::bind) was given, and everything else to `services`. Cancels
    /// `stop` if an essential task fails.
    pub fn spawn(self, services: &Tasks, end: &CancellationToken, stop: &CancellationToken) {
        let Server { public, ops, state, shards, tls, keys } = self;
        shards.spawn(&state.tasks, stop);
        let (reactor, drain) = (state.reactor.clone(), state.drain.clone());
        let guard = CriticalTask::new("waking the streams", stop);
        services.spawn(async move {
            reactor.watch_feed(&drain).await;
            drop(guard);
        });
        services.spawn(ops.serve(ops::router(state.clone()), services.clone(), end.clone(), end.clone()));
        if let Some(public) = public {
            let (clients, drain) = (state.tasks.clone(), state.drain.clone());
            let mut router = routes(state.clone(), keys.as_ref());
            if let Some(tls) = tls {
                router = router.layer(from_fn(require_tls));
                let end = end.clone();
                services.spawn(async move { tls.watch(&end).await });
            }
            if let Some(keys) = keys {
                let (end, reactor) = (end.clone(), state.reactor.clone());
                services.spawn(async move { keys.watch(&end, || reactor.recheck()).await });
            }
            state.tasks.clone().spawn(public.serve(router, clients, drain.started().clone(), drain.done().clone()));
        }
    }
}

/// Returns the router of the clients' port, but binds no port. Requests come from the same process, such as those of a
/// test. Streams are response bodies, because there is no socket that the reactor could take over.
///
/// # Errors
/// If this process has too many open file descriptors, or the API keys cannot be used.
pub fn router(
    options: &Options,
    hub: Arc<Hub>,
    monitor: Arc<Monitor>,
    bookmarks: Arc<Bookmarks>,
) -> anyhow::Result<Router> {
    let (unready, drain) = (CancellationToken::new(), Drain::default());
    let (state, _) = open(options, hub, monitor, bookmarks, Tasks::default(), unready, drain)?;
    Ok(routes(state, open_keys(options)?.as_ref()).layer(Extension(Permit::unlimited())))
}

fn warn_of_limits(options: &Options) {
    let (of_an_address, of_all) = (options.addresses.connections, options.max_connections);
    if options.listen.is_some() && of_an_address >= of_all {
        warn!(of_an_address, of_all, "one address can use all connections, set BTCFEED_ADDRESS_CONNECTIONS to fewer");
    }
}

fn open_keys(options: &Options) -> anyhow::Result<Option<Arc<Keys>>> {
    let keys = options.keys.clone().map(Keys::open).transpose();
    Ok(keys.map_err(|error| anyhow!("cannot use the API keys: {error}"))?.map(Arc::new))
}

/// Creates the state that all handlers share, and the shards for streams.
fn open(
    options: &Options,
    hub: Arc<Hub>,
    monitor: Arc<Monitor>,
    bookmarks: Arc<Bookmarks>,
    tasks: Tasks,
    unready: CancellationToken,
    drain: Drain,
) -> anyhow::Result<(Arc<ApiState>, Shards)> {
    let Options { currencies, default_currency, limits, heartbeat, .. } = *options;
    let currencies = SupportedCurrencies { currencies, default: default_currency };
    let candles = CandleCache::new(&hub);
    let sessions = Arc::new(Sessions::new(hub, limits, bookmarks, options.hello.clone()));
    let (reactor, shards) = Reactor::open(sessions.clone(), heartbeat, &tasks).context("cannot create event loops")?;
    let state = ApiState {
        sessions,
        monitor,
        reactor: Arc::new(reactor),
        memory: ClientMemory::new(options.client_memory),
        cors: options.cors.clone(),
        public_url: options.public_url.clone(),
        has_tls: options.tls.is_some(),
        candles,
        newest_audits: NewestAudits::default(),
        currencies,
        heartbeat,
        tasks,
        unready,
        drain,
    };
    let state = Arc::new(state);
    state.tasks.spawn(keep_candles(state.clone()));
    Ok((state, shards))
}

/// Updates the candles until this replica is unready.
async fn keep_candles(state: Arc<ApiState>) {
    let updates = state.candles.run(&state.sessions.hub);
    state.unready.run_until_cancelled(updates).await;
}

/// Routes of the streams that the reactor takes over. `/pricefeed` is the path of an older service.
fn streams() -> [UtoipaMethodRouter<Arc<ApiState>>; 5] {
    [
        websocket::route(),
        openapi::alias("/ws", websocket::route()),
        openapi::alias("/pricefeed", websocket::route()),
        routes!(sse::connect),
        openapi::alias("/prices/stream", routes!(sse::connect)),
    ]
}

fn stream_paths() -> Arc<[String]> {
    streams().into_iter().flat_map(|(_, paths, _)| paths.paths.into_keys()).collect()
}

fn routes(state: Arc<ApiState>, keys: Option<&Arc<Keys>>) -> Router {
    let (router, openapi) = streams()
        .into_iter()
        .fold(OpenApiRouter::with_openapi(openapi::head()), OpenApiRouter::routes)
        .routes(routes!(latest::latest))
        .routes(routes!(history::history))
        .route_layer(from_fn_with_state(state.clone(), feed_headers::add))
        .routes(routes!(candles::candles))
        .routes(routes!(price_at::price_at))
        .routes(routes!(mempool::prices))
        .routes(routes!(mempool::historical_price))
        .routes(routes!(sources::sources))
        .routes(routes!(status::status))
        .routes(routes!(udf::config))
        .routes(routes!(udf::symbols))
        .routes(routes!(udf::search))
        .routes(routes!(udf::history))
        .routes(routes!(udf::time))
        .routes(routes!(descriptions::openapi))
        .routes(routes!(descriptions::asyncapi))
        .routes(routes!(docs::page))
        .routes(routes!(docs::text))
        .routes(routes!(docs::style))
        .routes(routes!(docs::script))
        .routes(routes!(method::page))
        .split_for_parts();
    let paths = openapi.paths.paths.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let facts = StreamFacts { limits: state.sessions.limits, heartbeat: state.heartbeat };
    let described = Described::new(openapi, facts);
    let router = router
        .merge(page::routes())
        .method_not_allowed_fallback(async |method: Method| {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("unsupported method {}: expected GET or HEAD", excerpt(method.as_str(), 200)),
            )
        })
        .fallback(async move |uri: Uri, headers: HeaderMap| unknown_path(uri.path(), &headers, &paths))
        .layer(Extension(Descriptions::new(&described)))
        .layer(Extension(Docs::new(&described)))
        .layer(Extension(MethodPage::new()))
        .layer(compress::layer())
        .merge(grpc_routes(&state));
    let router = match keys {
        Some(keys) => router.layer(from_fn_with_state(keys.clone(), require_key)),
        None => router,
    };
    let cors = state.cors.layer();
    // Layers of a router run after it has chosen the route, so a service around it trims the path.
    let router = page::redirects().fallback_service(NormalizePath::trim_trailing_slash(router.with_state(state)));
    router.layer(cors).layer(from_fn(harden)).layer(from_fn(request_id::assign))
}

#[cfg(feature = "grpc")]
fn grpc_routes(state: &Arc<ApiState>) -> Router<Arc<ApiState>> {
    grpc::router(state)
}

#[cfg(not(feature = "grpc"))]
fn grpc_routes(_: &Arc<ApiState>) -> Router<Arc<ApiState>> {
    Router::new()
}

/// Answers a request for an unknown path. `paths` lists the known paths.
#[cfg_attr(not(feature = "grpc"), expect(unused_variables, reason = "only gRPC looks at the headers"))]
fn unknown_path(path: &str, headers: &HeaderMap, paths: &str) -> Response {
    #[cfg(feature = "grpc")]
    if call::is_grpc(headers) {
        return call::unknown_method(path);
    }
    let detail = format!("unknown path {}: expected /, /btcfeed.js, {paths}", excerpt(path, 200));
    Problem::new(StatusCode::NOT_FOUND, detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_taken_over_under_all_names() {
        assert_eq!(*stream_paths(), ["/v1/ws", "/ws", "/pricefeed", "/v1/prices/stream", "/prices/stream"]);
    }
}
