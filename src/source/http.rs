//! Requests to an exchange over HTTP. Late and endless answers are bounded, redirects and HTML pages with status 200
//! are errors, and rate limits are respected.

use super::failure::cause;
use super::observation::{Answer, Observation, Source, SourceError};
use crate::text::excerpt;
use crate::tick::{Currencies, Currency};
use anyhow::{Context, ensure};
use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The HTTP API of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct HttpApi {
    /// The URL that the paths of requests are appended to.
    pub base_url: &'static str,
    /// The environment variable that sets another base URL.
    pub url_variable: &'static str,
    /// The description of that variable in help texts, without a full stop.
    pub url_help: &'static str,
    /// Returns the requests for the prices in these currencies.
    pub requests: fn(Currencies) -> Vec<Request>,
    /// Reads the answer to a request about these currencies. Leaves out currencies that are not in the answer. The
    /// error says what is wrong with the whole answer.
    pub read: fn(&[u8], Currencies) -> anyhow::Result<Vec<Reading>>,
}

/// What an answer says about one currency, or what is wrong with it.
pub type Reading = (Currency, anyhow::Result<Observation>);

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path and the query.
    pub path: String,
    /// The currencies whose prices are in the answer.
    pub currencies: Currencies,
}

/// The maximum size of an answer. Real answers have less than 3 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The maximum length of the reason why an answer cannot be read. The reason may quote the answer, and all clients get
/// it in a status.
pub(super) const MAX_REASON_CHARS: usize = 200;
/// The time within which a connection must be established. `Source::observe` bounds the whole request by its deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum pause. A longer `Retry-After` is shortened to it: no exchange bans a client for longer than three days.
const MAX_PAUSE: Duration = Duration::from_secs(3 * 24 * 3600);
/// The pause after 429, 418 or 451 if the answer has no `Retry-After` in seconds.
const DEFAULT_PAUSE: Duration = Duration::from_secs(60);
/// The user agent. Some exchanges reject requests without one.
const USER_AGENT: &str = concat!("btcfeed/", env!("CARGO_PKG_VERSION"));

impl HttpApi {
    /// Reads an answer. Each of the currencies gets an observation or an error, whose reason has at most
    /// [`MAX_REASON_CHARS`].
    pub(super) fn read_answer(&self, body: &[u8], currencies: Currencies) -> (Vec<Observation>, Vec<SourceError>) {
        let reason = |error: anyhow::Error| {
            let start: String = String::from_utf8_lossy(body).chars().take(60).collect();
            let reason = format!("the answer is not as documented, it begins with {start:?}: {error:#}");
            excerpt(&reason, MAX_REASON_CHARS)
        };
        let readings = match (self.read)(body, currencies) {
            Ok(readings) => readings,
            Err(error) => return (Vec::new(), vec![SourceError::new(currencies, reason(error))]),
        };
        let missing = currencies.without(readings.iter().map(|(currency, _)| *currency).collect());
        let (mut observations, mut errors) = (Vec::new(), Vec::new());
        for (currency, reading) in readings {
            match reading {
                Ok(observation) => observations.push(observation),
                Err(error) => errors.push(SourceError::new(currency.into(), reason(error))),
            }
        }
        if !missing.is_empty() {
            errors.push(SourceError::new(missing, format!("the answer has no price in {missing}")));
        }
        (observations, errors)
    }
}

/// A source that is an [`HttpApi`].
pub(super) struct HttpSource {
    name: &'static str,
    /// The currencies in which the source has prices.
    currencies: Currencies,
    api: HttpApi,
    base_url: String,
    /// Host and port, for the log.
    address: String,
    client: Client,
}

impl HttpSource {
    /// Opens the source `name`. `base_url` replaces the URL of the API.
    pub(super) fn open(
        name: &'static str,
        currencies: Currencies,
        api: HttpApi,
        base_url: Option<&str>,
    ) -> anyhow::Result<HttpSource> {
        let base_url = base_url.unwrap_or(api.base_url).trim_end_matches('/').to_owned();
        // The error does not contain the URL, because a URL may contain a password.
        ensure!(is_http_url(&base_url), "the URL of {name} is not an http:// or https:// URL");
        let address = address(&base_url);
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .context("cannot create an HTTP client")?;
        Ok(HttpSource { name, currencies, api, base_url, address, client })
    }

    /// Sends a request. Returns the body of the answer.
    async fn send(&self, request: &Request) -> Result<Vec<u8>, SourceError> {
        let fail = |reason: String| SourceError::new(request.currencies, reason);
        let response = self.client.get(format!("{}{}", self.base_url, request.path)).send().await;
        let response = response.map_err(|error| {
            // Clients must not learn how this machine reaches an exchange.
            let reason = if error.is_connect() { "cannot connect" } else { "the request failed" };
            SourceError { cause: Some(cause(&error)), ..fail(reason.to_owned()) }
        })?;
        let status = response.status();
        if !status.is_success() {
            let retry_after = requested_pause(&response);
            return Err(SourceError { retry_after, ..fail(format!("HTTP {status}")) });
        }
        read_bounded(response, MAX_ANSWER_BYTES).await.map_err(|error| fail(format!("{error:#}")))
    }

    /// Sends a request and reads the answer, within `deadline`.
    async fn ask(&self, request: &Request, deadline: Duration) -> Answer {
        let started = Instant::now();
        let late = |_| SourceError::new(request.currencies, format!("no answer within {deadline:?}"));
        let body = timeout(deadline, self.send(request)).await.map_err(late).flatten();
        let latency = started.elapsed();
        let (observations, mut errors) = match body {
            Ok(body) => self.api.read_answer(&body, request.currencies),
            Err(error) => (Vec::new(), vec![error]),
        };
        for error in &mut errors {
            error.cause = Some(format!("{}: {}", self.address, error.for_operators()));
        }
        Answer::new(observations, errors, latency)
    }
}

#[async_trait]
impl Source for HttpSource {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn observe(&self, currencies: Currencies, deadline: Duration) -> Vec<Answer> {
        let requests = (self.api.requests)(currencies.and(self.currencies));
        join_all(requests.iter().map(|request| self.ask(request, deadline))).await
    }
}

/// Returns true if `text` is an `http://` or `https://` URL.
pub fn is_http_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// Returns the host and the port in an HTTP URL.
fn address(url: &str) -> String {
    let url = Url::parse(url).ok();
    let parts = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    parts.map_or_else(|| "unknown address".to_owned(), |(host, port)| format!("{host}:{port}"))
}

/// Reads the body of a response.
///
/// # Errors
/// If it has more than `max_bytes`, or if the connection ends first.
pub(crate) async fn read_bounded(mut response: Response, max_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| anyhow::anyhow!("the answer was cut off"))? {
        ensure!(body.len() + chunk.len() <= max_bytes, "the answer is longer than {max_bytes} bytes");
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Returns the pause that the source asks for in `Retry-After` (RFC 9110; only the form in seconds is read). Without
/// it, the default applies after 429 (RFC 6585), 418 (a ban, as Binance sends it) and 451 (a region that is not
/// served).
fn requested_pause(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let requested = seconds.map(Duration::from_secs);
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::IM_A_TEAPOT | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            Some(requested.unwrap_or(DEFAULT_PAUSE).min(MAX_PAUSE))
        }
        _ => requested.map(|pause| pause.min(MAX_PAUSE)),
    }
}
