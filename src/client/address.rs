//! The address of a feed.

use super::error::Error;
use super::transport::Transport;
use reqwest::Url;
use std::fmt;

/// Paths of streams. They are not part of the address of a feed, but users may paste them.
const STREAM_PATHS: [&str; 5] = ["/v1/ws", "/ws", "/pricefeed", "/v1/prices/stream", "/prices/stream"];

/// The address of a feed: everything before its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(Url);

impl Address {
    /// Parses `http://host:port` (or `https`, `ws`, `wss`) or `host:port`. The paths of a feed behind a proxy may begin
    /// with a prefix (`https://example.org/btc`). The prefix stays a part of the address.
    ///
    /// # Errors
    /// [`Error::Address`] if the text has another form.
    pub(super) fn parse(address: &str) -> Result<Address, Error> {
        let invalid = |problem: &str| Error::Address { address: redact(address), problem: problem.to_owned() };
        let whole = match address.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => format!("http://{rest}"),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => format!("https://{rest}"),
            Some(_) => address.to_owned(),
            None => format!("http://{address}"),
        };
        let mut url = Url::parse(&whole).map_err(|error| invalid(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("unknown scheme"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("a query is not part of the address; use options instead"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("a feed has no user names and passwords"));
        }
        let path = url.path().trim_end_matches('/');
        let base = STREAM_PATHS.iter().find_map(|stream| path.strip_suffix(stream)).unwrap_or(path).to_owned();
        url.set_path(&base);
        Ok(Address(url))
    }

    /// Returns true if connections to the address are encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Returns the address of the stream.
    pub(super) fn stream(&self, transport: Transport, query: Option<&str>) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{}", self.0.path().trim_end_matches('/'), transport.path()));
        url.set_query(query);
        url
    }

    /// Returns the address of the prices at a moment.
    pub(super) fn prices_at(&self, query: &str) -> Url {
        let mut url = self.history(query);
        url.set_path(&format!("{}/at", url.path()));
        url
    }

    /// Returns the address of the history.
    pub(super) fn history(&self, query: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/v1/prices", self.0.path().trim_end_matches('/')));
        url.set_query(Some(query));
        url
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Returns an address without the user name and the password in front of its host, for an error.
fn redact(address: &str) -> String {
    // A password may contain `://`, too.
    let split = address.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let (scheme, rest) = split.unwrap_or(("", address));
    match rest.rsplit_once('@') {
        Some((_, host)) if scheme.is_empty() => format!("…@{host}"),
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_form_of_an_address_is_parsed() {
        for (address, stream) in [
            ("http://localhost:8080", "http://localhost:8080/v1/ws?q"),
            ("http://localhost:8080/", "http://localhost:8080/v1/ws?q"),
            ("localhost:8080", "http://localhost:8080/v1/ws?q"),
            ("10.0.0.1", "http://10.0.0.1/v1/ws?q"),
            ("[::1]:8080", "http://[::1]:8080/v1/ws?q"),
            ("ws://localhost:8080/v1/ws", "http://localhost:8080/v1/ws?q"),
            ("wss://feed.example/ws", "https://feed.example/v1/ws?q"),
            ("Ws://feed.example", "http://feed.example/v1/ws?q"),
            ("https://example.org/btc/", "https://example.org/btc/v1/ws?q"),
            ("https://example.org/btc/v1/prices/stream", "https://example.org/btc/v1/ws?q"),
        ] {
            let parsed = Address::parse(address).unwrap();
            assert_eq!(parsed.stream(Transport::WebSocket, Some("q")).as_str(), stream, "{address}");
        }
        let parsed = Address::parse("localhost:8080").unwrap();
        assert_eq!(parsed.stream(Transport::Sse, None).as_str(), "http://localhost:8080/v1/prices/stream");
    }

    #[test]
    fn invalid_address_is_quoted_in_the_error() {
        for address in
            ["", "http://", "ftp://host", "http://host:99999", "http://host/?currency=USD", "http://…@host", "a b"]
        {
            let error = Address::parse(address).unwrap_err().to_string();
            assert!(error.contains(&format!("invalid address {address:?}: ")), "{error}");
        }
    }

    #[test]
    fn error_has_no_part_of_a_password() {
        for address in ["me:secret@host", "http://me:secret@host", "me:sec://ret@host", "https://me:sec://ret@host"] {
            let error = Address::parse(address).unwrap_err().to_string();
            assert!(!error.contains("sec") && error.contains("host"), "{error}");
        }
    }
}
