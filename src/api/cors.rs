//! Which pages of other origins may read the feed in a browser.

use axum::http::header::{CONTENT_TYPE, ETAG, HOST, HeaderName, IF_NONE_MATCH, LINK, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use std::net::Ipv6Addr;
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember what it was allowed.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The origins whose pages may read the feed. Prices are public and no cookie is looked at, so nothing depends on it but
/// who may use this server's bandwidth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Any.
    Any,
    /// These, none if it is empty.
    Only(Vec<HeaderValue>),
}

impl Cors {
    /// Reads `*`, `none`, or origins with commas between them (`https://example.org`). `None` if it is none of these.
    pub fn parse(text: &str) -> Option<Cors> {
        match text {
            "*" => Some(Cors::Any),
            "none" => Some(Cors::Only(Vec::new())),
            _ => text.split(',').map(|origin| parse_origin(origin.trim())).collect::<Option<_>>().map(Cors::Only),
        }
    }

    /// Whether a page may open a WebSocket. Browsers leave that to the server, and send the page's origin (RFC 6455 §10.2);
    /// the pages of this server itself always may.
    pub(crate) fn admits(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let (Cors::Only(origins), Some(origin)) = (self, headers.get(ORIGIN)) else { return true };
        let host_of = |origin: &HeaderValue| Some(origin.to_str().ok()?.split_once("://")?.1.to_owned());
        // Over HTTP/2 the host stands in the URI (RFC 9113 §8.3.1).
        let own = uri.authority().map(|own| own.as_str().as_bytes()).or(headers.get(HOST).map(HeaderValue::as_bytes));
        let own = host_of(origin).is_some_and(|host| own == Some(host.as_bytes()));
        own || origins.contains(origin)
    }

    pub(crate) fn layer(&self) -> CorsLayer {
        let origins = match self {
            Cors::Any => AllowOrigin::any(),
            Cors::Only(origins) => AllowOrigin::list(origins.iter().cloned()),
        };
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::HEAD])
            .allow_headers([CONTENT_TYPE, IF_NONE_MATCH, HeaderName::from_static("last-event-id")])
            .expose_headers([ETAG, LINK, RETRY_AFTER])
            .max_age(REMEMBERED)
    }
}

/// An origin as browsers write it: scheme, host and perhaps a port, nothing behind it (RFC 6454 §6.2). They write the host in
/// small letters and in ASCII, and leave out the port that the scheme has by itself; what is written otherwise would never match.
fn parse_origin(text: &str) -> Option<HeaderValue> {
    let (scheme, rest) = text.split_once("://")?;
    let default_port = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return None,
    };
    let (host, port) = match rest.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good_host = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address),
        None => {
            !host.is_empty() && host.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
        }
    };
    let good_port = port.is_none_or(|port| {
        port != default_port && port.parse::<u16>().is_ok_and(|parsed| parsed > 0 && parsed.to_string() == port)
    });
    HeaderValue::from_str(text).ok().filter(|_| good_host && good_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_all_none_or_named() {
        assert_eq!(Cors::parse("*"), Some(Cors::Any));
        assert_eq!(Cors::parse("none"), Some(Cors::Only(vec![])));
        let named = ["https://a.example", "http://localhost:3000"].map(HeaderValue::from_static).to_vec();
        assert_eq!(Cors::parse("https://a.example, http://localhost:3000"), Some(Cors::Only(named)));
        for text in ["", "a.example", "https://", "https://a.example/", "https://*.example", "ftp://a.example", "*,*"] {
            assert_eq!(Cors::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_origin_that_no_browser_would_write_so_is_refused() {
        for text in ["https://[2001:db8::1]", "http://[::1]:8080", "https://a.example:80", "http://127.0.0.1:443"] {
            assert!(Cors::parse(text).is_some(), "{text}");
        }
        let never = "https://A.example https://a.example:443 http://a.example:80 HTTPS://a.example https://ä.example \
                     https://a.example: https://a.example:0 https://a.example:08 https://a.example:65536 https://::1 \
                     https://[::01] https://[::1]:443 https://[a.example]";
        for text in never.split(' ') {
            assert_eq!(Cors::parse(text), None, "{text}");
        }
    }
}
