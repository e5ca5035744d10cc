//! Addresses of servers, and the slots of a cluster.

use ::redis::{ConnectionAddr, ConnectionInfo};

/// Host and port of a server.
pub(super) type Node = (String, u16);

/// Returns `info` with the address of another server.
pub(super) fn at(info: &ConnectionInfo, (host, port): &Node) -> ConnectionInfo {
    let (host, port) = (host.clone(), *port);
    let address = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}

/// Returns true if `info` has the address of this server.
pub(super) fn is_at(info: &ConnectionInfo, (host, port): &Node) -> bool {
    matches!(info.addr(), ConnectionAddr::Tcp(h, p) | ConnectionAddr::TcpTls { host: h, port: p, .. } if h == host && p == port)
}

/// Returns the host of a server.
pub(super) fn host_of(info: &ConnectionInfo) -> String {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        other => other.to_string(),
    }
}

/// Returns the slot of a key with this hash tag (Redis Cluster specification, "Key distribution model": CRC16/XMODEM).
pub(super) fn slot(tag: &str) -> u16 {
    let step = |crc: u16| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
    let crc = tag.bytes().fold(0, |crc: u16, byte| (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| step(crc)));
    crc % 16_384
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_that_of_the_specification() {
        // The check value of CRC16/XMODEM.
        assert_eq!(slot("123456789"), 0x31C3);
        assert_eq!(slot("foo"), 12182);
    }
}
