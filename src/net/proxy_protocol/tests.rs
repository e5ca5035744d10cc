//! Headers of both versions, valid and not.

use super::*;
use proptest::prelude::*;

/// Returns a header of version 2 with these bytes after its head.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family][..], &length, block].concat()
}

/// Returns the addresses and ports of a header of version 2. `client` is both the source and the destination.
fn block(client: SocketAddr) -> Vec<u8> {
    let address = match client.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let port = client.port().to_be_bytes();
    [&address[..], &address, &port, &port].concat()
}

/// Returns the client that a header names, or the reason why it is not valid. Also checks the header in pieces, and
/// with a client's bytes after it.
fn client(header: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    check(header);
    check(&[header, b"GET / HTTP/1.1\r\n\r\n"].concat());
    match Header::parse(header) {
        Ok(Some(parsed)) => {
            assert_eq!(parsed.bytes, header.len());
            Ok(parsed.client)
        }
        Ok(None) => Err("incomplete"),
        Err(error) => Err(error.reason()),
    }
}

#[test]
fn lines_name_the_client() {
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n", Ok(Some("192.0.2.1:4711"))),
        ("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", Ok(Some("[2001:db8::1]:65535"))),
        ("PROXY UNKNOWN\r\n", Ok(None)),
        ("PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", Ok(None)),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r", Err("incomplete")),
        ("PROXY", Err("incomplete")),
        ("", Err("incomplete")),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\n\r\n", Err("invalid")),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 +4711 443\r\n", Err("invalid")),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n", Err("invalid")),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n", Err("invalid")),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711 443 \r\n", Err("invalid")),
        ("PROXY TCP4  192.0.2.1 198.51.100.2 4711 443\r\n", Err("invalid")),
        ("PROXY TCP4 2001:db8::1 ::1 4711 443\r\n", Err("invalid")),
        ("PROXY TCP5 192.0.2.1 198.51.100.2 4711 443\r\n", Err("invalid")),
        ("PROXY\tTCP4 192.0.2.1 198.51.100.2 4711 443\r\n", Err("invalid")),
        ("PROXY \r\n", Err("invalid")),
        ("proxy UNKNOWN\r\n", Err("invalid")),
        ("GET / HTTP/1.1\r\n\r\n", Err("invalid")),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err("invalid")),
        ("\x16\x03\x01\x02\x00", Err("invalid")),
    ] {
        let expected = expected.map(|client: Option<&str>| client.map(|client| client.parse().unwrap()));
        assert_eq!(client(line.as_bytes()), expected, "{line:?}");
    }
    let long = |bytes: usize| format!("PROXY UNKNOWN{:1$}\r\n", "", bytes - 15);
    assert_eq!(client(long(MAX_LINE_BYTES).as_bytes()), Ok(None));
    assert_eq!(client(long(MAX_LINE_BYTES + 1).as_bytes()), Err("invalid"));
}

#[test]
fn binary_headers_name_the_client() {
    let v4: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:4711".parse().unwrap();
    // A field of three bytes (PP2_TYPE_UNIQUE_ID).
    let with_field = [&block(v4)[..], &[5, 0, 3, 1, 2, 3]].concat();
    for (command, family, block, expected) in [
        (0x21, 0x11, block(v4), Ok(Some(v4))),
        (0x21, 0x21, block(v6), Ok(Some(v6))),
        (0x21, 0x11, with_field, Ok(Some(v4))),
        // Fields are skipped, whatever is in them.
        (0x21, 0x11, [&block(v4)[..], &[5, 255, 255]].concat(), Ok(Some(v4))),
        // A health check of the proxy, with and without an address.
        (0x20, 0x00, Vec::new(), Ok(None)),
        (0x20, 0x11, block(v4), Ok(None)),
        // An unspecified protocol, a datagram, and a Unix address.
        (0x21, 0x00, vec![1; 20], Ok(None)),
        (0x21, 0x12, block(v4), Ok(None)),
        (0x21, 0x31, vec![b'/'; 216], Ok(None)),
        (0x21, 0x11, block(v4)[..11].to_vec(), Err("invalid")),
        (0x21, 0x21, block(v4), Err("invalid")),
        (0x21, 0x41, block(v6), Err("invalid")),
        (0x21, 0x13, block(v4), Err("invalid")),
        (0x22, 0x11, block(v4), Err("invalid")),
        (0x11, 0x11, block(v4), Err("invalid")),
        (0x21, 0x11, vec![0; MAX_HEADER_BYTES - HEAD_BYTES], Ok(Some("0.0.0.0:0".parse().unwrap()))),
        (0x21, 0x11, vec![0; MAX_HEADER_BYTES - HEAD_BYTES + 1], Err("too_long")),
    ] {
        assert_eq!(client(&binary(command, family, &block)), expected, "{command:x} {family:x} {block:?}");
    }
    assert_eq!(client(&binary(0x21, 0x11, &block(v4))[..27]), Err("incomplete"));
}

#[test]
fn each_failure_has_a_reason_of_the_table() {
    use ProxyHeaderError::{Disconnected, Invalid, TooLate, TooLong, Untrusted};
    let reasons = [Untrusted, Invalid, TooLong, TooLate, Disconnected].map(|error| (error.index(), error.reason()));
    let table: Vec<_> = PROXY_HEADER_FAILURES.values.iter().copied().enumerate().collect();
    assert_eq!(reasons[..], table);
}

proptest! {
    #[test]
    fn any_address_is_read_as_it_was_written(address: IpAddr, port: u16) {
        let client_address = SocketAddr::new(address, port);
        let (name, family) = if address.is_ipv4() { ("TCP4", 0x11) } else { ("TCP6", 0x21) };
        let line = format!("PROXY {name} {address} {address} {port} {port}\r\n");
        prop_assert_eq!(client(line.as_bytes()), Ok(Some(client_address)));
        prop_assert_eq!(client(&binary(0x21, family, &block(client_address))), Ok(Some(client_address)));
    }

    #[test]
    fn any_bytes_are_decided_alike_in_pieces(bytes in prop::collection::vec(any::<u8>(), 0..64), start in 0..3) {
        let start = [&b""[..], b"PROXY ", SIGNATURE][usize::try_from(start).unwrap()];
        check(&[start, &bytes].concat());
    }
}
