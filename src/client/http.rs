//! One GET request, and what its answer means if it is not the one that was hoped for. WebSocket and SSE begin with it.

use super::failure::root;
use super::{Error, Failure};
use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use serde::Deserialize;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// How we call ourselves.
const USER_AGENT: &str = concat!("btcfeed/", env!("CARGO_PKG_VERSION"));
/// The most that is read of an answer which refuses, and how long that may take.
const REFUSAL_BYTES: usize = 8 * 1024;
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);

/// What is spoken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Version {
    /// A WebSocket begins with nothing else, and everything in between speaks it.
    Http1,
    /// gRPC needs it. It has pings of its own: a line on which they are not answered for `silence` is given up.
    Http2 { silence: Duration },
}

/// The client that all connections of a subscription are made with, from an address of this machine if there is a choice. Only who
/// `encrypts` needs certificates; a small container has none.
pub(super) fn client(encrypts: bool, version: Version, from: Option<IpAddr>) -> Result<Client, Error> {
    let builder = if encrypts { Client::builder() } else { Client::builder().tls_certs_only([]) };
    let builder = match version {
        Version::Http1 => builder.http1_only(),
        Version::Http2 { silence } => builder
            .http2_prior_knowledge()
            .http2_keep_alive_interval(silence / 2)
            .http2_keep_alive_timeout(silence / 2)
            .http2_keep_alive_while_idle(true),
    };
    builder
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .tcp_nodelay(true)
        .local_address(from)
        .build()
        .map_err(|error| Error::Setup(root(&error).to_string()))
}

/// The failure that an answer is.
pub(super) async fn refusal(response: Response) -> Failure {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after, location) = (header(RETRY_AFTER), header(LOCATION));
    let retry_after = retry_after.and_then(|text| read_retry_after(&text, SystemTime::now()));
    let body = timeout(REFUSAL_DEADLINE, start_of(response)).await.unwrap_or_default();
    let detail = match (location, detail(&body)) {
        (Some(location), _) if status.is_redirection() => format!("it moved to {location}, use that address"),
        (_, Some(detail)) => detail,
        // A feed has these paths; a proxy that has lost its feed for a moment answers 502 or 503.
        (_, None) if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            return Failure::no_feed(&format!("it answers HTTP {} to a request for a stream", status.as_u16()));
        }
        (_, None) => status.canonical_reason().unwrap_or("no reason given").to_owned(),
    };
    Failure::refused(status.as_u16(), &detail, retry_after)
}

async fn start_of(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(REFUSAL_BYTES - body.len())]);
        if body.len() == REFUSAL_BYTES {
            break;
        }
    }
    body
}

/// What problem details (RFC 9457) say. Any other page is for browsers, and says nothing that fits on a line.
fn detail(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    serde_json::from_slice(body).ok().map(|Problem { detail }| detail)
}

/// Seconds or a date (RFC 9110 §10.2.3).
fn read_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
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
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770); // Sun, 06 Nov 1994 08:49:30 GMT
        let read = |text| read_retry_after(text, now);
        assert_eq!(read("5"), Some(Duration::from_secs(5)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn only_problem_details_are_passed_on() {
        assert_eq!(detail(br#"{"title":"Bad Request","detail":"currency reads"}"#).as_deref(), Some("currency reads"));
        assert_eq!(detail(b"<html>502 Bad Gateway</html>"), None);
    }
}
