//! Connections over sockets, with clients of tokio-rustls.

use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::io::Write;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{AlertDescription, ClientConfig, Error, RootCertStore, SupportedProtocolVersion};

struct Server {
    tls: Tls,
    listener: TcpListener,
    root: CertificateDer<'static>,
    _files: TempDir,
}

impl Server {
    async fn start(min_version: TlsVersion) -> Server {
        let files = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let options = TlsOptions { certificate: files.path().join("cert"), key: files.path().join("key"), min_version };
        fs::write(&options.certificate, certificate.pem()).unwrap();
        fs::write(&options.key, key.serialize_pem()).unwrap();
        let (tls, root) = (Tls::open(options, 100).unwrap(), certificate.der().clone());
        Server { tls, listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), root, _files: files }
    }

    async fn accept(&self) -> Result<TlsConnection, HandshakeError> {
        self.tls.accept(self.listener.accept().await.unwrap().0, Vec::new()).await
    }

    async fn connect(
        &self,
        version: &'static SupportedProtocolVersion,
        protocols: &[&str],
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket).await
    }
}

#[tokio::test]
async fn stream_echoes_and_ends_cleanly() {
    let server = Server::start(TlsVersion::Tls12).await;
    for version in [&TLS12, &TLS13] {
        let (accepted, client) = tokio::join!(server.accept(), server.connect(version, &["http/1.1"]));
        let Ok(TlsConnection::Http1(stream)) = accepted else { panic!("no stream") };
        let (mut from, mut to) = tokio::io::split(*stream);
        let echo = async {
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let text: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let (mut from, mut to) = tokio::io::split(client.unwrap());
        let send = async {
            for piece in text.chunks(70_001) {
                to.write_all(piece).await.unwrap();
            }
            to.shutdown().await.unwrap();
        };
        let mut answer = Vec::new();
        // The read would fail if the server did not send `close_notify`.
        let (read, (), ()) = tokio::join!(from.read_to_end(&mut answer), send, echo);
        read.unwrap();
        assert!(answer == text, "{version:?}: {} bytes", answer.len());
    }
}

#[tokio::test]
async fn protocol_is_that_of_the_client() {
    let server = Server::start(TlsVersion::Tls12).await;
    for version in [&TLS12, &TLS13] {
        for (offered, chosen) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1", "h2"], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            let (accepted, client) = tokio::join!(server.accept(), server.connect(version, offered));
            let client = client.unwrap();
            assert_eq!(client.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
            assert_eq!(matches!(accepted, Ok(TlsConnection::Http2(_))), chosen == Some("h2"), "{offered:?}");
        }
        let (accepted, client) = tokio::join!(server.accept(), server.connect(version, &["smtp"]));
        assert!(accepted.is_err() && client.unwrap_err().to_string().contains("NoApplicationProtocol"));
    }
}

#[tokio::test]
async fn data_right_after_the_handshake_is_read() {
    let server = Server::start(TlsVersion::Tls12).await;
    let client = async {
        let mut client = server.connect(&TLS13, &["http/1.1"]).await.unwrap();
        client.write_all(b"GET /").await.unwrap();
        client
    };
    let (accepted, _client) = tokio::join!(server.accept(), client);
    let Ok(TlsConnection::Http1(stream)) = accepted else { panic!("no stream") };
    let mut buffer = [0; 100];
    let mut stream = *stream;
    let len = stream.read(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..len], b"GET /");
    let (_, records, unread) = stream.into_parts();
    assert!(unread.is_empty() && records.held_bytes() == 0);
}

#[tokio::test]
async fn fault_after_the_handshake_is_answered() {
    let (mut client, records) = test_pair();
    client.writer().write_all(b"GET /").unwrap();
    let mut received = Vec::new();
    client.write_tls(&mut received).unwrap();
    received.extend([23, 3, 3, 0, 3, 1, 2, 3]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut stream = TlsStream::new(listener.accept().await.unwrap().0, records, received).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 5);
    stream.read(&mut buffer).await.unwrap_err();
    drop(stream);
    let mut alert = Vec::new();
    socket.read_to_end(&mut alert).await.unwrap();
    client.read_tls(&mut &alert[..]).unwrap();
    let answer = client.process_new_packets();
    assert_eq!(answer.unwrap_err(), Error::AlertReceived(AlertDescription::BadRecordMac));
}

#[tokio::test]
async fn old_version_is_refused_if_set() {
    let server = Server::start(TlsVersion::Tls13).await;
    let (accepted, client) = tokio::join!(server.accept(), server.connect(&TLS12, &["http/1.1"]));
    assert!(accepted.is_err() && client.unwrap_err().to_string().contains("ProtocolVersion"));
    let (accepted, client) = tokio::join!(server.accept(), server.connect(&TLS13, &["http/1.1"]));
    assert!(accepted.is_ok() && client.is_ok());
}
