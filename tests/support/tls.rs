//! A private certificate authority, certificates of a replica in files, and TLS clients.

use super::client::Client;
use super::stream::Connection;
use super::{TIMEOUT, http, soon};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio_tungstenite::client_async;

/// A certificate authority with the files of one certificate for `localhost` and 127.0.0.1.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
    folder: TempDir,
}

impl Authority {
    /// Creates an authority and a first certificate.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let authority = Authority { issuer: Issuer::new(params, key), root, folder: TempDir::new().unwrap() };
        fs::write(authority.file("ca.pem"), authority.root.pem()).unwrap();
        authority.issue();
        authority
    }

    /// Returns the path of a file of this authority: `ca.pem`, `cert.pem` or `key.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the path of a file of this authority as text.
    pub fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    /// Writes a new certificate and its key. Returns the certificate.
    pub fn issue(&self) -> CertificateDer<'static> {
        self.issue_for(Duration::from_secs(365 * 24 * 3600))
    }

    /// Writes a certificate that is valid for this time from now on, and its key. Returns the certificate.
    pub fn issue_for(&self, life: Duration) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.not_after = (SystemTime::now() + life).into();
        // If the certificate had the same name as its issuer, OpenSSL would regard it as self-signed.
        params.distinguished_name.push(DnType::CommonName, "a replica");
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file("cert.pem"), certificate.pem()).unwrap();
        fs::write(self.file("key.pem"), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    /// Returns the settings of a replica that uses the certificate.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        [("BTCFEED_TLS_CERT", self.path("cert.pem")), ("BTCFEED_TLS_KEY", self.path("key.pem"))]
    }

    /// Returns a builder of HTTP clients that trust only this authority and use each connection once.
    pub fn http(&self) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_der(self.root.der()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0)
    }

    /// Returns a TLS connector that trusts only this authority and offers these protocols (ALPN).
    pub fn connector(&self, alpn: &[&str]) -> TlsConnector {
        self.connector_of(alpn, &[&version::TLS13, &version::TLS12])
    }

    /// Returns a connector with one version of TLS, `1.2` or `1.3`.
    pub fn connector_with(&self, alpn: &[&str], version: &str) -> TlsConnector {
        self.connector_of(alpn, &[if version == "1.2" { &version::TLS12 } else { &version::TLS13 }])
    }

    fn connector_of(&self, alpn: &[&str], versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    /// Connects over TLS.
    pub async fn try_connect(&self, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.try_connect_by(&self.connector(&["http/1.1"]), address).await
    }

    async fn try_connect_by(&self, connector: &TlsConnector, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let connect = async { connector.connect(localhost(), TcpStream::connect(address).await?).await };
        timeout(TIMEOUT, connect).await.expect("a handshake in time")
    }

    /// Connects over TLS. A failure fails the test.
    pub async fn connect(&self, address: &str) -> TlsStream<TcpStream> {
        self.try_connect(address).await.unwrap()
    }

    /// Connects over one version of TLS.
    pub async fn connect_with(&self, address: &str, version: &str) -> TlsStream<TcpStream> {
        self.connect_by(&self.connector_with(&["http/1.1"], version), address).await
    }

    /// Connects by a connector, which may have tickets of earlier connections.
    pub async fn connect_by(&self, connector: &TlsConnector, address: &str) -> TlsStream<TcpStream> {
        self.try_connect_by(connector, address).await.unwrap()
    }

    /// Performs a handshake on a socket.
    pub async fn connect_over(&self, socket: TcpStream) -> TlsStream<TcpStream> {
        soon("a handshake", self.connector(&["http/1.1"]).connect(localhost(), socket)).await.unwrap()
    }

    /// Returns the certificate that the server at `address` uses.
    pub async fn seen(&self, address: &str) -> CertificateDer<'static> {
        self.connect(address).await.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    /// Opens a WebSocket over TLS with this query.
    pub async fn websocket(&self, address: &str, query: &str) -> Client<TlsStream<TcpStream>> {
        self.websocket_over(self.connect(address).await, query).await
    }

    /// Opens a WebSocket with this query on a connection.
    pub async fn websocket_over(&self, stream: TlsStream<TcpStream>, query: &str) -> Client<TlsStream<TcpStream>> {
        let url = format!("wss://localhost/v1/ws?{query}");
        let (socket, _) = soon("a handshake", client_async(url, stream)).await.unwrap();
        Client::over(socket)
    }
}

/// Returns an HTTP client for a replica, and the scheme of its URLs. Without TLS, `authority` is `None`.
pub fn http_for(authority: Option<&Authority>) -> (reqwest::Client, &'static str) {
    match authority {
        None => (http(), "http"),
        Some(authority) => (authority.http().build().unwrap(), "https"),
    }
}

/// Connects to a replica. Without TLS, `authority` is `None`.
pub async fn connect_to(address: &str, authority: Option<&Authority>) -> std::io::Result<Connection> {
    match authority {
        None => TcpStream::connect(address).await.map(Connection::Left),
        Some(authority) => Ok(Connection::Right(Box::new(authority.try_connect(address).await?))),
    }
}

/// Returns the name of the server in each handshake.
pub fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}
