//! Record layers whose peer is a client of rustls, in memory.

use super::*;
use crate::tls::cipher::MAX_DATA_BYTES;
use crate::tls::handshake::{HandshakeFault, ServerHandshake, sent};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{self, Ticketer};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, SupportedCipherSuite,
};

/// Returns the suites that work with the server's certificate, whose key is not an RSA key.
pub(crate) fn suites() -> Vec<SupportedCipherSuite> {
    let mut suites = aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec();
    suites.retain(|suite| !format!("{suite:?}").contains("_RSA_"));
    assert_eq!(suites.len(), 6);
    suites
}

/// Returns the configuration of the server, and the roots that its clients trust.
pub(crate) fn server() -> &'static (Arc<ServerConfig>, Arc<RootCertStore>) {
    static CONFIG: OnceLock<(Arc<ServerConfig>, Arc<RootCertStore>)> = OnceLock::new();
    CONFIG.get_or_init(|| new_server(aws_lc_rs::default_provider()))
}

/// Creates the configuration of a server, and the roots that its clients trust.
pub(crate) fn new_server(provider: CryptoProvider) -> (Arc<ServerConfig>, Arc<RootCertStore>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.enable_secret_extraction = true;
    config.ticketer = Ticketer::new().unwrap();
    (Arc::new(config), Arc::new(roots))
}

/// Returns the configuration of a client that offers one suite.
pub(crate) fn client_config(suite: SupportedCipherSuite) -> Arc<ClientConfig> {
    let provider = CryptoProvider { cipher_suites: vec![suite], ..aws_lc_rs::default_provider() };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[suite.version()]).unwrap();
    let mut config = builder.with_root_certificates(server().1.clone()).with_no_client_auth();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

/// Connects a client. Its bytes arrive in pieces of this length.
fn connect(config: Arc<ClientConfig>, piece: usize) -> (ClientConnection, RecordLayer) {
    let mut client = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut handshake = ServerHandshake::new(server().0.clone()).unwrap();
    loop {
        for piece in sent(&mut client).chunks(piece) {
            let read = handshake.read(piece);
            let is_done = read.unwrap_or_else(|HandshakeFault { error, .. }| panic!("{error}"));
            deliver(&mut client, &handshake.take_outgoing()).unwrap();
            if is_done {
                let (records, rest) = handshake.finish().unwrap();
                assert!(rest.is_empty());
                return (client, records);
            }
        }
    }
}

fn pair(suite: SupportedCipherSuite) -> (ClientConnection, RecordLayer) {
    connect(client_config(suite), usize::MAX)
}

/// Returns a client, and the record layer of the server, after their handshake.
pub(crate) fn test_pair() -> (ClientConnection, RecordLayer) {
    pair(suites()[0])
}

/// Passes bytes to the client. Returns the data that the client decrypts from them.
pub(crate) fn deliver(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
        client.reader().read_to_end(&mut data).ok();
    }
    Ok(data)
}

/// Passes the client everything that the server has queued.
fn deliver_unsent(client: &mut ClientConnection, records: &mut RecordLayer) -> Result<Vec<u8>, Error> {
    let bytes = records.unsent().to_vec();
    records.advance(bytes.len());
    assert_eq!(records.held_bytes(), 0);
    deliver(client, &bytes)
}

/// Reads bytes of the client. Returns its data.
fn read(records: &mut RecordLayer, bytes: &mut [u8]) -> Result<Vec<u8>, Fault> {
    let mut data = Vec::new();
    records.read(bytes, &mut |piece| data.extend_from_slice(piece))?;
    Ok(data)
}

/// Encrypts data as one record and queues it.
fn seal(records: &mut RecordLayer, pieces: &[&[u8]]) -> Result<(), Error> {
    let mut sealed = Sealed::new();
    records.seal(pieces, &mut sealed)?;
    records.keep(&sealed);
    Ok(())
}

#[derive(Clone, Debug)]
enum Event {
    ClientSends(Vec<u8>),
    ServerSends(Vec<Vec<u8>>),
    ClientUpdatesKeys,
}

fn event() -> impl Strategy<Value = Event> {
    let data = || prop::collection::vec(any::<u8>(), 1..2000);
    prop_oneof![
        3 => data().prop_map(Event::ClientSends),
        3 => prop::collection::vec(data(), 1..6).prop_map(Event::ServerSends),
        1 => Just(Event::ClientUpdatesKeys),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn data_arrives_whole_in_any_pieces(
        suite in prop::sample::select(suites()),
        events in prop::collection::vec(event(), 1..24),
        piece in 1..4000_usize,
    ) {
        let (mut client, mut records) = connect(client_config(suite), piece);
        for event in events {
            match event {
                Event::ClientSends(data) => {
                    client.writer().write_all(&data).unwrap();
                    let mut bytes = sent(&mut client);
                    let received: Vec<_> =
                        bytes.chunks_mut(piece).map(|piece| read(&mut records, piece).unwrap()).collect();
                    prop_assert_eq!(received.concat(), data);
                    prop_assert_eq!(records.reader.held_bytes(), 0);
                }
                Event::ServerSends(pieces) => {
                    let slices: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
                    seal(&mut records, &slices).unwrap();
                    prop_assert_eq!(deliver_unsent(&mut client, &mut records).unwrap(), pieces.concat());
                }
                Event::ClientUpdatesKeys if suite.tls13().is_some() => {
                    client.refresh_traffic_keys().unwrap();
                    // The client also asks the server for new keys. The server announces them before its next data.
                    read(&mut records, &mut sent(&mut client)).unwrap();
                    prop_assert!(records.key_update_due && records.unsent().is_empty());
                }
                Event::ClientUpdatesKeys => {}
            }
        }
        client.send_close_notify();
        prop_assert!(!records.is_ended());
        read(&mut records, &mut sent(&mut client)).unwrap();
        prop_assert!(records.is_ended());
        records.close();
        deliver_unsent(&mut client, &mut records).unwrap();
        prop_assert_eq!(client.reader().read(&mut [0]).unwrap(), 0, "the end is not an error");
    }
}

#[test]
fn client_resumes_with_a_ticket() {
    for suite in suites() {
        let config = client_config(suite);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let (mut client, mut records) = connect(config.clone(), usize::MAX);
            assert_eq!(client.handshake_kind(), Some(expected), "{suite:?}");
            for number in 0..20_u8 {
                seal(&mut records, &[&[number]]).unwrap();
                assert_eq!(deliver_unsent(&mut client, &mut records), Ok(vec![number]), "{suite:?}");
            }
        }
    }
}

/// Asserts that the connection ends with this alert.
fn assert_ends(mut client: ClientConnection, mut records: RecordLayer, bytes: &mut [u8], alert: AlertDescription) {
    assert_eq!(read(&mut records, bytes), Err(Fault::Broken(alert)));
    assert_eq!(deliver_unsent(&mut client, &mut records), Err(Error::AlertReceived(alert)));
    assert!(seal(&mut records, &[b"more"]).is_err());
    records.close();
    assert!(records.unsent().is_empty(), "nothing follows the alert");
}

#[test]
fn garbage_ends_with_an_alert() {
    for suite in suites() {
        for at in [5, 12, 25] {
            let (mut client, records) = pair(suite);
            client.writer().write_all(b"some data").unwrap();
            let mut bytes = sent(&mut client);
            bytes[at] ^= 1;
            assert_ends(client, records, &mut bytes, AlertDescription::BadRecordMac);
        }
        let (client, records) = pair(suite);
        assert_ends(client, records, &mut [23, 3, 3, 0x41, 1], AlertDescription::RecordOverflow);
        let (client, records) = pair(suite);
        assert_ends(client, records, &mut [23, 3, 3, 0, 3, 1, 2, 3], AlertDescription::BadRecordMac);
        if suite.tls13().is_some() {
            // An alert and a handshake message without encryption, and a ChangeCipherSpec of two bytes.
            for mut bytes in [[21, 3, 3, 0, 2, 1, 0], [22, 3, 3, 0, 2, 1, 0], [20, 3, 3, 0, 2, 1, 0]] {
                let (client, records) = pair(suite);
                assert_ends(client, records, &mut bytes, AlertDescription::UnexpectedMessage);
            }
        }
    }
}

#[test]
fn truncated_record_is_kept_and_not_used() {
    let (mut client, mut records) = pair(suites()[0]);
    client.writer().write_all(&[7; 5000]).unwrap();
    let mut bytes = sent(&mut client);
    let last = bytes.len() - 1;
    assert_eq!(read(&mut records, &mut bytes[..last]), Ok(vec![]));
    assert_eq!(records.held_bytes(), last);
    assert_eq!(read(&mut records, &mut bytes[last..]), Ok(vec![7; 5000]));
    assert_eq!(records.held_bytes(), 0);
}

/// Encrypts any record with the keys of a client.
struct Forger {
    sealer: Sealer,
    next: u64,
}

impl Forger {
    fn new(client: ClientConnection, suite: SupportedCipherSuite) -> Forger {
        let (next, keys) = client.dangerous_extract_secrets().unwrap().tx;
        Forger { sealer: Sealer::new(suite, keys, next).unwrap(), next }
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let mut record = Sealed::new();
        self.sealer.seal(typ, &[payload], self.next, &mut record).unwrap();
        self.next += 1;
        record.to_vec()
    }
}

#[test]
fn oversized_data_ends_the_connection() {
    for suite in suites() {
        let (client, mut records) = pair(suite);
        let mut forger = Forger::new(client, suite);
        let mut longest = forger.record(ContentType::ApplicationData, &[7; MAX_DATA_BYTES]);
        assert_eq!(read(&mut records, &mut longest), Ok(vec![7; MAX_DATA_BYTES]));
        let mut longer = forger.record(ContentType::ApplicationData, &vec![7; MAX_DATA_BYTES + 1]);
        assert_eq!(read(&mut records, &mut longer), Err(Fault::Broken(AlertDescription::RecordOverflow)));
    }
}

#[test]
fn flood_of_empty_records_ends() {
    for suite in suites() {
        let (client, mut records) = pair(suite);
        let mut forger = Forger::new(client, suite);
        let floods = (0..100).map(|_| read(&mut records, &mut forger.record(ContentType::ApplicationData, b"")));
        let results: Vec<_> = floods.collect();
        assert_eq!(results.iter().position(Result::is_err), Some(32), "{suite:?}");
    }
}

#[test]
fn bytes_after_the_end_are_ignored() {
    let (client, mut records) = pair(suites()[0]);
    let mut forger = Forger::new(client, suites()[0]);
    read(&mut records, &mut forger.record(ContentType::Alert, &[1, 0])).unwrap();
    assert!(records.is_ended());
    assert_eq!(read(&mut records, &mut forger.record(ContentType::ApplicationData, b"late")), Ok(vec![]));
    assert_eq!(read(&mut records, &mut [99; 100]), Ok(vec![]));
    assert_eq!(records.held_bytes(), 0);
    seal(&mut records, &[b"the server may continue"]).unwrap();
}

#[test]
fn alert_of_the_client_gets_no_answer() {
    let (client, mut records) = pair(suites()[0]);
    let mut forger = Forger::new(client, suites()[0]);
    let end = read(&mut records, &mut forger.record(ContentType::Alert, &[2, 80]));
    assert_eq!(end, Err(Fault::Alerted(AlertDescription::InternalError)));
    records.close();
    assert!(records.unsent().is_empty());
}

#[test]
fn keys_are_replaced_before_their_limit() {
    for suite in suites() {
        let (_client, mut records) = pair(suite);
        records.next_sent = records.max_records;
        if records.next_sent == u64::MAX {
            continue;
        }
        let sealed = seal(&mut records, &[b"data"]);
        assert_eq!(sealed.is_ok(), suite.tls13().is_some(), "{suite:?}: TLS 1.2 has no other keys");
        if sealed.is_ok() {
            assert_eq!(records.next_sent, 1);
            assert_eq!(records.unsent().len(), (5 + 5 + 1 + 16) + (5 + 4 + 1 + 16));
        }
    }
}
