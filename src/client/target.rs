//! The addresses of a feed, which streams use in turn.

use super::address::Address;
use super::disconnect::Disconnect;
use super::error::Error;
#[cfg(feature = "grpc")]
use super::grpc;
use super::http::{self, Version};
use super::options::ClientOptions;
use super::price_at::{self, PriceAt};
use super::received::{Received, ServerEvents};
use super::transport::Transport;
use super::{sse, websocket};
use crate::feed::Start;
use crate::tick::TickId;
use futures_util::future::BoxFuture;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// The time that a request for a part of the history may take.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(2);

/// The addresses, the HTTP client and the options, which all connections of a client share.
#[derive(Debug)]
pub(super) struct Target {
    /// The addresses. There is at least one.
    addresses: Vec<Address>,
    /// The number that selects the first address of the next stream. Each stream adds one. The number begins at random,
    /// so that the clients of many programs are spread over all addresses.
    next_turn: AtomicUsize,
    http: reqwest::Client,
    /// The proxies that variables such as `HTTPS_PROXY` name. The HTTP client reads these variables itself. The field
    /// is only for the text of errors.
    proxies: Matcher,
    pub(super) options: ClientOptions,
}

impl Target {
    /// Creates a target without connecting to it.
    ///
    /// # Errors
    /// [`Error::Setup`] if no HTTP client can be created.
    pub(super) fn new(addresses: Vec<Address>, options: ClientOptions) -> Result<Target, Error> {
        let version = match options.transport {
            Transport::WebSocket | Transport::Sse => Version::Http1,
            #[cfg(feature = "grpc")]
            Transport::Grpc => Version::Http2 { silence_timeout: options.silence_timeout },
        };
        let http = http::client(addresses.iter().any(Address::is_encrypted), version, &options)?;
        let next_turn = AtomicUsize::new(fastrand::usize(..addresses.len()));
        Ok(Target { addresses, next_turn, http, proxies: Matcher::from_env(), options })
    }

    /// Returns the number that selects the first address of a new stream.
    pub(super) fn next_turn(&self) -> usize {
        self.next_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the addresses.
    pub(super) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.options.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    /// Asks the address with the number `address` for the messages of the history with `after < id <= until`. Returns
    /// `None` if there is no valid answer within `HISTORY_TIMEOUT`.
    pub(super) fn history(
        self: Arc<Target>,
        address: usize,
        after: TickId,
        until: TickId,
    ) -> BoxFuture<'static, Option<Vec<Received>>> {
        Box::pin(async move {
            let url = self.addresses[address].history(&self.options.history_query(after, until));
            let read = async {
                let response = self.with_key(self.http.get(url)).send().await.ok()?;
                let text = http::text(response.error_for_status().ok()?).await.ok()?;
                text.lines().map(Received::read).collect::<Result<_, _>>().ok()
            };
            timeout(HISTORY_TIMEOUT, read).await.ok()?
        })
    }

    /// Returns the prices at a moment. If an address does not answer or is overloaded, asks the next one.
    pub(super) async fn prices_at(
        &self,
        time: Option<TickId>,
        window: Option<Duration>,
    ) -> Result<Vec<PriceAt>, Error> {
        let query = self.options.prices_at_query(time, window);
        let mut problem = String::new();
        for address in &self.addresses {
            let get = self.with_key(self.http.get(address.prices_at(&query)));
            let read = async {
                let response = get.send().await.map_err(|error| Disconnect::caused_by(&error))?;
                if response.status() != StatusCode::OK {
                    return Err(http::refusal(response).await);
                }
                let text = http::text(response).await?;
                price_at::parse(&text).map_err(|error| Disconnect::no_feed(&format!("its answer is invalid: {error}")))
            };
            let too_late = |_| Err(Disconnect::retry(format!("no answer within {:?}", self.options.connect_timeout)));
            let read = timeout(self.options.connect_timeout, read).await.unwrap_or_else(too_late);
            match read.map_err(|failed| failed.at(address, self.proxy(address).as_deref())) {
                Ok(prices) => return Ok(prices),
                Err(Disconnect::Final(error)) => return Err(error),
                Err(Disconnect::Retry { why, .. }) => problem = why,
            }
        }
        Err(Error::Unavailable(problem))
    }

    /// Connects to the address with the number `address`, for a stream that begins at `start`.
    pub(super) fn connect(
        self: Arc<Target>,
        address: usize,
        start: Start,
    ) -> BoxFuture<'static, Result<ServerEvents, Disconnect>> {
        Box::pin(async move {
            let options = &self.options;
            let address = &self.addresses[address];
            let get = || self.with_key(self.http.get(address.stream(options.transport, Some(&options.query(start)))));
            let connect = async {
                match options.transport {
                    Transport::WebSocket => websocket::connect(get()).await,
                    Transport::Sse => sse::connect(get()).await,
                    #[cfg(feature = "grpc")]
                    Transport::Grpc => {
                        let post = self.with_key(self.http.post(address.stream(options.transport, None)));
                        grpc::connect(post, options, start).await
                    }
                }
            };
            let too_late = || Disconnect::retry(format!("no answer within {:?}", options.connect_timeout));
            let result = timeout(options.connect_timeout, connect).await.unwrap_or_else(|_| Err(too_late()));
            result.map_err(|disconnect| disconnect.at(address, self.proxy(address).as_deref()))
        })
    }

    /// Returns the proxy on the way to an address, and the variables that can name it.
    fn proxy(&self, address: &Address) -> Option<String> {
        let target = address.to_string().parse().ok()?;
        let proxy = self.proxies.intercept(&target)?;
        let variable = if address.is_encrypted() { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        let host = proxy.uri().authority()?.as_str();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        Some(format!("{host} ({variable} or ALL_PROXY)"))
    }
}
