//! The causes of failed requests, for the log and for `btcfeed check`. They name the step that failed. Clients read
//! only the public reason, which does not reveal how this machine reaches an exchange.

use std::error::Error;
use std::io;

/// Returns the step that failed, and the reason: `DNS: failed to lookup address information: …`,
/// `connect: Connection refused (os error 111)`, `TLS: invalid peer certificate: …`.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    let has = |begin: &str| texts.iter().any(|text| text.starts_with(begin));
    let step = if has("dns error") {
        "DNS"
    } else if has("tcp connect error") || error.is_connect() && error.is_timeout() {
        "connect"
    } else if error.is_connect() {
        // The name was resolved and TCP is connected, so the TLS handshake or the one with a proxy has failed.
        "TLS"
    } else {
        "HTTP"
    };
    // The text of `error` itself is left out, because it repeats the URL, which may contain a password.
    format!("{step}: {}", texts.last().map_or("the request failed", String::as_str))
}

/// Returns true if the peer closed the connection before the head of its answer was complete.
pub(super) fn is_closed(error: &reqwest::Error) -> bool {
    let is_closing = |cause: &(dyn Error + 'static)| {
        let closed = |error: &hyper::Error| error.is_incomplete_message() || error.is_closed() || error.is_canceled();
        let broken = |error: &io::Error| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        };
        cause.downcast_ref().is_some_and(closed) || cause.downcast_ref().is_some_and(broken)
    };
    let mut cause = error.source().filter(|_| !error.is_connect() && !error.is_timeout());
    while let Some(error) = cause {
        if is_closing(error) {
            return true;
        }
        cause = error.source();
    }
    false
}
