//! The reasons why a connection ended or could not be opened, and whether another attempt may succeed.

use super::address::Address;
use super::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// The problem with a server that does not answer HTTP/2 with HTTP/2.
pub(super) const NO_HTTP2: &str = "it does not support HTTP/2";

/// The reason why a connection ended or could not be opened.
#[derive(Debug)]
pub(super) enum Disconnect {
    /// Another attempt may succeed.
    Retry {
        why: String,
        /// The pause that the server asks for.
        retry_after: Option<Duration>,
    },
    /// Another attempt would fail, too.
    Final(Error),
}

impl Disconnect {
    pub(super) fn retry(why: impl Into<String>) -> Disconnect {
        Disconnect::Retry { why: printable(&why.into()), retry_after: None }
    }

    /// Returns the failure of a connection to a server that is not a feed.
    pub(super) fn no_feed(problem: &str) -> Disconnect {
        Disconnect::Final(Error::NoFeed { problem: printable(problem) })
    }

    /// Returns the failure of a request that would be refused again.
    pub(super) fn refused(status: u16, detail: &str) -> Disconnect {
        Disconnect::Final(Error::Refused { status, detail: printable(detail) })
    }

    /// Returns the failure for an error of a library. It describes the root cause, because the errors around the cause
    /// only describe the library.
    pub(super) fn caused_by(error: &(dyn std::error::Error + 'static)) -> Disconnect {
        let root = root_cause(error);
        if root.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return Disconnect::retry("the connection was closed without an answer");
        }
        Disconnect::retry(description(root))
    }

    /// Adds the address of the server and advice about TLS to the explanation. If there is a proxy on the way to the
    /// server, adds the proxy, too. A final error gets at most the advice.
    pub(super) fn at(self, address: &Address, proxy: Option<&str>) -> Disconnect {
        match self {
            Disconnect::Retry { why, retry_after } => {
                let hint = tls_hint(&why, address.is_encrypted());
                let proxy = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
                Disconnect::Retry { why: format!("{address}{proxy}: {why}{hint}"), retry_after }
            }
            Disconnect::Final(Error::NoFeed { problem }) => {
                let hint = tls_hint(&problem, address.is_encrypted());
                Disconnect::Final(Error::NoFeed { problem: format!("{problem}{hint}") })
            }
            Disconnect::Final(error) => Disconnect::Final(error),
        }
    }

    /// Returns the failure of a request that was answered with an unexpected status.
    pub(super) fn status(status: u16, detail: &str, retry_after: Option<Duration>) -> Disconnect {
        match status {
            200..=299 => Disconnect::no_feed(&format!("it answers HTTP {status}")),
            // After 408 (Request Timeout), 425 (Too Early) and 429 (Too Many Requests), the next attempt may succeed.
            300..=499 if !matches!(status, 408 | 425 | 429) => Disconnect::refused(status, detail),
            _ => Disconnect::Retry { why: printable(&format!("HTTP {status}: {detail}")), retry_after },
        }
    }

    /// Returns the failure of a WebSocket that was closed with a code (RFC 6455 §7.4). The codes of a feed from 4500 on
    /// mean "do not reconnect".
    pub(super) fn closed(code: u16, reason: &str) -> Disconnect {
        let reason = printable(reason);
        match (code, reason.as_str()) {
            (4500..=4999, _) => Disconnect::Final(Error::Closed { code, reason }),
            (_, "") => Disconnect::retry(format!("the server closed the connection with {code}")),
            (_, _) => Disconnect::retry(format!("the server closed the connection with {code}: {reason}")),
        }
    }
}

/// The description of an answer that is not HTTP.
const NOT_HTTP: &str = "the answer is not HTTP";
/// The description of a TLS handshake that was not answered with TLS.
const NOT_TLS: &str = "the answer is not TLS";

/// Describes the root cause of a failure for people. Some texts of libraries name only their own types.
fn description(root: &(dyn std::error::Error + 'static)) -> String {
    let text = root.to_string();
    if root.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        return "connection refused: no server listens on this port".to_owned();
    }
    if root.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        return NOT_HTTP.to_owned();
    }
    if text.contains("InvalidContentType") {
        return NOT_TLS.to_owned();
    }
    match text.strip_prefix("failed to lookup address information: ") {
        Some(reason) => format!("the name of the host cannot be resolved: {reason}"),
        None => text,
    }
}

/// Returns advice for the user if probably only one side uses TLS, or if the client does not know the authority of the
/// server's certificate. `why` describes the failure.
fn tls_hint(why: &str, is_encrypted: bool) -> &'static str {
    if is_encrypted && why == NOT_TLS {
        "; perhaps the server does not use TLS: try http://"
    } else if is_encrypted && why.contains("UnknownIssuer") {
        "; if the server's certificate is from an authority of your own, give the authority's certificate (--ca, Builder::authority)"
    } else if !is_encrypted && why == NOT_HTTP {
        "; the server may use TLS (try https://), or it is another kind of server"
    } else if !is_encrypted && why == NO_HTTP2 {
        "; the server may use TLS: try https://"
    } else {
        ""
    }
}

/// Returns the root cause of an error.
pub(super) fn root_cause<'a>(
    mut error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

/// Returns text of a server in a form that is safe to print: on one line, of bounded length, and without control
/// characters, which could move a terminal's cursor.
fn printable(text: &str) -> String {
    const MAX_CHARACTERS: usize = 500;
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MAX_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_that_repeat_are_final() {
        for status in [200, 204, 301, 400, 401, 403, 404, 405, 410, 426] {
            assert!(matches!(Disconnect::status(status, "", None), Disconnect::Final(_)), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(Disconnect::status(status, "", None), Disconnect::Retry { .. }), "{status}");
        }
        for (code, last) in [(1000, false), (1001, false), (1011, false), (4408, false), (4499, false), (4500, true)] {
            assert_eq!(matches!(Disconnect::closed(code, ""), Disconnect::Final(_)), last, "{code}");
        }
    }

    #[test]
    fn scheme_and_authority_errors_have_a_hint() {
        let why = |address: &str, why: &str| match Disconnect::retry(why).at(&Address::parse(address).unwrap(), None) {
            Disconnect::Retry { why, .. } => why,
            Disconnect::Final(error) => panic!("{error}"),
        };
        let (http, https) = ("feed.example:80", "wss://feed.example/v1/ws");
        assert_eq!(why(http, "no route"), "http://feed.example: no route");
        assert!(why(http, NOT_HTTP).contains("; the server may use TLS (try https://)"));
        let unknown = why(https, "invalid peer certificate: UnknownIssuer");
        assert!(unknown.starts_with("https://feed.example: ") && unknown.contains("--ca"), "{unknown}");
        let plain = why(https, NOT_TLS);
        assert!(plain.ends_with("; perhaps the server does not use TLS: try http://"), "{plain}");
    }

    #[test]
    fn proxy_is_named_after_the_address() {
        let address = Address::parse("feed.example:80").unwrap();
        let Disconnect::Retry { why, .. } = Disconnect::retry("cut").at(&address, Some("10.0.0.1:3128")) else {
            panic!("it is retried")
        };
        assert_eq!(why, "http://feed.example through the proxy 10.0.0.1:3128: cut");
    }

    #[test]
    fn text_of_a_server_is_safe_to_print() {
        let Disconnect::Retry { why, .. } = Disconnect::closed(1001, &format!("a\x1b[2Jb\r\n{}", "c".repeat(9999)))
        else {
            panic!("1001 is not final")
        };
        assert!(why.starts_with("the server closed the connection with 1001: a [2Jb  cc") && why.len() < 600, "{why}");
    }
}
