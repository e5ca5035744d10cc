//! Addresses to listen on.

use super::row::{Rejected, Values};
use std::net::{SocketAddr, ToSocketAddrs};

/// `HOST:PORT`, where `HOST` is an IP address or a name. A name is resolved immediately: its first IPv4 address is
/// used, or its first IPv6 address if it has no IPv4 address.
#[derive(Clone, Copy)]
pub(super) struct ListenAddress;

impl Values for ListenAddress {
    type Value = SocketAddr;

    fn expected(&self) -> String {
        "HOST:PORT such as 0.0.0.0:8080, [::]:8080 or localhost:8080".to_owned()
    }

    fn parse(&self, text: &str) -> Result<SocketAddr, Rejected> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let (host, port) = text.rsplit_once(':').ok_or(Rejected::Unexpected)?;
        let port: u16 = port.parse().map_err(|_| Rejected::Unexpected)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        // A host without letters can only be an invalid IP address, because a valid one has been parsed above.
        let has_letter = host.contains(|c: char| c.is_ascii_alphabetic());
        if !has_letter || !host.chars().all(is_name) {
            return Err(Rejected::Unexpected);
        }
        let failed = |reason: String| Rejected::Because(format!("cannot resolve the host name: {reason}"));
        let found: Vec<_> = (host, port).to_socket_addrs().map_err(|error| failed(error.to_string()))?.collect();
        let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
        first.copied().ok_or_else(|| failed("it has no address".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_host_names_are_accepted() {
        for (text, address) in
            [("0.0.0.0:8080", "0.0.0.0:8080"), ("[::]:80", "[::]:80"), ("localhost:8080", "127.0.0.1:8080")]
        {
            assert_eq!(ListenAddress.parse(text).unwrap().to_string(), address);
        }
        for text in ["8080", ":8080", "localhost", "localhost:99999", "256.0.0.1:80", "a b:80", "http://localhost:80"] {
            assert!(matches!(ListenAddress.parse(text), Err(Rejected::Unexpected)), "{text}");
        }
    }

    #[test]
    fn unknown_host_name_says_that_it_is_unknown() {
        let Err(Rejected::Because(reason)) = ListenAddress.parse("nowhere.invalid:8080") else { panic!("resolved") };
        assert!(reason.starts_with("cannot resolve the host name: "), "{reason}");
    }
}
