//! Record layer of a connection after its handshake (RFC 8446 §5, RFC 5246 §6).
//!
//! rustls performs the handshake and then gives its keys away. What stays is small: a key and a number for each
//! direction, and the secrets from which the next keys are derived. So an idle connection has no buffer. rustls still
//! encrypts, decrypts and derives keys. This file counts records, and decides what each of them means.
//!
//! It does no I/O. [`read`](RecordLayer::read) takes what the client has sent, and calls back with the data.
//! [`seal`](RecordLayer::seal) encrypts one record, which [`unsent`](RecordLayer::unsent) returns until it is sent.
//! The answers of TLS itself, such as alerts, are queued there, too.

#[cfg(test)]
pub(crate) mod tests;

use super::fault::Fault;
use super::messages::{Meaning, Messages};
use super::reader::{HEADER_BYTES, RecordReader};
use tokio_rustls::rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use tokio_rustls::rustls::kernel::KernelConnection;
use tokio_rustls::rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use tokio_rustls::rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite,
};

/// Maximum number of bytes of data in one record (RFC 8446 §5.1).
pub(crate) const MAX_DATA_BYTES: usize = 16 * 1024;
/// Message that announces new keys and does not ask the client for new ones (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
/// Version in the header of every record (RFC 8446 §5.1).
const VERSION: ProtocolVersion = ProtocolVersion::TLSv1_2;

/// Keys and state of a connection whose handshake is done.
pub(crate) struct RecordLayer {
    /// Secrets from which the next keys are derived.
    secrets: KernelConnection<ServerConnectionData>,
    encrypter: Box<dyn MessageEncrypter>,
    /// Number of the next record to the client.
    next_sent: u64,
    decrypter: Box<dyn MessageDecrypter>,
    /// Number of the next record of the client.
    next_received: u64,
    reader: RecordReader,
    messages: Messages,
    /// Encrypted bytes for the client. The first `sent` of them have been sent. Empty, without memory, if all are sent.
    unsent: Vec<u8>,
    sent: usize,
    /// True if new keys are due before the next data, because the client has asked for them.
    key_update_due: bool,
    /// True if the client sends nothing more.
    is_ended: bool,
    /// True if an alert has been queued, so that nothing more may be sent.
    is_closed: bool,
}

impl RecordLayer {
    /// Takes over the keys of a connection whose handshake is done.
    ///
    /// # Errors
    /// If rustls does not give its keys away.
    pub(super) fn new(connection: UnbufferedServerConnection) -> Result<RecordLayer, Error> {
        let (keys, secrets) = connection.dangerous_into_kernel_connection()?;
        let suite = secrets.negotiated_cipher_suite();
        let ((next_sent, encryption), (next_received, decryption)) = (keys.tx, keys.rx);
        Ok(RecordLayer {
            secrets,
            encrypter: encrypter(suite, encryption, next_sent)?,
            next_sent,
            decrypter: decrypter(suite, decryption)?,
            next_received,
            reader: RecordReader::default(),
            messages: Messages::default(),
            unsent: Vec::new(),
            sent: 0,
            key_update_due: false,
            is_ended: false,
            is_closed: false,
        })
    }

    /// Decrypts the records that `bytes` completes, in place, and calls `emit` for the data of each.
    ///
    /// # Errors
    /// If the connection has to end. The alert for the client has been queued.
    pub(crate) fn read(&mut self, bytes: &mut [u8], emit: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        if self.is_ended {
            return Ok(());
        }
        let mut reader = std::mem::take(&mut self.reader);
        let read = reader.read(bytes, &mut |record| self.open(record, emit));
        // What follows the alert that ends the input is ignored (RFC 8446 §6.1).
        if self.is_ended {
            return Ok(());
        }
        self.reader = reader;
        match read {
            Err(Fault::Broken(alert)) => self.fail(alert),
            Err(Fault::Alerted(_)) => self.is_closed = true,
            Ok(()) => {}
        }
        read
    }

    /// Encrypts data as one record and queues it. The pieces together have at most [`MAX_DATA_BYTES`].
    ///
    /// # Errors
    /// If an alert has been queued, or if the key has encrypted as many records as it may.
    pub(crate) fn seal(&mut self, pieces: &[&[u8]]) -> Result<(), Error> {
        if self.is_closed {
            return Err(Error::EncryptError);
        }
        if self.key_update_due || self.next_sent >= self.max_records() {
            self.update_encrypter()?;
        }
        self.queue(ContentType::ApplicationData, OutboundChunks::new(pieces))
    }

    /// Queues the alert that ends the output (RFC 8446 §6.1).
    pub(crate) fn close(&mut self) {
        self.alert(1, AlertDescription::CloseNotify);
    }

    /// Queues an alert that ends the connection.
    pub(crate) fn fail(&mut self, alert: AlertDescription) {
        self.alert(2, alert);
    }

    /// Returns the encrypted bytes that have not been sent.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.unsent[self.sent..]
    }

    /// Notes that the first bytes of [`unsent`](Self::unsent) have been sent.
    pub(crate) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        if self.sent == self.unsent.len() {
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
    }

    /// Returns whether the client has ended its input.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Returns the memory of bytes that are not sent, and of a record that is not complete.
    pub(crate) fn held_bytes(&self) -> usize {
        self.unsent.capacity() + self.reader.held_bytes()
    }

    fn open(&mut self, record: &mut [u8], emit: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        if self.is_ended {
            return Ok(());
        }
        let (header, payload) = record.split_at_mut(HEADER_BYTES);
        let kind = ContentType::from(header[0]);
        let is_tls13 = matches!(self.suite(), SupportedCipherSuite::Tls13(_));
        if is_tls13 && kind != ContentType::ApplicationData {
            return Err(Fault::Broken(AlertDescription::UnexpectedMessage));
        }
        let message = InboundOpaqueMessage::new(kind, VERSION, payload);
        let plain = self.decrypter.decrypt(message, self.next_received)?;
        self.next_received += 1;
        match self.messages.receive(plain.typ, plain.payload, is_tls13)? {
            Meaning::Data => emit(plain.payload),
            Meaning::KeyUpdate { answer } => {
                let (first, keys) = self.secrets.update_rx_secret()?;
                self.decrypter = decrypter(self.suite(), keys)?;
                self.next_received = first;
                self.key_update_due |= answer;
            }
            Meaning::End => self.is_ended = true,
            Meaning::Nothing => {}
        }
        Ok(())
    }

    /// Replaces the keys to the client. TLS 1.2 cannot do that.
    fn update_encrypter(&mut self) -> Result<(), Error> {
        let (first, keys) = self.secrets.update_tx_secret()?;
        self.queue(ContentType::Handshake, OutboundChunks::Single(&KEY_UPDATE))?;
        self.encrypter = encrypter(self.suite(), keys, first)?;
        (self.next_sent, self.key_update_due) = (first, false);
        Ok(())
    }

    fn alert(&mut self, level: u8, alert: AlertDescription) {
        if !std::mem::replace(&mut self.is_closed, true) {
            // If the alert cannot be encrypted, the connection ends without one.
            self.queue(ContentType::Alert, OutboundChunks::Single(&[level, alert.into()])).ok();
        }
    }

    fn queue(&mut self, typ: ContentType, payload: OutboundChunks<'_>) -> Result<(), Error> {
        let message = OutboundPlainMessage { typ, version: VERSION, payload };
        let record = self.encrypter.encrypt(message, self.next_sent)?.encode();
        self.next_sent += 1;
        if self.unsent.is_empty() {
            self.unsent = record;
        } else {
            self.unsent.extend_from_slice(&record);
        }
        Ok(())
    }

    fn suite(&self) -> SupportedCipherSuite {
        self.secrets.negotiated_cipher_suite()
    }

    /// Returns the number of records that one key may encrypt (RFC 8446 §5.5).
    fn max_records(&self) -> u64 {
        match self.suite() {
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        }
    }
}

/// Returns the encrypter for records from number `next` on.
fn encrypter(
    suite: SupportedCipherSuite,
    keys: ConnectionTrafficSecrets,
    next: u64,
) -> Result<Box<dyn MessageEncrypter>, Error> {
    let (key, iv) = key_and_iv(keys)?;
    let mut encrypter = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            // The first part of the vector is secret, and the second one is sent with each record (RFC 5288 §3).
            let fixed_len = suite.aead_alg.key_block_shape().fixed_iv_len;
            let (fixed, explicit) = iv.as_ref().split_at(fixed_len);
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    };
    if next > 0 {
        // AWS-LC checks that numbers increase, and takes the first one that it sees for zero. So it must see zero
        // first. This record is dropped and never leaves the process: rustls has sent another one with this number.
        let (typ, payload) = (ContentType::ApplicationData, OutboundChunks::Single(&[]));
        drop(encrypter.encrypt(OutboundPlainMessage { typ, version: VERSION, payload }, 0)?);
    }
    Ok(encrypter)
}

fn decrypter(suite: SupportedCipherSuite, keys: ConnectionTrafficSecrets) -> Result<Box<dyn MessageDecrypter>, Error> {
    let (key, iv) = key_and_iv(keys)?;
    Ok(match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let fixed_len = suite.aead_alg.key_block_shape().fixed_iv_len;
            suite.aead_alg.decrypter(key, &iv.as_ref()[..fixed_len])
        }
    })
}

fn key_and_iv(keys: ConnectionTrafficSecrets) -> Result<(AeadKey, Iv), Error> {
    match keys {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(Error::General("unknown kind of keys".to_owned())),
    }
}
