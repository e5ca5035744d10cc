//! Handshakes with a client of rustls whose bytes are changed on the way.

#![allow(clippy::unwrap_used, reason = "a check panics if it fails")]

use super::{HandshakeFault, HelloReader, MAX_BYTES, ServerHandshake};
use crate::tls::certificate::complete;
use crate::tls::failure::HandshakeError;
use crate::tls::reader::record_bytes;
use crate::tls::record_layer::RecordLayer;
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use std::io::Write;
use std::sync::{Arc, OnceLock};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use tokio_rustls::rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, NamedGroup, ServerConfig, SignatureScheme,
};

/// What a client sends right after its handshake.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// A change of what the client sends.
struct Change {
    /// Number of bytes before it.
    at: usize,
    kind: u8,
    value: u8,
}

/// How a handshake ended.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// The server has decrypted these bytes.
    Done(Vec<u8>),
    /// The reason in the metrics.
    Failed(&'static str),
    /// The client has sent nothing more, and the server waits for it.
    Waits,
}

/// Performs handshakes with a client whose bytes are changed as `input` says. The first byte chooses the version of
/// TLS. Each four further bytes are a change.
///
/// # Panics
/// If the outcome depends on the pieces in which the bytes arrive, if too many bytes are kept, if the server sends only
/// a part of a record, or if a handshake without changes fails.
pub(in crate::tls) fn check(input: &[u8], pieces: &[u8]) {
    let [version, changes @ ..] = input else { return };
    let (changes, _) = changes.as_chunks::<4>();
    let changes = changes.iter().map(|[high, low, kind, value]| Change {
        at: usize::from(u16::from_be_bytes([*high, *low])),
        kind: kind % 4,
        value: *value,
    });
    let changes: Vec<Change> = changes.collect();
    let whole = perform(version % 2 == 0, &changes, &mut std::iter::repeat(usize::MAX));
    let pieces: Vec<usize> = pieces.iter().map(|len| usize::from(*len).max(1)).collect();
    let in_pieces = perform(version % 2 == 0, &changes, &mut pieces.into_iter().cycle().chain([usize::MAX]));
    assert_eq!(whole, in_pieces);
    if changes.is_empty() {
        assert_eq!(whole, Outcome::Done(REQUEST.to_vec()));
    }
}

/// Performs a handshake. The client sends its request when its side is done.
fn perform(is_tls13: bool, changes: &[Change], pieces: &mut dyn Iterator<Item = usize>) -> Outcome {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(client_config(is_tls13), name).unwrap();
    let mut server = Server::Hello(Box::default());
    let (mut begin, mut has_asked) = (0, false);
    loop {
        if !client.is_handshaking() && !has_asked {
            client.writer().write_all(REQUEST).unwrap();
            has_asked = true;
        }
        let mut bytes = sent(&mut client);
        if bytes.is_empty() {
            return server.outcome();
        }
        let len = bytes.len();
        change(&mut bytes, begin, changes);
        begin += len;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(pieces.next().unwrap_or(usize::MAX).min(rest.len()));
            rest = others;
            match server.read(piece) {
                Ok(answer) => deliver(&mut client, &answer),
                Err(HandshakeFault { error, alert }) => {
                    assert_whole_records(&alert);
                    return Outcome::Failed(HandshakeError::from(error).reason());
                }
            }
        }
    }
}

/// Applies the changes to `bytes`. The client has sent `begin` bytes before them. After the hello, no byte is added or
/// removed, and no length of a record is changed. Otherwise the server could read encrypted bytes as the head of a
/// record. Encrypted bytes differ in each run, so the outcome would be random.
fn change(bytes: &mut Vec<u8>, begin: usize, changes: &[Change]) {
    let (end, lengths) = (begin + bytes.len(), lengths(bytes));
    for Change { at, kind, value } in changes.iter().filter(|change| (begin..end).contains(&change.at)) {
        let place = at - begin;
        if begin > 0 && (*kind > 0 || lengths.contains(&place)) {
            continue;
        }
        // An earlier change may have removed bytes.
        let Some(byte) = bytes.get_mut(place) else { continue };
        match kind {
            0 => *byte ^= value,
            1 => bytes.insert(place, *value),
            2 => drop(bytes.remove(place)),
            _ => drop(bytes.splice(place..place, std::iter::repeat_n(*value, usize::from(*value) * 256))),
        }
    }
}

/// Returns the places of the lengths of records.
fn lengths(bytes: &[u8]) -> Vec<usize> {
    let (mut places, mut begin) = (Vec::new(), 0);
    while let Some(len) = bytes.get(begin..).and_then(|rest| record_bytes(rest).ok().flatten()) {
        places.extend([begin + 3, begin + 4]);
        begin += len;
    }
    places
}

/// The stages of a server's connection.
enum Server {
    Hello(Box<HelloReader>),
    Handshake(Box<ServerHandshake>),
    Records(Box<RecordLayer>, Vec<u8>),
}

impl Server {
    /// Reads bytes of the client. Returns bytes for it.
    fn read(&mut self, bytes: &[u8]) -> Result<Vec<u8>, HandshakeFault> {
        match self {
            Server::Hello(hello) => {
                if hello.read(bytes)?.is_none() {
                    assert!(hello.received.len() < MAX_BYTES);
                    return Ok(Vec::new());
                }
                let received = std::mem::take(hello).into_bytes();
                let handshake = ServerHandshake::new(server_config()).unwrap();
                *self = Server::Handshake(Box::new(handshake));
                self.read(&received)
            }
            Server::Handshake(handshake) => {
                let is_done = handshake.read(bytes)?;
                assert!(is_done || handshake.passed <= MAX_BYTES);
                let answer = handshake.take_outgoing();
                if is_done {
                    let handshake =
                        std::mem::replace(handshake, Box::new(ServerHandshake::new(server_config()).unwrap()));
                    let (records, rest) = handshake.finish().unwrap();
                    *self = Server::Records(Box::new(records), Vec::new());
                    self.read(&rest)?;
                }
                Ok(answer)
            }
            Server::Records(records, data) => {
                records.read(&mut bytes.to_vec(), &mut |piece| data.extend_from_slice(piece))?;
                Ok(Vec::new())
            }
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Server::Records(_, data) if !data.is_empty() => Outcome::Done(data),
            _ => Outcome::Waits,
        }
    }
}

/// Returns what the client sends.
pub(in crate::tls) fn sent(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Passes bytes of the server to the client. If the client does not accept them, it sends an alert next.
fn deliver(client: &mut ClientConnection, mut bytes: &[u8]) {
    assert_whole_records(bytes);
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        if client.process_new_packets().is_err() {
            return;
        }
    }
}

fn assert_whole_records(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let len = record_bytes(bytes).ok().flatten().expect("a record");
        bytes = bytes.get(len..).expect("a whole record");
    }
}

/// Returns the configuration of the server. Its certificate is just some bytes, because the client does not read it.
fn server_config() -> Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let new = || {
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.as_ref().to_vec()));
        let chain = vec![CertificateDer::from(&b"certificate"[..])];
        let key = CertifiedKey::new(chain, any_supported_type(&key).unwrap());
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        complete(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)))).unwrap()
    };
    CONFIG.get_or_init(new).clone()
}

/// Returns the configuration of a client. All that it sends in plain text is always the same, so the outcome of a
/// change depends on the change alone.
fn client_config(is_tls13: bool) -> Arc<ClientConfig> {
    let (kx_groups, secure_random) = (vec![&FixedKey as &dyn SupportedKxGroup], &FixedRandom as &dyn SecureRandom);
    let provider = CryptoProvider { kx_groups, secure_random, ..default_provider() };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[if is_tls13 { &TLS13 } else { &TLS12 }]).unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Random numbers that are always the same.
#[derive(Debug)]
struct FixedRandom;

impl SecureRandom for FixedRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        bytes.fill(7);
        Ok(())
    }
}

/// The key exchange X25519 with a private key that is always the same.
#[derive(Debug)]
struct FixedKey;

impl SupportedKxGroup for FixedKey {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let private = PrivateKey::from_private_key(&X25519, &[7; 32]).unwrap();
        let public = private.compute_public_key().unwrap().as_ref().to_vec();
        Ok(Box::new(FixedExchange { private, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct FixedExchange {
    private: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for FixedExchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = UnparsedPublicKey::new(&X25519, peer);
        agree(&self.private, peer, Error::EncryptError, |secret| Ok(SharedSecret::from(secret)))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// Accepts each certificate and each signature.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn outcome_does_not_depend_on_pieces(
            version in 0..2_u8,
            changes in prop::collection::vec((0..700_u16, any::<u8>(), any::<u8>()), 0..3),
            pieces in prop::collection::vec(any::<u8>(), 1..5),
        ) {
            let changes = changes.iter().flat_map(|(at, kind, value)| {
                let [high, low] = at.to_be_bytes();
                [high, low, *kind, *value]
            });
            let input: Vec<u8> = [version].into_iter().chain(changes).collect();
            check(&input, &pieces);
        }
    }

    #[test]
    fn unchanged_client_is_understood() {
        for is_tls13 in [true, false] {
            let whole = || std::iter::repeat(usize::MAX);
            assert_eq!(perform(is_tls13, &[], &mut whole()), Outcome::Done(REQUEST.to_vec()));
            // The type of the first message.
            let changed = Change { at: 5, kind: 0, value: 1 };
            assert_eq!(perform(is_tls13, &[changed], &mut whole()), Outcome::Failed("invalid"));
            // More bytes than a handshake may have.
            let longer = Change { at: 100, kind: 3, value: 255 };
            assert_eq!(perform(is_tls13, &[longer], &mut whole()), Outcome::Failed("invalid"));
        }
    }
}
