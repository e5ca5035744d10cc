//! Where a feed is, as people write it.

use super::{Error, Transport};
use reqwest::Url;

/// Paths that people paste, none of which belongs to the address of the feed itself.
const STREAMS: [&str; 4] = ["/v1/ws", "/ws", "/v1/prices/stream", "/prices/stream"];

/// The address of a feed: everything before its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(Url);

impl Address {
    /// Reads `http://host:port`, `https`, `ws` and `wss` in its place, and `host:port` alone. A path before the feed's own is
    /// kept, for feeds behind a proxy.
    pub(super) fn read(address: &str) -> Result<Address, Error> {
        let wrong = |problem: &str| Error::Address { address: address.to_owned(), problem: problem.to_owned() };
        let whole = match address.split_once("://") {
            Some(("ws" | "WS", rest)) => format!("http://{rest}"),
            Some(("wss" | "WSS", rest)) => format!("https://{rest}"),
            Some(_) => address.to_owned(),
            None => format!("http://{address}"),
        };
        let mut url = Url::parse(&whole).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("there is no such scheme"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("say what you want in options, not behind a question mark"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("a feed takes no user and password"));
        }
        let path = url.path().trim_end_matches('/');
        let base = STREAMS.iter().find_map(|stream| path.strip_suffix(stream)).unwrap_or(path).to_owned();
        url.set_path(&base);
        Ok(Address(url))
    }

    /// Whether what is sent there is encrypted.
    pub(super) fn encrypts(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The address of the stream, with a query.
    pub(super) fn stream(&self, transport: Transport, query: Option<&str>) -> Url {
        let mut url = self.0.clone();
        let path = match transport {
            Transport::WebSocket => "/v1/ws",
            Transport::Sse => "/v1/prices/stream",
            Transport::Grpc => "/btcfeed.v1.PriceFeed/Subscribe",
        };
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (address, stream) in [
            ("http://localhost:8080", "http://localhost:8080/v1/ws?q"),
            ("http://localhost:8080/", "http://localhost:8080/v1/ws?q"),
            ("localhost:8080", "http://localhost:8080/v1/ws?q"),
            ("10.0.0.1", "http://10.0.0.1/v1/ws?q"),
            ("[::1]:8080", "http://[::1]:8080/v1/ws?q"),
            ("ws://localhost:8080/v1/ws", "http://localhost:8080/v1/ws?q"),
            ("wss://feed.example/ws", "https://feed.example/v1/ws?q"),
            ("https://example.org/btc/", "https://example.org/btc/v1/ws?q"),
            ("https://example.org/btc/v1/prices/stream", "https://example.org/btc/v1/ws?q"),
        ] {
            let read = Address::read(address).unwrap();
            assert_eq!(read.stream(Transport::WebSocket, Some("q")).as_str(), stream, "{address}");
        }
        let read = Address::read("localhost:8080").unwrap();
        assert_eq!(read.stream(Transport::Sse, None).as_str(), "http://localhost:8080/v1/prices/stream");
    }

    #[test]
    fn what_is_no_address_is_refused_and_named() {
        for address in
            ["", "http://", "ftp://host", "http://host:99999", "http://host/?currency=USD", "http://me@host", "a b"]
        {
            let error = Address::read(address).unwrap_err().to_string();
            assert!(error.contains(&format!("got {address:?}: ")), "{error}");
        }
    }
}
