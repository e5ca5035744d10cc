//! Where a server listens, and how its clients encrypt: not at all, or with TLS 1.3.

use anyhow::Context;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, version};

/// Address of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// Returns the endpoint of a server whose clients encrypt if there is a certificate.
    pub(crate) fn new(address: SocketAddr, certificate: Option<&Certificate>) -> Endpoint {
        Endpoint { address, tls: certificate.map(|certificate| certificate.trust.clone()) }
    }

    /// Returns the client's side of a new TLS session, if clients encrypt.
    pub(crate) fn session(&self) -> anyhow::Result<Option<ClientConnection>> {
        let Some(config) = &self.tls else { return Ok(None) };
        Ok(Some(ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?))
    }
}

/// Certificate of a server for one run, as files, and the TLS settings of clients that trust it.
pub(crate) struct Certificate {
    folder: TempDir,
    trust: Arc<ClientConfig>,
}

impl Certificate {
    /// Generates a certificate. The clients trust no other certificate, and do not resume TLS sessions.
    pub(crate) fn generate() -> anyhow::Result<Certificate> {
        let folder = TempDir::new()?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        let (cert, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert, certificate.pem())?;
        std::fs::write(&key_file, key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&cert)?)?;
        let mut trust = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .context("the provider has TLS 1.3")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        trust.resumption = Resumption::disabled();
        Ok(Certificate { folder, trust: Arc::new(trust) })
    }

    /// Returns the files of the certificate and of its key.
    pub(crate) fn files(&self) -> [PathBuf; 2] {
        ["cert.pem", "key.pem"].map(|name| self.folder.path().join(name))
    }
}

/// Returns a provider with one cipher suite and one group for the key exchange. All clients use it, so all servers
/// encrypt in the same way.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}
