//! PROXY protocol, versions 1 and 2: a proxy that forwards TCP sends a header with the address of its client, and then
//! the bytes of the client. The specification is `proxy-protocol.txt` of `HAProxy`.
//!
//! Anyone could send such a header, so only trusted proxies may connect to a port with this protocol, and each of their
//! connections must begin with a header. A connection without a valid one is closed without an answer: its client is
//! not known, so no limit could apply to it. A proxy that forwards TCP adds no HTTP headers. So a header that names a
//! client, such as `X-Forwarded-For`, comes from the client itself, and is ignored on this port.

use crate::admission::client_address::TrustedProxies;
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::PROXY_HEADER_FAILURES;
use bytes::{Buf, BytesMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::{FromStr, Split};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

/// Maximum length of a header. With addresses alone, it has at most 232 bytes. The rest is for the fields that some
/// proxies add, such as the certificate of a client.
const MAX_HEADER_BYTES: usize = 4096;
/// Maximum length of a header of version 1 (specification, section 2.1).
const MAX_LINE_BYTES: usize = 107;
/// Initial capacity of the buffer, for the header and the client's first bytes.
const BUFFER_BYTES: usize = 1024;
/// Beginning of version 1.
const PREFIX: &[u8; 6] = b"PROXY ";
/// Beginning of version 2. No client of this server begins like this.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Length of the part of version 2 before the addresses.
const HEAD_BYTES: usize = 16;

/// New connection whose PROXY header, if it has one, has been read.
#[derive(Debug)]
pub(crate) struct NewConnection {
    /// Address of the client, or of a trusted proxy that has not named its client in a PROXY header.
    pub(crate) peer: SocketAddr,
    /// True if `peer` is a trusted proxy and no PROXY header has been read. Such a proxy names the client of each
    /// request in an HTTP header.
    pub(crate) is_proxied: bool,
    /// Bytes of the client that have been read.
    pub(crate) first: BytesMut,
}

impl NewConnection {
    /// Returns a connection from `peer`, without a PROXY header.
    pub(crate) fn new(peer: SocketAddr, proxies: &TrustedProxies) -> NewConnection {
        NewConnection { peer, is_proxied: proxies.contains(peer.ip()), first: BytesMut::new() }
    }
}

/// Reason why a connection has no valid header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyHeaderError {
    /// The peer is not a trusted proxy.
    #[error("the address is not in BTCFEED_TRUSTED_PROXIES")]
    Untrusted,
    /// The connection does not begin with a valid header.
    #[error("the connection does not begin with a valid PROXY header")]
    Invalid,
    /// The header has too many bytes.
    #[error("the PROXY header has more than {MAX_HEADER_BYTES} bytes")]
    TooLong,
    /// The header did not arrive in time.
    #[error("no PROXY header arrived in time")]
    TooLate,
    /// The connection ended before the end of the header. Port checks do that.
    #[error("the connection ended before its PROXY header")]
    Disconnected,
}

impl ProxyHeaderError {
    /// Number of reasons.
    const COUNT: usize = 5;

    /// Returns the value of the metric's label.
    fn reason(&self) -> &'static str {
        match self {
            ProxyHeaderError::Untrusted => "untrusted",
            ProxyHeaderError::Invalid => "invalid",
            ProxyHeaderError::TooLong => "too_long",
            ProxyHeaderError::TooLate => "timeout",
            ProxyHeaderError::Disconnected => "disconnected",
        }
    }

    /// Returns the place of the reason in [`HeaderFailures`].
    fn index(&self) -> usize {
        PROXY_HEADER_FAILURES.values.iter().position(|value| *value == self.reason()).unwrap_or(0)
    }
}

/// Counter of connections without a valid header, which are logged at a bounded rate.
#[derive(Debug, Default)]
pub(crate) struct HeaderFailures(Mutex<[FaultLog; ProxyHeaderError::COUNT]>);

impl HeaderFailures {
    /// Counts a connection from `peer` that is closed. Warns if it is the first one with this reason in a minute,
    /// unless the peer has only disconnected.
    pub(crate) fn add(&self, peer: SocketAddr, error: &ProxyHeaderError) {
        PROXY_HEADER_FAILURES.counter(error.reason()).increment(1);
        let is_check = matches!(error, ProxyHeaderError::Disconnected);
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_check && logs[error.index()].is_due() {
            warn!(%peer, %error, "refused a connection without a valid PROXY header, see BTCFEED_PROXY_PROTOCOL");
        } else {
            debug!(%peer, %error, "refused a connection without a valid PROXY header");
        }
    }
}

/// Reads the header of a connection from the trusted proxy `peer`, within `deadline`. The client's first bytes may come
/// with it, and stay in the buffer.
///
/// # Errors
/// If there is no valid header.
pub(crate) async fn read(
    socket: &mut TcpStream,
    peer: SocketAddr,
    deadline: Duration,
) -> Result<NewConnection, ProxyHeaderError> {
    let reading = async {
        let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
        loop {
            if let Some(header) = Header::parse(&buffer)? {
                buffer.advance(header.bytes);
                return Ok((header.client, buffer));
            }
            let read = socket.read_buf(&mut buffer).await;
            if read.map_or(true, |read| read == 0) {
                return Err(ProxyHeaderError::Disconnected);
            }
        }
    };
    let (client, first) = timeout(deadline, reading).await.unwrap_or(Err(ProxyHeaderError::TooLate))?;
    // If the header names no client, the proxy connects for itself, or its client does not use TCP.
    Ok(NewConnection { peer: client.unwrap_or(peer), is_proxied: false, first })
}

/// Header at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// Address of the client over TCP, or `None` if the proxy names none.
    client: Option<SocketAddr>,
    /// Length of the header.
    bytes: usize,
}

impl Header {
    /// Parses the header at the beginning of `bytes`. Returns `None` if more bytes are needed. [`MAX_HEADER_BYTES`]
    /// bytes are always enough.
    fn parse(bytes: &[u8]) -> Result<Option<Header>, ProxyHeaderError> {
        let shared = bytes.len().min(SIGNATURE.len());
        if bytes[..shared] == SIGNATURE[..shared] { Header::binary(bytes) } else { Header::line(bytes) }
    }

    /// Parses version 1: a line with the protocol, both addresses and both ports.
    fn line(bytes: &[u8]) -> Result<Option<Header>, ProxyHeaderError> {
        let shared = bytes.len().min(PREFIX.len());
        if bytes[..shared] != PREFIX[..shared] {
            return Err(ProxyHeaderError::Invalid);
        }
        let line = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
        let Some(end) = line.windows(2).position(|two| two == b"\r\n") else {
            return if line.len() < MAX_LINE_BYTES { Ok(None) } else { Err(ProxyHeaderError::Invalid) };
        };
        let text = std::str::from_utf8(&line[PREFIX.len()..end]).map_err(|_| ProxyHeaderError::Invalid)?;
        let mut words = text.split(' ');
        let client = match words.next() {
            // Further words are ignored.
            Some("UNKNOWN") => None,
            Some("TCP4") => Some(line_source::<Ipv4Addr>(words).ok_or(ProxyHeaderError::Invalid)?),
            Some("TCP6") => Some(line_source::<Ipv6Addr>(words).ok_or(ProxyHeaderError::Invalid)?),
            _ => return Err(ProxyHeaderError::Invalid),
        };
        Ok(Some(Header { client, bytes: end + 2 }))
    }

    /// Parses version 2. Its further fields (TLVs) are skipped.
    fn binary(bytes: &[u8]) -> Result<Option<Header>, ProxyHeaderError> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [.., version_and_command, family, high, low] = *head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if HEAD_BYTES + length > MAX_HEADER_BYTES {
            return Err(ProxyHeaderError::TooLong);
        }
        // The upper half of the family is one of unspecified, IPv4, IPv6, Unix; the lower half one of unspecified,
        // stream, datagram.
        if !matches!(version_and_command, 0x20 | 0x21) || family >> 4 > 3 || family & 15 > 2 {
            return Err(ProxyHeaderError::Invalid);
        }
        let Some(block) = rest.get(..length) else { return Ok(None) };
        let client = match (version_and_command, family) {
            (0x21, 0x11) => Some(binary_source::<4>(block).ok_or(ProxyHeaderError::Invalid)?),
            (0x21, 0x21) => Some(binary_source::<16>(block).ok_or(ProxyHeaderError::Invalid)?),
            _ => None,
        };
        Ok(Some(Header { client, bytes: HEAD_BYTES + length }))
    }
}

/// Returns the source address in a header of version 1. `words` are both addresses and both ports.
fn line_source<A: FromStr + Into<IpAddr>>(mut words: Split<'_, char>) -> Option<SocketAddr> {
    let addresses = [words.next()?.parse::<A>().ok()?, words.next()?.parse().ok()?];
    let ports = [port(words.next()?)?, port(words.next()?)?];
    let ([source, _], [port, _]) = (addresses, ports);
    words.next().is_none().then(|| SocketAddr::new(source.into(), port))
}

/// Parses a port. `u16::from_str` would also accept a sign.
fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Returns the source address in a header of version 2. `block` begins with both addresses, of `SIZE` bytes each, and
/// both ports.
fn binary_source<const SIZE: usize>(block: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; SIZE]>,
{
    let (source, rest) = block.split_first_chunk::<SIZE>()?;
    let (_, ports) = rest.split_first_chunk::<SIZE>()?;
    let [high, low, _, _] = *ports.first_chunk::<4>()?;
    Some(SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes([high, low])))
}

/// Checks that the decision about a header depends neither on the pieces in which the header arrives, nor on the bytes
/// after it. Also checks that a header is not longer than [`MAX_HEADER_BYTES`].
///
/// # Panics
/// If a check fails.
#[cfg(any(test, fuzzing))]
pub(crate) fn check(input: &[u8]) {
    let decide = |bytes: &[u8]| match Header::parse(bytes) {
        Ok(None) => None,
        Ok(Some(header)) => Some(Ok(header)),
        Err(error) => Some(Err(error.reason())),
    };
    let whole = decide(input);
    match &whole {
        None => assert!(input.len() < MAX_HEADER_BYTES, "{} bytes do not suffice", input.len()),
        Some(Ok(header)) => {
            assert!(header.bytes <= input.len().min(MAX_HEADER_BYTES), "{header:?}");
            assert_eq!(decide(&input[..header.bytes]), whole, "what follows the header has an effect");
        }
        Some(Err(_)) => {}
    }
    let first = (0..=input.len().min(MAX_HEADER_BYTES)).find_map(|end| decide(&input[..end]));
    assert_eq!(first, whole, "the pieces have an effect");
}

#[cfg(test)]
mod tests;
