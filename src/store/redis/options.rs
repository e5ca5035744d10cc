//! The settings of a Redis: its URL, the files of TLS, and the time that a request may take.

pub use super::url::InvalidUrl;
use super::url::RedisAddress;
use crate::store::kind::PriceKind;
use ::redis::{ClientTlsConfig, TlsCertificates};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use secrecy::SecretString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

/// The default of [`RedisOptions::timeout`].
const TIMEOUT: Duration = Duration::from_secs(1);

/// A Redis, and how to connect to it.
#[derive(Clone)]
pub struct RedisOptions {
    /// Its URL, which may contain a password.
    pub url: SecretString,
    /// The prefix of all keys.
    pub key_prefix: String,
    /// The files of TLS connections.
    pub tls: RedisTls,
    /// The time within which Redis must answer a command. The timeout of connecting is three times this value, because
    /// connecting needs several round trips.
    pub timeout: Duration,
    /// The settings that are compared with those of the other replicas, as text for people. Those before the first
    /// semicolon must be the same. Those after it may differ, for example during an update. Empty if settings are not
    /// compared.
    pub settings: String,
    /// The kind of the prices that this replica would write. `None` if it writes none.
    pub kind: Option<PriceKind>,
    /// The number of replicas of Redis that must have an entry before the next one is written.
    pub min_acks: usize,
    /// The name of this replica, which becomes a part of the names of its connections.
    pub replica: String,
}

impl RedisOptions {
    /// A Redis with the default for everything else.
    pub fn new(url: &str, key_prefix: &str) -> RedisOptions {
        RedisOptions {
            url: url.into(),
            key_prefix: key_prefix.to_owned(),
            tls: RedisTls::default(),
            timeout: TIMEOUT,
            settings: String::new(),
            kind: None,
            min_acks: 0,
            replica: "btcfeed".to_owned(),
        }
    }
}

/// Checks that a replica can use `url`.
///
/// # Errors
/// The reason why it cannot. It does not contain the URL, because a URL may contain a password.
pub(super) fn check_url(url: &str) -> Result<(), InvalidUrl> {
    RedisAddress::parse(url).map(drop)
}

/// The files of TLS connections to Redis. They are read again for each new connection. The connections of the pool for
/// reads of the history are an exception: the files are read once for the whole pool. If the files change and the new
/// ones work, a new pool replaces the old one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// PEM file with the certificate authorities that are trusted instead of those of the system.
    pub authorities: Option<PathBuf>,
    /// PEM files with the client certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// The reason why a file of TLS cannot be used, and which file that is.
#[derive(Debug, thiserror::Error)]
pub enum RedisTlsError {
    /// A fault in the file of the authorities.
    #[error("{0}")]
    Authorities(String),
    /// A fault in the file of the client certificate.
    #[error("{0}")]
    Certificate(String),
    /// A fault in the file of the key.
    #[error("{0}")]
    Key(String),
}

impl RedisTls {
    /// Checks that the files can be used.
    ///
    /// # Errors
    /// If a file cannot be read or has unexpected contents, or if the key belongs to another certificate.
    pub fn check(&self) -> Result<(), RedisTlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.authorities {
            let failed = |error| RedisTlsError::Authorities(pem_error(error, "certificates"));
            for certificate in certificates(path).map_err(failed)? {
                let failed = |error| RedisTlsError::Authorities(format!("a certificate in it cannot be used: {error}"));
                roots.add(certificate).map_err(failed)?;
            }
        }
        if let Some((certificate, key)) = &self.certificate {
            let failed = |error| RedisTlsError::Certificate(pem_error(error, "a certificate"));
            let chain = certificates(certificate).map_err(failed)?;
            let failed = |error| RedisTlsError::Key(pem_error(error, "a private key that has no password"));
            let key = PrivateKeyDer::from_pem_file(key).map_err(failed)?;
            let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
            let failed = |error| match error {
                Error::InconsistentKeys(_) => RedisTlsError::Key("it is not the key of the certificate".to_owned()),
                error => RedisTlsError::Key(format!("it cannot be used with the certificate: {error}")),
            };
            let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
            builder.with_root_certificates(roots).with_client_auth_cert(chain, key).map_err(failed)?;
        }
        Ok(())
    }

    /// Returns when each of the files was changed.
    pub(super) fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let pair = self.certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        let files = self.authorities.iter().chain(pair);
        files.map(|path| fs::metadata(path).and_then(|file| file.modified()).ok()).collect()
    }

    /// Reads the files. Returns the reason if one cannot be read.
    pub(super) fn read(&self) -> Result<TlsCertificates, String> {
        let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let root_cert = self.authorities.as_deref().map(read).transpose()?;
        let client = |(certificate, key): &(PathBuf, PathBuf)| {
            Ok::<_, String>(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        };
        Ok(TlsCertificates { client_tls: self.certificate.as_ref().map(client).transpose()?, root_cert })
    }
}

/// Reads a PEM file with at least one certificate.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) }
}

fn pem_error(error: pem::Error, expected: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot read the file: {error}"),
        pem::Error::NoItemsFound => format!("expected a PEM file with {expected}, found none in it"),
        error => format!("expected a PEM file with {expected}: {error}"),
    }
}
