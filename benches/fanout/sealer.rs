//! TLS 1.3 of the baseline: rustls does the handshake. Afterwards a client is only a key, a vector and the number of
//! the next record (RFC 8446 §5.2).

use crate::shared::endpoint::provider;
use anyhow::{Context, bail};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{ConnectionTrafficSecrets, ServerConfig, ServerConnection, Stream, version};

/// Type of a record with application data.
const APPLICATION_DATA: u8 = 23;
/// Length of the head of a record.
const HEAD: usize = 5;

/// Returns the TLS settings of the baseline: sessions are not resumed.
pub(crate) fn config(certificate: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .context("the provider has TLS 1.3")?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// Encrypts what one client gets.
pub(crate) struct Sealer {
    key: LessSafeKey,
    vector: [u8; NONCE_LEN],
    /// Number of the next record.
    number: u64,
}

impl Sealer {
    /// Does the handshake, lets `talk` read and write over TLS, and keeps only what is needed to encrypt records.
    pub(crate) fn handshake(
        config: &Arc<ServerConfig>,
        stream: &mut TcpStream,
        talk: impl FnOnce(&mut Stream<'_, ServerConnection, TcpStream>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Sealer> {
        let mut session = ServerConnection::new(config.clone())?;
        talk(&mut Stream::new(&mut session, stream))?;
        let (number, ConnectionTrafficSecrets::Aes128Gcm { key, iv }) = session.dangerous_extract_secrets()?.tx else {
            bail!("unexpected cipher suite: the provider has only TLS13_AES_128_GCM_SHA256");
        };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref())?);
        Ok(Sealer { key, vector: iv.as_ref().try_into()?, number })
    }

    /// Replaces the content of `record` by an encrypted record with `data`.
    pub(crate) fn seal(&mut self, data: &[u8], record: &mut Vec<u8>) -> anyhow::Result<()> {
        let len = u16::try_from(data.len() + 1 + AES_128_GCM.tag_len())?;
        record.clear();
        record.extend_from_slice(&[APPLICATION_DATA, 3, 3]);
        record.extend_from_slice(&len.to_be_bytes());
        record.extend_from_slice(data);
        record.push(APPLICATION_DATA);
        let mut nonce = self.vector;
        for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= number;
        }
        self.number += 1;
        let (head, body) = record.split_at_mut(HEAD);
        let tag = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&*head), body)?;
        record.extend_from_slice(tag.as_ref());
        Ok(())
    }
}
