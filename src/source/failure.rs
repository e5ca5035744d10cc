//! The causes of failed requests, for the log and for `btcfeed check`. They name the step that failed. Clients read
//! only the public reason, which does not reveal how this machine reaches an exchange.

use std::error::Error;

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
        // Nothing else is left to do before the request can be sent.
        "TLS"
    } else {
        "HTTP"
    };
    // The text of `error` itself is left out, because it repeats the URL, which may contain a password.
    format!("{step}: {}", texts.last().map_or("the request failed", String::as_str))
}
