//! URLs, which may hold passwords.

use super::row::{Rejected, Values};
use crate::store::InvalidUrl;
use crate::{source, store};
use secrecy::{ExposeSecret, SecretString};
use std::fs;
use url::Url;

/// The URL of a Redis.
#[derive(Clone, Copy)]
pub(super) struct RedisUrl;

impl Values for RedisUrl {
    type Value = SecretString;

    fn expected(&self) -> String {
        store::Redis::url_forms().to_owned()
    }

    fn parse(&self, text: &str) -> Result<SecretString, Rejected> {
        match store::Redis::check_url(text) {
            Ok(()) => Ok(text.into()),
            Err(InvalidUrl::Unexpected) => Err(Rejected::Unexpected),
            Err(InvalidUrl::Part(reason)) => Err(Rejected::Because(reason)),
        }
    }

    fn redact(&self, text: &str) -> String {
        redact_invalid(text)
    }
}

/// The path of a file that contains the URL of a Redis.
#[derive(Clone, Copy)]
pub(super) struct RedisUrlFile;

impl Values for RedisUrlFile {
    type Value = SecretString;

    fn expected(&self) -> String {
        "the path of a file whose first line is a URL as in REDIS_URL".to_owned()
    }

    fn parse(&self, path: &str) -> Result<SecretString, Rejected> {
        let text = SecretString::from(fs::read_to_string(path).map_err(|error| Rejected::Because(error.to_string()))?);
        let url = text.expose_secret().lines().next().unwrap_or_default().trim();
        // The file is secret, so the error does not quote the whole line.
        RedisUrl.parse(url).map_err(|error| match error {
            Rejected::Because(reason) => {
                Rejected::Because(format!("its first line is no URL that can be used: {reason}"))
            }
            _ => Rejected::Because(format!("its first line is not {}", RedisUrl.expected())),
        })
    }
}

/// HTTP URLs.
#[derive(Clone, Copy)]
pub(super) struct HttpUrl;

impl Values for HttpUrl {
    type Value = SecretString;

    fn expected(&self) -> String {
        "an http:// or https:// URL".to_owned()
    }

    fn parse(&self, text: &str) -> Result<SecretString, Rejected> {
        if source::is_http_url(text) { Ok(text.into()) } else { Err(Rejected::Unexpected) }
    }

    fn redact(&self, text: &str) -> String {
        redact_invalid(text)
    }
}

/// URLs of a collector. A URL with credentials is rejected, because they belong in `OTEL_EXPORTER_OTLP_HEADERS`. A URL
/// with a query is rejected, because a path is appended to the URL.
#[derive(Clone, Copy)]
pub(super) struct CollectorUrl;

impl Values for CollectorUrl {
    type Value = SecretString;

    fn expected(&self) -> String {
        "an http:// or https:// URL without user, password and query".to_owned()
    }

    fn parse(&self, text: &str) -> Result<SecretString, Rejected> {
        let url = Url::parse(text).ok().filter(|_| source::is_http_url(text)).ok_or(Rejected::Unexpected)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Rejected::Because("send credentials in OTEL_EXPORTER_OTLP_HEADERS".to_owned()));
        }
        let has_rest = url.query().is_some() || url.fragment().is_some();
        if has_rest { Err(Rejected::Unexpected) } else { Ok(text.into()) }
    }

    fn redact(&self, text: &str) -> String {
        redact_invalid(text)
    }
}

/// Replaces the password in a valid URL. Any other value stays as it is.
pub fn redact_url(value: &str) -> String {
    if let Some((before, after)) = value.split_once("pass=").filter(|_| store::Redis::is_socket(value)) {
        let rest = after.find('&').map_or("", |end| &after[end..]);
        return format!("{before}pass=***{rest}");
    }
    // The password for the Sentinels is a parameter.
    if let Some((before, after)) = value.split_once("sentinel_password=") {
        let rest = after.find('&').map_or("", |end| &after[end..]);
        return format!("{}sentinel_password=***{rest}", redact_url(before));
    }
    match value.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((user, host)))) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}:***@{host}")
        }
        _ => value.to_owned(),
    }
}

/// Redacts an invalid URL: if it may contain a password, only its scheme is left.
fn redact_invalid(url: &str) -> String {
    let (scheme, rest) = url.find("://").map_or(("", url), |end| url.split_at(end + 3));
    let is_port = |port: &str| port.split('/').next().is_some_and(|port| port.parse::<u16>().is_ok());
    let may_have_password = rest.contains(['@', '?', '#'])
        || rest.split_once(':').is_some_and(|(host, port)| host.is_empty() || !is_port(port));
    if may_have_password { format!("{scheme}***") } else { url.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_url_is_read_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let read = |text: &str| {
            fs::write(path, text).unwrap();
            match RedisUrlFile.parse(path) {
                Ok(url) => Ok(url.expose_secret().to_owned()),
                Err(Rejected::Because(reason)) => Err(reason),
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(read("redis://:secret@redis:6379\n").as_deref(), Ok("redis://:secret@redis:6379"));
        for wrong in ["", "\nredis://redis", "secret"] {
            let error = read(wrong).expect_err(wrong);
            assert!(
                error.starts_with("its first line is not redis://HOST:PORT") && !error.contains("secret"),
                "{error}"
            );
        }
        assert!(RedisUrlFile.parse("/nowhere/url").is_err());
    }

    #[test]
    fn password_in_a_valid_url_is_replaced() {
        assert_eq!(redact_url("redis://me:se@cret@host:6379/0"), "redis://me:***@host:6379/0");
        assert_eq!(redact_url("redis://host:6379"), "redis://host:6379");
        let sentinel = "redis+sentinel://me:secret@s1,s2:1/0?master=m&sentinel_password=se@cret";
        assert_eq!(redact_url(sentinel), "redis+sentinel://me:***@s1,s2:1/0?master=m&sentinel_password=***");
        assert_eq!(redact_url("5s"), "5s");
        assert_eq!(redact_url("unix:///run/r?db=1&pass=se:cret@x&user=me"), "unix:///run/r?db=1&pass=***&user=me");
    }

    #[test]
    fn invalid_url_keeps_only_its_scheme() {
        for (wrong, shown) in [
            ("redis:/user:secret@host", "***"),
            ("redis://:secret", "redis://***"),
            ("redis://user:secret@host:99999", "redis://***"),
            ("redis://host:secret", "redis://***"),
            ("http://user:sec@ret@host", "http://***"),
            ("unix:/run/redis?pass=secret", "***"),
        ] {
            assert_eq!(redact_invalid(wrong), shown);
        }
    }

    #[test]
    fn url_of_a_collector_has_no_secret_and_no_query() {
        for url in ["http://collector:4318", "https://collector.example/otlp/"] {
            assert!(CollectorUrl.parse(url).is_ok(), "{url}");
        }
        for url in ["http://collector:4318?key=secret", "http://collector#x", "collector:4318", "ftp://collector"] {
            assert!(matches!(CollectorUrl.parse(url), Err(Rejected::Unexpected)), "{url}");
        }
        for url in ["http://me:secret@collector", "http://me@collector"] {
            let Err(Rejected::Because(reason)) = CollectorUrl.parse(url) else { panic!("{url} is accepted") };
            assert!(reason.contains("OTEL_EXPORTER_OTLP_HEADERS") && !reason.contains("secret"), "{reason}");
            assert_eq!(CollectorUrl.redact(url), "http://***");
        }
    }

    #[test]
    fn http_urls_need_a_scheme_and_a_host() {
        for (url, is_valid) in [
            ("https://api.kraken.com", true),
            ("http://me:secret@[::1]:80/x", true),
            ("ftp://kraken", false),
            ("kraken.com", false),
            ("https://", false),
        ] {
            assert_eq!(HttpUrl.parse(url).is_ok(), is_valid, "{url}");
        }
    }
}
