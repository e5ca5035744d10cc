//! Handshakes that the server rejects.

use super::*;
use crate::tls::failure::HandshakeError;
use crate::tls::record_layer::tests::{client_config, deliver, new_server, server, suites};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, SupportedCipherSuite};

/// Type of the record of an alert.
const ALERT: u8 = 21;

/// Begins a handshake with a hello. Returns the client, too.
fn begun(config: Arc<ServerConfig>, is_tls13: bool) -> (ClientConnection, ServerHandshake) {
    let suite = suites().into_iter().find(|suite| matches!(suite, SupportedCipherSuite::Tls13(_)) == is_tls13).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(client_config(suite), name).unwrap();
    let mut handshake = ServerHandshake::new(config).unwrap();
    assert!(handshake.read(&sent(&mut client)).is_ok_and(|is_done| !is_done));
    (client, handshake)
}

/// Asserts that these bytes end the handshake. Returns the alert.
fn refused(mut handshake: ServerHandshake, bytes: &[u8]) -> Vec<u8> {
    handshake.take_outgoing();
    let Err(HandshakeFault { error, alert }) = handshake.read(bytes) else { panic!("accepted") };
    assert!(matches!(HandshakeError::from(error).reason(), "invalid" | "incompatible"));
    alert
}

#[test]
fn record_between_parts_of_a_message_is_refused() {
    let (_, handshake) = begun(server().0.clone(), false);
    // One byte of a `ClientKeyExchange`, and an alert.
    refused(handshake, b"\x16\x03\x03\x00\x01\x10\x15\x03\x03\x00\x02\x01\x00");
}

#[test]
fn byte_behind_an_unexpected_message_is_refused() {
    let (_, handshake) = begun(server().0.clone(), false);
    // A `Finished` of length 0, and the first byte of another message.
    assert_eq!(refused(handshake, b"\x16\x03\x03\x00\x05\x14\x00\x00\x00\x00")[0], ALERT);
}

#[test]
fn byte_behind_the_second_hello_is_refused() {
    let kx_groups = vec![aws_lc_rs::kx_group::SECP384R1];
    let (config, _) = new_server(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() });
    let (mut client, mut handshake) = begun(config, true);
    deliver(&mut client, &handshake.take_outgoing()).unwrap();
    let mut hello = sent(&mut client);
    // A `ChangeCipherSpec` comes first.
    let at = record_bytes(&hello).unwrap().unwrap();
    let len = u16::from_be_bytes([hello[at + 3], hello[at + 4]]) + 1;
    hello[at + 3..at + 5].copy_from_slice(&len.to_be_bytes());
    hello.push(1);
    assert_eq!(at + 5 + usize::from(len), hello.len());
    assert_eq!(refused(handshake, &hello)[0], ALERT);
}

#[test]
fn invalid_record_is_answered_with_an_alert() {
    for is_tls13 in [false, true] {
        for record in [&b"\x63\x03\x03\x00\x01\x00"[..], b"\x16\x03\x03\xff\xff"] {
            let (mut client, mut handshake) = begun(server().0.clone(), is_tls13);
            deliver(&mut client, &handshake.take_outgoing()).unwrap();
            let alert = refused(handshake, record);
            let answer = deliver(&mut client, &alert);
            assert!(matches!(answer, Err(Error::AlertReceived(_))), "{record:?}: {answer:?}");
        }
    }
}

#[test]
fn endless_message_is_refused() {
    // A `ClientHello` of 64 KiB, and a `ClientKeyExchange` of the same length.
    let records = |kind: u8| {
        let record = |begin: &[u8]| [b"\x16\x03\x03\x40\x00", begin, &vec![0; 16 * 1024 - begin.len()]].concat();
        [record(&[kind, 0, 255, 255]), record(&[]), record(&[]), record(&[])].concat()
    };
    for len in [1000, usize::MAX] {
        let mut hello = HelloReader::default();
        let fault = records(1).chunks(len).find_map(|piece| hello.read(piece).err());
        assert_eq!(HandshakeError::from(fault.expect("a refusal").error).reason(), "invalid");
        let (_, mut handshake) = begun(server().0.clone(), false);
        let fault = records(16).chunks(len).find_map(|piece| handshake.read(piece).err());
        assert_eq!(HandshakeError::from(fault.expect("a refusal").error).reason(), "invalid");
    }
}
