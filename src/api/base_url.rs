//! Address under which a client reaches this server. Links are made with it, and descriptions show it.
//!
//! It is `BTCFEED_PUBLIC_URL`. Without this setting, it is the address that the request names in `Host` and, on a
//! connection from a trusted proxy, in `X-Forwarded-Host`, `X-Forwarded-Proto` and `X-Forwarded-Prefix`. A client can
//! send any `Host`, so only plain names are accepted. Responses that contain the address vary by these headers
//! ([`DEPENDS_ON`]), so that no cache gives a client an address that another client has chosen.

use crate::schema::address;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use std::fmt;

/// Headers that determine the address of a server without `BTCFEED_PUBLIC_URL`, as a value of `Vary`.
pub(crate) const DEPENDS_ON: &str = "host, x-forwarded-host, x-forwarded-proto, x-forwarded-prefix";

/// Maximum number of bytes of a host with its port, and of a prefix, so that heads of responses with links stay short.
const MAX_BYTES: usize = 255;

/// Absolute URL of this server, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    is_https: bool,
    authority: String,
    /// Path under which the server is reached, such as `/btc`, or an empty text.
    prefix: String,
}

impl BaseUrl {
    /// Parses `https://feed.example` or `https://example.org/btc`. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<BaseUrl> {
        let (scheme, rest) = text.split_once("://")?;
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        BaseUrl::new(is_https(scheme)?, authority, prefix)
    }

    /// Returns the address, unless a part of it is invalid. A valid part has only characters that need no escaping in
    /// the value of a header, in a JSON string, in HTML and between quotes in a shell.
    fn new(is_https: bool, authority: &str, prefix: &str) -> Option<BaseUrl> {
        let parsed: Authority = authority.parse().ok()?;
        let is_plain = |text: &str, others: &str| {
            text.len() <= MAX_BYTES && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
        };
        // `host()` includes the brackets of an IPv6 address.
        let has_valid_port = match authority.strip_prefix(parsed.host())? {
            "" => true,
            port => port.strip_prefix(':')?.parse::<u16>().is_ok_and(|port| port > 0),
        };
        let prefix = prefix.trim_end_matches('/');
        let is_path = prefix.is_empty() || prefix.starts_with('/');
        let is_normal = !prefix.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
        let is_valid = !parsed.host().is_empty() && has_valid_port && is_path && is_normal;
        (is_valid && is_plain(authority, ".-_:[]") && is_plain(prefix, ".-_~/")).then(|| BaseUrl {
            is_https,
            authority: authority.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// Returns the address that a request names. `is_proxied` is true if the request comes from a trusted proxy.
    pub(crate) fn named_by(uri: &Uri, headers: &HeaderMap, is_https: bool, is_proxied: bool) -> Option<BaseUrl> {
        let forwarded = |name| is_proxied.then(|| last(headers, name)).flatten();
        let is_https = forwarded("x-forwarded-proto").and_then(self::is_https).unwrap_or(is_https);
        let prefix = forwarded("x-forwarded-prefix").unwrap_or_default();
        let host = forwarded("x-forwarded-host").or(requested_host(uri, headers))?;
        BaseUrl::new(is_https, host, prefix)
    }

    /// Returns the host, with the port if it has one.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns what replaces each of [`address::PLACEHOLDERS`].
    pub(crate) fn values(&self) -> [(&'static str, String); address::PLACEHOLDERS.len()] {
        let BaseUrl { is_https, authority, prefix } = self;
        let (http, ws) = if *is_https { ("https", "wss") } else { ("http", "ws") };
        // `grpcurl` needs a port.
        let port = if *is_https { ":443" } else { ":80" };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let target = if has_port { authority.clone() } else { format!("{authority}{port}") };
        // Brackets are a pattern in a shell.
        let quoted = if target.contains('[') { format!("'{target}'") } else { target.clone() };
        let grpcurl = if *is_https { quoted } else { format!("-plaintext {quoted}") };
        [
            (address::HTTP_BASE, format!("{http}://{authority}{prefix}")),
            (address::WS_BASE, format!("{ws}://{authority}{prefix}")),
            (address::GRPCURL, grpcurl),
            (address::AUTHORITY, target),
            (address::PREFIX, prefix.clone()),
            (address::HTTP, http.to_owned()),
            (address::WS, ws.to_owned()),
        ]
    }

    /// Returns the address that documents show if a request names no valid host.
    pub(crate) fn example() -> BaseUrl {
        BaseUrl { is_https: false, authority: "feed.example".to_owned(), prefix: String::new() }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

/// Returns the absolute URL of the path of `uri` with another query (`?…`). If the request names no valid host, `base`
/// is `None`, and the result is only the query, which is a URL relative to that of the request.
pub(crate) fn absolute(base: Option<&BaseUrl>, uri: &Uri, query: &str) -> String {
    base.map_or(query.to_owned(), |base| format!("{base}{}{query}", uri.path()))
}

/// Returns the host that a request names. Over HTTP/2 it is in the URI (RFC 9113 §8.3.1).
pub(crate) fn requested_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    uri.authority().map(Authority::as_str).or(headers.get(HOST).and_then(|host| host.to_str().ok()))
}

/// Returns the last element of a header with a list, which is the one that the nearest proxy wrote.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
}

fn is_https(scheme: &str) -> Option<bool> {
    [("http", false), ("https", true)]
        .into_iter()
        .find_map(|(name, is)| scheme.eq_ignore_ascii_case(name).then_some(is))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    #[test]
    fn setting_is_an_absolute_url_of_plain_parts() {
        for (text, shown) in [
            ("https://feed.example", "https://feed.example"),
            ("https://feed.example/", "https://feed.example"),
            ("HTTP://feed.example:8080/a/btc/", "http://feed.example:8080/a/btc"),
            ("http://[2001:db8::1]:80", "http://[2001:db8::1]:80"),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap().to_string(), shown);
        }
        let invalid = "feed.example /btc ftp://a.example https:// https://a.example:0 https://a.example:99999 \
                       https://a.example: https://u@a.example https://a.example/?x https://a.example/#x \
                       https://a.example//b https://a.example/../b https://ä.example https://a.example/'b \
                       https://<a> https://:80";
        for text in invalid.split(' ').filter(|text| !text.is_empty()) {
            assert_eq!(BaseUrl::parse(text), None, "{text}");
        }
        assert_eq!(BaseUrl::parse(&format!("https://{}.example", "a".repeat(250))), None);
    }

    #[test]
    fn forwarded_headers_count_from_trusted_proxies() {
        let named = |headers: &[(&'static str, &str)], is_https, is_proxied| {
            let header = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
            let headers: HeaderMap = headers.iter().map(header).collect();
            let base = BaseUrl::named_by(&Uri::from_static("/v1/prices"), &headers, is_https, is_proxied);
            base.map(|base| base.to_string()).unwrap_or_default()
        };
        let all = [
            ("host", "replica:8080"),
            ("x-forwarded-host", "evil.example, feed.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/btc/"),
        ];
        assert_eq!(named(&all, false, true), "https://feed.example/btc");
        assert_eq!(named(&all, false, false), "http://replica:8080");
        assert_eq!(named(&all[..1], true, true), "https://replica:8080");
        // The last element of a header is the proxy's.
        assert_eq!(named(&[all[1], ("x-forwarded-prefix", "/a, /b")], false, true), "http://feed.example/b");
        for host in ["", "a b", "a\"><script>", "a/b", "a'b", "u@a"] {
            assert_eq!(named(&[("host", host)], false, false), "", "{host}");
        }
    }
}
