//! Cross-origin access: the pages of other origins that may read the feed in a browser.

use super::base_url::{BaseUrl, requested_host};
use super::headers::{REQUEST_ID, SIMULATED, STATE, TICK_AGE};
use axum::http::header::{ETAG, LINK, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use std::time::Duration;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use url::Url;

/// Time for which a browser may cache the response to a preflight request.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Origins whose pages may read the feed. Prices are public and no cookies are used, so this only protects the
/// bandwidth of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Every origin.
    Any,
    /// These origins.
    Only(Vec<HeaderValue>),
}

impl Cors {
    /// Parses `*`, `none`, or a comma-separated list of origins (`https://example.org`). Returns `None` for anything
    /// else.
    pub fn parse(text: &str) -> Option<Cors> {
        match text {
            "*" => Some(Cors::Any),
            "none" => Some(Cors::Only(Vec::new())),
            _ => text.split(',').map(|origin| parse_origin(origin.trim())).collect::<Option<_>>().map(Cors::Only),
        }
    }

    /// Returns whether a page may open a WebSocket. Browsers allow every page to do this, and send the page's origin,
    /// so that the server can decide (RFC 6455 §10.2). Pages of this server may always do it. `base` is the address
    /// under which the client reaches this server, which a proxy may know better than the request.
    pub(crate) fn admits(&self, base: Option<&BaseUrl>, uri: &Uri, headers: &HeaderMap) -> bool {
        let (Cors::Only(origins), Some(origin)) = (self, headers.get(ORIGIN)) else { return true };
        let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        let own = [requested_host(uri, headers), base.map(BaseUrl::authority)];
        host.is_some() && own.contains(&host) || origins.contains(origin)
    }

    /// Returns a layer that answers preflight requests and adds the headers.
    pub(crate) fn layer(&self) -> CorsLayer {
        // By default, `Vary` names the origin and two headers of preflight requests. Caches do not store responses to
        // preflight requests, so the two headers are left out. If every origin is allowed, the origin is left out, too.
        // A short `Vary` matters, because nginx does not cache a response whose `Vary` is long.
        let (origins, vary) = match self {
            Cors::Any => (AllowOrigin::any(), Vec::new()),
            Cors::Only(origins) => (AllowOrigin::list(origins.iter().cloned()), vec![ORIGIN]),
        };
        CorsLayer::new()
            .vary(vary)
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::HEAD])
            // Libraries add headers of their own, such as those of traces. No header gives a page more rights.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([ETAG, LINK, RETRY_AFTER, REQUEST_ID, STATE, TICK_AGE, SIMULATED])
            .max_age(REMEMBERED)
    }
}

/// Parses an origin as browsers write it (RFC 6454 §6.2): the scheme, the host and, if it is not the default, the port.
/// Other spellings, such as capital letters or a default port, are rejected, because they would never match. Port 0 is
/// rejected, too.
fn parse_origin(text: &str) -> Option<HeaderValue> {
    // A wildcard inside a host is valid in a URL, but no browser sends it.
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && !text.contains('*'))?;
    (url.port() != Some(0) && url.origin().ascii_serialization() == text).then(|| HeaderValue::from_str(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_all_none_or_a_list() {
        assert_eq!(Cors::parse("*"), Some(Cors::Any));
        assert_eq!(Cors::parse("none"), Some(Cors::Only(vec![])));
        let named = ["https://a.example", "http://localhost:3000"].map(HeaderValue::from_static).to_vec();
        assert_eq!(Cors::parse("https://a.example, http://localhost:3000"), Some(Cors::Only(named)));
        for text in ["", "a.example", "https://", "https://a.example/", "https://*.example", "ftp://a.example", "*,*"] {
            assert_eq!(Cors::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn other_spellings_of_origins_are_rejected() {
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
