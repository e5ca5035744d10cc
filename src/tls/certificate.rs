//! Certificate of the clients' port: its two PEM files, their possible faults, and the time until the certificate
//! expires.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_rustls::rustls::crypto::aws_lc_rs::{self, Ticketer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, ServerConfig};
use x509_parser::parse_x509_certificate;

/// Protocol names of ALPN (RFC 7301), the preferred one first.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
/// Remaining time below which a certificate is reported. A certificate with a short life is reported only in the last
/// third of its life.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Files of a certificate, and the minimum TLS version of its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM file with the certificate, followed by the intermediate certificates.
    pub certificate: PathBuf,
    /// PEM file with the private key of the certificate.
    pub key: PathBuf,
    /// Oldest version that clients may use.
    pub min_version: TlsVersion,
}

/// Reason why a certificate cannot be used, with the file that has the fault.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A fault in the file of the certificate.
    #[error("{0}")]
    Certificate(String),
    /// A fault in the file of the key.
    #[error("{0}")]
    Key(String),
}

impl TlsOptions {
    /// Checks that the files can be used.
    ///
    /// # Errors
    /// If a file cannot be read, or has no valid certificate or key, or if the key belongs to another certificate.
    pub fn check(&self) -> Result<(), CertificateError> {
        read(self).map(drop)
    }

    /// Returns what an operator has to know about the certificate now, and the number of whole days until it expires,
    /// which is zero if it has expired.
    ///
    /// # Errors
    /// Like [`check`](Self::check).
    pub fn warning(&self) -> Result<(Option<Warning>, u64), CertificateError> {
        let (life, now) = (read(self)?.life, SystemTime::now());
        Ok((life.warning(now), days(life.end.duration_since(now).unwrap_or_default())))
    }
}

/// Configuration of rustls for a certificate, and the certificate's life.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) config: Arc<ServerConfig>,
    pub(super) life: Life,
}

/// Time in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) begin: SystemTime,
    pub(super) end: SystemTime,
}

/// State of a certificate that an operator has to know about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The certificate is not valid yet.
    NotYet,
    /// The certificate expires in this number of days.
    Soon(u64),
    /// The certificate expired this number of days ago.
    Expired(u64),
}

/// Returns a time in whole days.
fn days(time: Duration) -> u64 {
    time.as_secs() / (24 * 3600)
}

impl Life {
    /// Returns what has to be reported at this time.
    pub(super) fn warning(&self, now: SystemTime) -> Option<Warning> {
        if now < self.begin {
            return Some(Warning::NotYet);
        }
        let Ok(left) = self.end.duration_since(now) else {
            return Some(Warning::Expired(days(now.duration_since(self.end).unwrap_or_default())));
        };
        let life = self.end.duration_since(self.begin).unwrap_or_default();
        (left < WARN_BEFORE.min(life / 3)).then(|| Warning::Soon(days(left)))
    }
}

/// Reads the files of a certificate.
pub(super) fn read(options: &TlsOptions) -> Result<Certificate, CertificateError> {
    let no_certificate = |error| CertificateError::Certificate(pem_error(error, "a certificate"));
    let chain = CertificateDer::pem_file_iter(&options.certificate).map_err(no_certificate)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(no_certificate)?;
    let first = chain.first().ok_or_else(|| no_certificate(pem::Error::NoItemsFound))?;
    let life = life(first).ok_or_else(|| {
        CertificateError::Certificate("the first certificate in the file is not a valid X.509 certificate".to_owned())
    })?;
    let key = PrivateKeyDer::from_pem_file(&options.key).map_err(|error| {
        CertificateError::Key(pem_error(error, "a private key in unencrypted form (-----BEGIN PRIVATE KEY-----)"))
    })?;
    let internal = |error: &dyn std::fmt::Display| CertificateError::Certificate(format!("cannot set TLS up: {error}"));
    let versions: &[_] = match options.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|error| internal(&error))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| match error {
        Error::InconsistentKeys(_) => CertificateError::Key("it is not the key of the certificate".to_owned()),
        error => CertificateError::Key(format!("it cannot be used with the certificate: {error}")),
    })?;
    Ok(Certificate { config: complete(config).map_err(|error| internal(&error))?, life })
}

/// Adds to the configuration what does not depend on the certificate.
///
/// # Errors
/// If there are no random numbers.
pub(super) fn complete(mut config: ServerConfig) -> Result<Arc<ServerConfig>, Error> {
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    // After the handshake, the record layer takes the keys of the connection from rustls.
    config.enable_secret_extraction = true;
    // With a session ticket, a client that reconnects within hours needs no new signature.
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

fn pem_error(error: pem::Error, expected: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot read the file: {error}"),
        pem::Error::NoItemsFound => format!("the file has no {}", expected.trim_start_matches("a ")),
        error => format!("expected a PEM file with {expected}: {error}"),
    }
}

fn life(certificate: &CertificateDer<'_>) -> Option<Life> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let time = |timestamp: i64| Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).ok()?));
    let validity = certificate.validity();
    Some(Life { begin: time(validity.not_before.timestamp())?, end: time(validity.not_after.timestamp())? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::fs;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn reason(certificate: &str, key: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let options = TlsOptions {
            certificate: folder.path().join("cert"),
            key: folder.path().join("key"),
            min_version: TlsVersion::Tls12,
        };
        fs::write(&options.certificate, certificate).unwrap();
        fs::write(&options.key, key).unwrap();
        match read(&options) {
            Err(CertificateError::Certificate(reason)) => format!("certificate: {reason}"),
            Err(CertificateError::Key(reason)) => format!("key: {reason}"),
            Ok(_) => "none".to_owned(),
        }
    }

    #[test]
    fn reasons_name_the_file_and_the_fault() {
        let pair = || {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let ((certificate, key), (_, other)) = (pair(), pair());
        assert_eq!(reason(&certificate, &key), "none");
        assert_eq!(reason(&certificate, &other), "key: it is not the key of the certificate");
        assert_eq!(reason("", &key), "certificate: the file has no certificate");
        assert_eq!(reason(&key, &key), "certificate: the file has no certificate");
        assert!(reason(&certificate, &certificate).starts_with("key: the file has no private key"));
        let broken = certificate.replace("MII", "AII");
        let expected = "certificate: the first certificate in the file is not a valid X.509 certificate";
        assert_eq!(reason(&broken, &key), expected);
        let missing = TlsOptions {
            certificate: "/nowhere/cert.pem".into(),
            key: "/nowhere/key.pem".into(),
            min_version: TlsVersion::Tls12,
        };
        let reason = read(&missing).unwrap_err().to_string();
        assert_eq!(reason, "cannot read the file: No such file or directory (os error 2)");
    }

    #[test]
    fn end_of_a_certificate_is_reported_in_time() {
        let begin = UNIX_EPOCH + DAY * 20_000;
        let long = Life { begin, end: begin + DAY * 90 };
        assert_eq!(long.warning(begin - DAY), Some(Warning::NotYet));
        assert_eq!(long.warning(begin + DAY * 75), None);
        assert_eq!(long.warning(begin + DAY * 77), Some(Warning::Soon(13)));
        assert_eq!(long.warning(begin + DAY * 95), Some(Warning::Expired(5)));
        let short = Life { begin, end: begin + DAY * 6 };
        assert_eq!(short.warning(begin + DAY * 3), None, "it is renewed after two thirds of its life");
        assert_eq!(short.warning(begin + DAY * 5), Some(Warning::Soon(1)));
    }
}
