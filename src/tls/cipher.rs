//! Encryption and decryption of single records.
//!
//! The ciphers of rustls allocate memory for each record, and keep the keys of both directions expanded. An expanded
//! key has about 600 bytes, and most clients hardly ever send a record. So TLS 1.3 uses AWS-LC directly: a record is
//! encrypted in a buffer of the caller, and the key that decrypts is expanded only when a record arrives. The format of
//! the records still comes from rustls. TLS 1.2, which hardly any client uses, uses the ciphers of rustls.

use super::reader::HEADER_BYTES;
use arrayvec::ArrayVec;
use aws_lc_rs::aead::{self, AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use tokio_rustls::rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, Nonce, OutboundChunks,
    OutboundPlainMessage, make_tls13_aad,
};
use tokio_rustls::rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite};

/// Maximum number of bytes of data in one record (RFC 8446 §5.1).
pub(crate) const MAX_DATA_BYTES: usize = 16 * 1024;
/// Version in the header of every record (RFC 8446 §5.1).
const VERSION: ProtocolVersion = ProtocolVersion::TLSv1_2;
/// Room for encrypted records: one with data, and one that announces new keys. Each is at most 29 bytes longer than
/// what it contains.
const SEALED_BYTES: usize = MAX_DATA_BYTES + 128;

/// Encrypted records. They are short-lived and on the stack, so that an idle connection has no buffer.
pub(crate) type Sealed = ArrayVec<u8, SEALED_BYTES>;

/// Encrypts records to the client.
pub(super) enum Sealer {
    Tls13 { key: LessSafeKey, iv: Iv },
    Tls12(Box<dyn MessageEncrypter>),
}

/// Decrypts records of the client.
pub(super) enum Opener {
    Tls13 { algorithm: &'static Algorithm, key: AeadKey, iv: Iv },
    Tls12(Box<dyn MessageDecrypter>),
}

impl Sealer {
    /// A sealer for records from number `next` on.
    pub(super) fn new(suite: SupportedCipherSuite, keys: ConnectionTrafficSecrets, next: u64) -> Result<Sealer, Error> {
        let (algorithm, key, iv) = parts(keys)?;
        let SupportedCipherSuite::Tls12(suite) = suite else {
            return Ok(Sealer::Tls13 { key: expand(algorithm, &key)?, iv });
        };
        // The first part of the initialization vector is secret, and the second one is sent with each record (RFC 5288
        // §3).
        let (fixed, explicit) = iv.as_ref().split_at(suite.aead_alg.key_block_shape().fixed_iv_len);
        let mut encrypter = suite.aead_alg.encrypter(key, fixed, explicit);
        if next > 0 {
            // AWS-LC checks that the numbers of records increase. It assumes that the first number it gets is zero. So
            // it must get the number zero first. rustls has already sent a record with this number, so the one that is
            // encrypted here is dropped and never leaves the process.
            let (typ, payload) = (ContentType::ApplicationData, OutboundChunks::Single(&[]));
            drop(encrypter.encrypt(OutboundPlainMessage { typ, version: VERSION, payload }, 0)?);
        }
        Ok(Sealer::Tls12(encrypter))
    }

    /// Appends a record with `pieces` to `sealed`.
    ///
    /// # Errors
    /// If the pieces are too long, or the cipher fails.
    pub(super) fn seal(
        &mut self,
        typ: ContentType,
        pieces: &[&[u8]],
        number: u64,
        sealed: &mut Sealed,
    ) -> Result<(), Error> {
        let mut append = |bytes: &[u8]| sealed.try_extend_from_slice(bytes).map_err(|_| Error::EncryptError);
        match self {
            Sealer::Tls13 { key, iv } => {
                let len = pieces.iter().map(|piece| piece.len()).sum::<usize>();
                let header = make_tls13_aad(len + 1 + key.algorithm().tag_len());
                append(&header)?;
                pieces.iter().try_for_each(|piece| append(piece))?;
                append(&[typ.into()])?;
                let begin = sealed.len() - len - 1;
                let tag = key.seal_in_place_separate_tag(nonce(iv, number), Aad::from(header), &mut sealed[begin..]);
                let tag = tag.map_err(|_| Error::EncryptError)?;
                sealed.try_extend_from_slice(tag.as_ref()).map_err(|_| Error::EncryptError)
            }
            Sealer::Tls12(encrypter) => {
                let message = OutboundPlainMessage { typ, version: VERSION, payload: OutboundChunks::new(pieces) };
                append(&encrypter.encrypt(message, number)?.encode())
            }
        }
    }
}

impl Opener {
    pub(super) fn new(suite: SupportedCipherSuite, keys: ConnectionTrafficSecrets) -> Result<Opener, Error> {
        let (algorithm, key, iv) = parts(keys)?;
        Ok(match suite {
            SupportedCipherSuite::Tls13(_) => Opener::Tls13 { algorithm, key, iv },
            SupportedCipherSuite::Tls12(suite) => {
                let fixed_len = suite.aead_alg.key_block_shape().fixed_iv_len;
                Opener::Tls12(suite.aead_alg.decrypter(key, &iv.as_ref()[..fixed_len]))
            }
        })
    }

    /// Decrypts a record in place. `record` includes the header.
    ///
    /// # Errors
    /// If the client broke the protocol, or the record was changed on its way.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8], number: u64) -> Result<InboundPlainMessage<'a>, Error> {
        let (header, payload) = record.split_at_mut(HEADER_BYTES);
        let typ = ContentType::from(header[0]);
        match self {
            Opener::Tls13 { algorithm, key, iv } => {
                let aad = Aad::from(make_tls13_aad(payload.len()));
                let opened = expand(algorithm, key)?.open_in_place(nonce(iv, number), aad, payload);
                let len = opened.map_err(|_| Error::DecryptError)?.len();
                InboundOpaqueMessage::new(typ, VERSION, &mut payload[..len]).into_tls13_unpadded_message()
            }
            Opener::Tls12(decrypter) => decrypter.decrypt(InboundOpaqueMessage::new(typ, VERSION, payload), number),
        }
    }
}

fn expand(algorithm: &'static Algorithm, key: &AeadKey) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::General("invalid length of a key".into()))?;
    Ok(LessSafeKey::new(key))
}

/// Returns the nonce of a record (RFC 8446 §5.3).
fn nonce(iv: &Iv, number: u64) -> aead::Nonce {
    aead::Nonce::assume_unique_for_key(Nonce::new(iv, number).0)
}

fn parts(keys: ConnectionTrafficSecrets) -> Result<(&'static Algorithm, AeadKey, Iv), Error> {
    match keys {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => Ok((&AES_128_GCM, key, iv)),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => Ok((&AES_256_GCM, key, iv)),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((&CHACHA20_POLY1305, key, iv)),
        _ => Err(Error::General("unknown kind of keys".to_owned())),
    }
}
