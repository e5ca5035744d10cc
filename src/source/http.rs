//! Requests to an exchange over HTTP. The time and the size of an answer are bounded, redirects and HTML pages with
//! status 200 are errors, and rate limits are respected: until a source may be asked again, it repeats its last
//! answers.

use super::date::date_of;
use super::endpoint::Endpoint;
use super::failure::{cause, is_closed};
use super::observation::{Answer, Observation, Source, SourceError};
use super::pause::requested_pause;
use crate::text::excerpt;
use crate::tick::{Currencies, Currency, TickId};
use anyhow::{Context, ensure};
use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response, Url, redirect};
use secrecy::ExposeSecret;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep, timeout};

/// The HTTP API of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct HttpApi {
    /// The URL that the paths of requests are appended to. If it is `None`, a setting must give one.
    pub base_url: Option<&'static str>,
    /// The environment variable that sets another base URL.
    pub url_variable: &'static str,
    /// The description of that variable in help texts, without a full stop.
    pub url_help: &'static str,
    /// The header with an API key, if the API can use one. The key is optional.
    pub key: Option<KeyHeader>,
    /// Returns the requests for the prices in these currencies.
    pub requests: fn(Currencies) -> Vec<Request>,
    /// Reads the answer to a request about these currencies. Leaves out currencies that are not in the answer. The
    /// error says what is wrong with the whole answer.
    pub read: fn(&[u8], Currencies) -> anyhow::Result<Vec<Reading>>,
}

/// The header that contains an API key.
#[derive(Clone, Copy, Debug)]
pub struct KeyHeader {
    /// The name of the header, in lower case.
    pub name: &'static str,
    /// The environment variable that sets the key.
    pub variable: &'static str,
    /// The description of that variable in help texts, without a full stop.
    pub help: &'static str,
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

/// The error if the source rejects a whole request because it does not know one of the requested pairs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnknownPair(pub(super) String);

/// The maximum size of an answer. Real answers have less than 3 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The maximum length of the reason why an answer cannot be read. The reason may quote the answer, and all clients get
/// it in a status.
pub(super) const MAX_REASON_CHARS: usize = 200;
/// The time within which a connection must be established. `Source::observe` bounds the whole request by its deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum time that a poll waits until the source may be asked again.
const MAX_WAIT: Duration = Duration::from_millis(100);
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
            Err(error) => {
                let is_unknown_pair = error.is::<UnknownPair>();
                let error = SourceError { is_unknown_pair, ..SourceError::new(currencies, reason(error)) };
                return (Vec::new(), vec![error]);
            }
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
    least_interval: Duration,
    last_poll: Mutex<Option<LastPoll>>,
    /// True if the last request was answered, so its connection may still be open.
    was_answered: AtomicBool,
}

/// The newest poll that has sent requests.
struct LastPoll {
    started: Instant,
    answers: Vec<Answer>,
}

impl HttpSource {
    /// Opens the source `name`. `least_interval` applies if the endpoint has none.
    pub(super) fn open(
        name: &'static str,
        currencies: Currencies,
        least_interval: Duration,
        api: HttpApi,
        endpoint: &Endpoint,
    ) -> anyhow::Result<HttpSource> {
        let url = endpoint.url.as_ref().map(ExposeSecret::expose_secret).or(api.base_url);
        let url = url.with_context(|| format!("{name} has no public host: set {}", api.url_variable))?;
        let base_url = url.trim_end_matches('/').to_owned();
        // The error does not contain the URL, because a URL may contain a password.
        ensure!(is_http_url(&base_url), "the URL of {name} is not an http:// or https:// URL");
        let mut headers = HeaderMap::new();
        if let (Some(header), Some(key)) = (api.key, &endpoint.key) {
            let mut value = HeaderValue::from_str(key.expose_secret())
                .with_context(|| format!("the key in {} is not valid in a header", header.variable))?;
            value.set_sensitive(true);
            headers.insert(header.name, value);
        }
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .context("cannot create an HTTP client")?;
        Ok(HttpSource {
            name,
            currencies,
            api,
            address: address(&base_url),
            base_url,
            client,
            least_interval: endpoint.least_interval.unwrap_or(least_interval),
            last_poll: Mutex::new(None),
            was_answered: AtomicBool::new(false),
        })
    }

    /// Returns the answers of the last poll, if the source may not be asked again within `patience`. Otherwise waits
    /// until it may, and returns `None`.
    async fn repeat_or_wait(&self, patience: Duration) -> Option<Vec<Answer>> {
        let wait = {
            let last = self.last_poll.lock().unwrap_or_else(PoisonError::into_inner);
            let last = last.as_ref()?;
            let wait = self.least_interval.saturating_sub(last.started.elapsed());
            if wait > patience {
                let repeat = |answer: &Answer| Answer { is_repeated: true, ..answer.clone() };
                return Some(last.answers.iter().map(repeat).collect());
            }
            wait
        };
        sleep(wait).await;
        None
    }

    /// Returns the requests for these currencies. If a request of the last poll was rejected because of an unknown
    /// pair, its pairs are requested one by one, so that only the unknown one fails.
    fn requests(&self, currencies: Currencies) -> Vec<Request> {
        let last = self.last_poll.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = last.iter().flat_map(|last| &last.answers).flat_map(|answer| &answer.errors);
        let rejected = errors.filter(|error| error.is_unknown_pair).flat_map(|error| error.currencies.iter());
        let apart = currencies.and(rejected.collect());
        let together = Some(currencies.without(apart)).filter(|together| !together.is_empty());
        let groups = together.into_iter().chain(apart.iter().map(Currencies::from));
        groups.flat_map(self.api.requests).collect()
    }

    /// Sends a GET request. If the exchange closes a kept-alive connection instead of answering, sends the request once
    /// more. The exchange has probably ended the idle connection while the request was on its way.
    async fn get(&self, request: &Request) -> reqwest::Result<Response> {
        let get = || self.client.get(format!("{}{}", self.base_url, request.path)).send();
        let is_kept_alive = self.was_answered.load(Ordering::Relaxed);
        let response = match get().await {
            Err(error) if is_kept_alive && is_closed(&error) => get().await,
            result => result,
        };
        self.was_answered.store(response.is_ok(), Ordering::Relaxed);
        response
    }

    /// Sends a request. Returns the body of the answer, and the time at which the server sent the answer.
    async fn send(&self, request: &Request) -> Result<(Vec<u8>, Option<TickId>), SourceError> {
        let fail = |reason: String| SourceError::new(request.currencies, reason);
        let response = self.get(request).await.map_err(|error| {
            // Clients must not learn how this machine reaches an exchange.
            let reason = if error.is_connect() { "cannot connect" } else { "the request failed" };
            SourceError { cause: Some(cause(&error)), ..fail(reason.to_owned()) }
        })?;
        let status = response.status();
        if !status.is_success() {
            let retry_after = requested_pause(response.status(), response.headers(), SystemTime::now());
            return Err(SourceError { retry_after, ..fail(format!("HTTP {status}")) });
        }
        let sent = date_of(response.headers());
        let body = read_bounded(response, MAX_ANSWER_BYTES).await.map_err(|error| fail(format!("{error:#}")))?;
        Ok((body, sent))
    }

    /// Sends a request and reads the answer, within `deadline`.
    async fn ask(&self, request: &Request, deadline: Duration) -> Answer {
        let started = Instant::now();
        let late = |_| SourceError::new(request.currencies, format!("no answer within {deadline:?}"));
        let answer = timeout(deadline, self.send(request)).await.map_err(late).flatten();
        let latency = started.elapsed();
        let ((observations, mut errors), sent) = match answer {
            Ok((body, sent)) => (self.api.read_answer(&body, request.currencies), sent),
            Err(error) => ((Vec::new(), vec![error]), None),
        };
        for error in &mut errors {
            error.cause = Some(format!("{}: {}", self.address, error.for_operators()));
        }
        Answer { sent, least_interval: self.least_interval, ..Answer::new(observations, errors, latency) }
    }
}

#[async_trait]
impl Source for HttpSource {
    fn name(&self) -> &'static str {
        self.name
    }

    fn currencies(&self) -> Currencies {
        self.currencies
    }

    async fn observe(&self, currencies: Currencies, deadline: Duration) -> Vec<Answer> {
        let currencies = currencies.and(self.currencies);
        if currencies.is_empty() {
            return Vec::new();
        }
        // A poll that comes slightly too early waits. Otherwise, if the interval of the polls is `least_interval`, some
        // of them would only repeat the last answers.
        if let Some(answers) = self.repeat_or_wait((deadline / 10).min(MAX_WAIT)).await {
            return answers;
        }
        let started = Instant::now();
        let requests = self.requests(currencies);
        let answers = join_all(requests.iter().map(|request| self.ask(request, deadline))).await;
        let last = LastPoll { started, answers: answers.clone() };
        *self.last_poll.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        answers
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
/// If it has more than `max_bytes`, or if the connection ends before it is complete.
pub(crate) async fn read_bounded(mut response: Response, max_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| anyhow::anyhow!("the answer was cut off"))? {
        ensure!(body.len() + chunk.len() <= max_bytes, "the answer is longer than {max_bytes} bytes");
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
