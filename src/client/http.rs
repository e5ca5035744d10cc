//! The HTTP client of all transports, and the error for a response that is not a stream.

use super::disconnect::{Disconnect, root_cause};
use super::error::Error;
use super::options::ClientOptions;
use crate::message::ProblemDetails;
use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, StatusCode, redirect};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

const USER_AGENT: &str = concat!("btcfeed/", env!("CARGO_PKG_VERSION"));
/// The maximum number of bytes to read of a refusal.
const MAX_REFUSAL_BYTES: usize = 8 * 1024;
/// The maximum number of bytes of a text from the history. Real ones have less than a tenth. The limit protects the
/// memory.
const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;
/// The maximum time to read a refusal.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);

/// The version of HTTP.
#[derive(Clone, Copy, Debug)]
pub(super) enum Version {
    /// HTTP/1.1, which WebSocket needs and every proxy supports.
    Http1,
    /// HTTP/2, which gRPC needs. If no ping is answered for `silence_timeout`, the connection is closed.
    #[cfg(feature = "grpc")]
    Http2 { silence_timeout: Duration },
}

/// Returns the HTTP client for all connections to a feed. It trusts `options.authorities` if they are given, and
/// otherwise the certificates of the system. These are loaded only if connections are `encrypted`, because small
/// containers have none.
///
/// # Errors
/// [`Error::Setup`] if the client cannot be created.
pub(super) fn client(encrypted: bool, version: Version, options: &ClientOptions) -> Result<Client, Error> {
    let builder = match &options.authorities {
        Some(pem) => Client::builder().tls_certs_only(authorities(pem)?),
        None if encrypted => Client::builder(),
        None => Client::builder().tls_certs_only([]),
    };
    let builder = match version {
        Version::Http1 => builder.http1_only(),
        #[cfg(feature = "grpc")]
        Version::Http2 { silence_timeout } => builder
            .http2_prior_knowledge()
            .http2_keep_alive_interval(silence_timeout / 2)
            .http2_keep_alive_timeout(silence_timeout / 2)
            .http2_keep_alive_while_idle(true),
    };
    builder
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .tcp_nodelay(true)
        .local_address(options.local_address)
        .build()
        .map_err(|error| Error::Setup(root_cause(&error).to_string()))
}

/// Parses certificates in PEM.
fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, Error> {
    let invalid = |problem: &str| Error::Setup(format!("invalid certificate authorities: {problem}"));
    let found = Certificate::from_pem_bundle(pem).map_err(|error| invalid(&root_cause(&error).to_string()))?;
    if found.is_empty() { Err(invalid("expected PEM text with a certificate")) } else { Ok(found) }
}

/// Returns the failure for an unexpected response.
pub(super) async fn refusal(response: Response) -> Disconnect {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after, location) = (header(RETRY_AFTER), header(LOCATION));
    let retry_after = retry_after.and_then(|text| parse_retry_after(&text, SystemTime::now()));
    let mut body = Vec::new();
    // Even if the response does not end in time, the part that has arrived may be a whole explanation.
    timeout(REFUSAL_DEADLINE, read_body(response, MAX_REFUSAL_BYTES, &mut body)).await.ok();
    let detail = match (location, detail(&body)) {
        (Some(location), _) if status.is_redirection() => format!("it moved to {location}, use that address"),
        (_, Some(detail)) => detail,
        // Without an explanation, 404 and 405 mean that there is no feed: each feed has the paths of the streams, and a
        // proxy whose feed is unavailable answers with 502 or 503.
        (_, None) if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            return Disconnect::no_feed(&format!("it answers HTTP {}", status.as_u16()));
        }
        (_, None) => status.canonical_reason().unwrap_or("no reason given").to_owned(),
    };
    Disconnect::status(status.as_u16(), &detail, retry_after)
}

/// Reads a text from the history.
pub(super) async fn text(response: Response) -> Result<String, Disconnect> {
    let mut body = Vec::new();
    read_body(response, MAX_TEXT_BYTES + 1, &mut body).await.map_err(|error| Disconnect::caused_by(&error))?;
    if body.len() > MAX_TEXT_BYTES {
        return Err(Disconnect::no_feed(&format!("its answer has more than {MAX_TEXT_BYTES} bytes")));
    }
    String::from_utf8(body).map_err(|_| Disconnect::no_feed("its answer is not UTF-8"))
}

/// Reads at most `max` bytes of a response.
async fn read_body(mut response: Response, max: usize, body: &mut Vec<u8>) -> reqwest::Result<()> {
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(max - body.len())]);
        if body.len() == max {
            break;
        }
    }
    Ok(())
}

/// Returns the explanation in problem details (RFC 9457). Any other body is probably a page for browsers, which is too
/// long for an error.
fn detail(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<ProblemDetails<'_>>(body).ok().map(|problem| problem.detail.into_owned())
}

/// Parses seconds or a date (RFC 9110 §10.2.3).
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770); // Sun, 06 Nov 1994 08:49:30 GMT
        let parse = |text| parse_retry_after(text, now);
        assert_eq!(parse("5"), Some(Duration::from_secs(5)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("soon"), None);
    }

    #[test]
    fn only_problem_details_are_passed_on() {
        assert_eq!(
            detail(br#"{"title":"Bad Request","detail":"invalid currency"}"#).as_deref(),
            Some("invalid currency")
        );
        assert_eq!(detail(b"<html>502 Bad Gateway</html>"), None);
    }
}
