//! Asking an exchange over HTTP, guarded against everything that an answer may be: late, endless, a redirect, an HTML page
//! under status 200, or "go away".

use super::{Answer, Api, Failure, Observation, Source};
use crate::text::excerpt;
use crate::tick::Currencies;
use anyhow::{Context, ensure};
use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use std::error::Error;
use std::marker::PhantomData;
use std::time::Duration;
use tokio::time::timeout;
use tracing::debug;

/// The longest answer that is read; real ones are below 3 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The longest reason for an answer that cannot be read. It may quote the answer, and every client gets it in a status.
pub(super) const MAX_REASON_CHARS: usize = 500;
/// How long connecting may take. The whole request is bounded by whoever asks.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// The longest `Retry-After` that is believed: a ban lasts three days at most.
const MAX_REST: Duration = Duration::from_secs(3 * 24 * 3600);
/// How long to rest after "too many requests" without a `Retry-After`.
const DEFAULT_REST: Duration = Duration::from_secs(60);
/// The user agent: some exchanges refuse requests without one.
const USER_AGENT: &str = concat!("btcfeed/", env!("CARGO_PKG_VERSION"));

/// The source that an [`Api`] makes together with HTTP.
pub(super) struct Exchange<A> {
    client: Client,
    base: String,
    api: PhantomData<A>,
}

impl<A: Api> Exchange<A> {
    pub(super) fn open(base: Option<&str>) -> anyhow::Result<Exchange<A>> {
        let base = base.unwrap_or(A::BASE).trim_end_matches('/').to_owned();
        let url = Url::parse(&base).with_context(|| format!("{base:?} is no address"))?;
        ensure!(matches!(url.scheme(), "http" | "https"), "an address begins with http:// or https://, got {base:?}");
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_DEADLINE)
            .build()
            .context("the HTTP client cannot be made")?;
        Ok(Exchange { client, base, api: PhantomData })
    }

    async fn ask(&self, path: &str, currencies: Currencies) -> Answer {
        let fail = |reason: String, retry_after| Failure { currencies, reason, retry_after };
        let request = self.client.get(format!("{}{path}", self.base)).send();
        let response = request.await.map_err(|error| fail(told(&error, "the request failed"), None))?;
        let status = response.status();
        if !status.is_success() {
            return Err(fail(format!("HTTP {status}"), rest_asked(&response)));
        }
        let body = read_bounded(response).await.map_err(|error| format!("{error:#}"));
        body.and_then(|body| read::<A>(&body, currencies)).map_err(|reason| fail(reason, None))
    }
}

#[async_trait]
impl<A: Api> Source for Exchange<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }

    async fn observe(&self, currencies: Currencies, deadline: Duration) -> Vec<Answer> {
        let requests = A::requests(currencies);
        let ask = async |(path, currencies): &(String, Currencies)| {
            let late = |_| Failure {
                currencies: *currencies,
                reason: format!("no answer within {deadline:?}"),
                retry_after: None,
            };
            timeout(deadline, self.ask(path, *currencies)).await.map_err(late).flatten()
        };
        join_all(requests.iter().map(ask)).await
    }
}

/// Reads an answer that has at least one price.
///
/// # Errors
/// The reason, of at most [`MAX_REASON_CHARS`].
pub(super) fn read<A: Api>(body: &[u8], currencies: Currencies) -> Result<Vec<Observation>, String> {
    match A::read(body, currencies) {
        Ok(observations) if observations.is_empty() => Err(format!("the answer has no price in {currencies}")),
        Ok(observations) => Ok(observations),
        Err(error) => {
            let start: String = String::from_utf8_lossy(body).chars().take(60).collect();
            let reason = format!("not the documented answer, it begins {start:?}: {error:#}");
            Err(excerpt(&reason, MAX_REASON_CHARS))
        }
    }
}

async fn read_bounded(mut response: Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| anyhow::anyhow!(told(&error, "the answer broke off")))?
    {
        ensure!(body.len() + chunk.len() <= MAX_ANSWER_BYTES, "the answer is longer than {MAX_ANSWER_BYTES} bytes");
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// How long the source wants to be left alone: 429 and 503 by RFC 9110, 418 is Binance's ban, 451 a refused region.
fn rest_asked(response: &Response) -> Option<Duration> {
    let status = response.status();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let asked = seconds.map(Duration::from_secs);
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::IM_A_TEAPOT | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            Some(asked.unwrap_or(DEFAULT_REST).min(MAX_REST))
        }
        _ => asked.map(|rest| rest.min(MAX_REST)),
    }
}

/// What went wrong, in words that a client may read: how this machine reaches an exchange is nobody's business. The log has
/// the causes.
fn told(error: &reqwest::Error, otherwise: &str) -> String {
    let mut causes = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes = format!("{causes}: {error}");
        cause = error.source();
    }
    debug!(causes, "a request failed");
    let told = if error.is_connect() { "it cannot be reached" } else { otherwise };
    told.to_owned()
}
