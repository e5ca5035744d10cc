//! Address of a client, even if it is behind proxies.
//!
//! Each proxy appends the address that it sees to the header `X-Forwarded-For` (or `Forwarded`, RFC 7239). Any client
//! can send these headers, too, so they count only on a connection from a trusted proxy. The list is read from its end.
//! The first address that is not a trusted proxy is that of the client. All addresses to its left are ignored, because
//! the client may have written them.

use axum::http::HeaderMap;
#[cfg(any(test, fuzzing))]
use axum::http::HeaderValue;
use axum::http::header::{FORWARDED, HeaderName};
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Maximum number of proxies between a client and a replica. Further addresses are ignored.
const MAX_HOPS: usize = 16;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses of the proxies whose headers count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(if networks.is_empty() { "none".to_owned() } else { networks.join(",") }.as_str())
    }
}

impl TrustedProxies {
    /// Parses `none`, or a comma-separated list of addresses and networks.
    ///
    /// # Errors
    /// The first part that is not an address or a network.
    pub fn parse(text: &str) -> Result<TrustedProxies, String> {
        if text == "none" {
            return Ok(TrustedProxies::default());
        }
        let parse = |part: &str| {
            let network = part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
            network.map(|network| network.trunc()).map_err(|_| part.to_owned())
        };
        text.split(',').map(|part| parse(part.trim())).collect::<Result<_, _>>().map(TrustedProxies)
    }

    /// Returns the addresses of this machine itself.
    pub(crate) fn loopback() -> TrustedProxies {
        let v4 = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        TrustedProxies([IpNet::V4(v4), IpAddr::from(Ipv6Addr::LOCALHOST).into()].into())
    }

    /// Returns whether this address is a trusted proxy.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the address of the client that sent a request with these headers over a connection from `peer`. If a
    /// proxy does not report the address of its client, the result is the address of the proxy.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.contains(client) {
            return client;
        }
        // A proxy that appends to only one of the headers forwards the other one as the client sent it. Nearly all
        // proxies append to `X-Forwarded-For`, so `Forwarded` counts only if there is no `X-Forwarded-For`.
        let (name, read): (_, fn(&str) -> Option<IpAddr>) =
            if headers.contains_key(&X_FORWARDED_FOR) { (X_FORWARDED_FOR, node) } else { (FORWARDED, forwarded_for) };
        let values = headers.get_all(name).into_iter().rev();
        let hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(read) else { break };
            client = address;
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

/// Reads the input as headers of proxies, one value a line: those that begin with `F` are `Forwarded`, others
/// `X-Forwarded-For`. Checks that the part of the list that the client wrote has no effect.
///
/// # Panics
/// If it has an effect.
#[cfg(any(test, fuzzing))]
pub(crate) fn check(input: &[u8]) {
    let proxies = TrustedProxies::parse("10.0.0.0/8,fd00::/8").expect("these are networks");
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(100) {
        let (name, value) = match line {
            [b'F', value @ ..] => (FORWARDED, value),
            value => (X_FORWARDED_FOR, value),
        };
        headers.extend(HeaderValue::from_bytes(value).map(|value| (name, value)));
    }
    let [stranger, proxy] = [IpAddr::from([198, 51, 100, 1]), IpAddr::from([10, 0, 0, 1])];
    assert_eq!(proxies.client(stranger, &headers), stranger, "a stranger's headers have no meaning");
    let client = proxies.client(proxy, &headers);
    if proxies.contains(client) {
        return;
    }
    // Reading stops at the client's address, so the client may have written whatever stands before it.
    let name = if headers.contains_key(&X_FORWARDED_FOR) { X_FORWARDED_FOR } else { FORWARDED };
    let mut forged = HeaderMap::new();
    forged.append(&name, HeaderValue::from_static("203.0.113.9, for=203.0.113.9, 10.0.0.2"));
    for value in headers.get_all(&name) {
        forged.append(&name, value.clone());
    }
    assert_eq!(proxies.client(proxy, &forged), client);
}

/// Parses one element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(value)
}

/// Parses an address, with or without a port, quotes and brackets.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(bare).map(|address: IpAddr| address.to_canonical())
}

/// Addresses that count as one: an IPv4 address, or a /64 network of IPv6, because a provider gives such a network to a
/// single customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "IpAddr", into = "IpAddr")]
pub(crate) struct AddressBlock(IpAddr);

impl From<AddressBlock> for IpAddr {
    fn from(block: AddressBlock) -> IpAddr {
        block.0
    }
}

impl From<IpAddr> for AddressBlock {
    fn from(address: IpAddr) -> AddressBlock {
        AddressBlock(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let proxies = TrustedProxies::parse("10.0.0.0/8, 192.0.2.7,2001:db8:1::/48").unwrap();
        let header = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        proxies.client(peer.parse().unwrap(), &headers.iter().map(header).collect()).to_string()
    }

    #[test]
    fn strangers_cannot_choose_their_address() {
        let spoofed = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")];
        assert_eq!(client("198.51.100.1", &spoofed), "198.51.100.1");
        // What the client sent comes before what the proxy appended.
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, 198.51.100.1")]), "198.51.100.1");
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client("10.0.0.1", &lines), "198.51.100.1");
        // Only one of the headers is the proxy's.
        let both = [("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client("10.0.0.1", &both), "198.51.100.1");
        // An unfinished quoted string of the client does not hide what the proxy appended.
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=\"x, for=198.51.100.1")]), "198.51.100.1");
    }

    #[test]
    fn chains_of_trusted_proxies_are_followed() {
        let chain = "203.0.113.9, 198.51.100.1, 192.0.2.7, 10.9.9.9";
        assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", chain)]), "198.51.100.1");
        assert_eq!(client("2001:db8:1::5", &[("x-forwarded-for", "10.0.0.3,10.0.0.2")]), "10.0.0.3");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (text, address) in [
            ("198.51.100.1:4711", "198.51.100.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", text)]), address);
            let forwarded = format!("for=10.3.3.3, proto=http ; For=\"{text}\";by=_x");
            assert_eq!(client("10.0.0.1", &[("forwarded", &forwarded)]), address);
        }
        for text in ["", "unknown", "_hidden", "198.51.100", "198.51.100.1:99999", "[198.51.100.1]", ",", "é"] {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", text)]), "10.0.0.1", "{text:?}");
            assert_eq!(client("10.0.0.1", &[("forwarded", &format!("for={text}"))]), "10.0.0.1", "{text:?}");
        }
        // What stands before an unreadable element is not trusted.
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "198.51.100.1, unknown, 10.0.0.2")]), "10.0.0.2");
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        assert_eq!(TrustedProxies::parse("none"), Ok(TrustedProxies::default()));
        assert_eq!(TrustedProxies::parse("10.0.0.1/8"), TrustedProxies::parse("10.0.0.0/8"));
        assert_eq!(TrustedProxies::parse("127.0.0.0/8,::1"), Ok(TrustedProxies::loopback()));
        assert!(TrustedProxies::parse("0.0.0.0/0,::/0").unwrap().contains("2001:db8::1".parse().unwrap()));
        for (text, part) in [("", ""), ("10.0.0.1,", ""), ("10.0.0.0/33", "10.0.0.0/33"), ("::1, proxy", "proxy")] {
            assert_eq!(TrustedProxies::parse(text), Err(part.to_owned()));
        }
    }

    #[test]
    fn ipv6_counts_by_network() {
        let block = |text: &str| AddressBlock::from(text.parse::<IpAddr>().unwrap()).to_string();
        assert_eq!(block("2001:db8:0:1:ffff::9"), "2001:db8:0:1::/64");
        assert_eq!(block("::ffff:198.51.100.1"), "198.51.100.1");
        assert_eq!(block("198.51.100.1"), "198.51.100.1");
    }

    proptest! {
        #[test]
        fn any_header_is_harmless(value in prop::collection::vec(32_u8.., 0..200), name in 0..2) {
            let name = [X_FORWARDED_FOR, FORWARDED][usize::try_from(name).unwrap()].clone();
            let Ok(value) = axum::http::HeaderValue::from_bytes(&value) else { return Ok(()) };
            let proxies = TrustedProxies::parse("0.0.0.0/0").unwrap();
            proxies.client(IpAddr::from([127, 0, 0, 1]), &[(name, value)].into_iter().collect());
        }
    }
}
