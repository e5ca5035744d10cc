//! Record layer of a connection after its handshake (RFC 8446 §5, RFC 5246 §6).
//!
//! rustls performs the handshake and then gives its keys away. What stays is small: a key and a record number for each
//! direction, and the secrets from which rustls derives the next keys. An idle connection has no buffer. This file
//! counts records, and acts on what each of them means.
//!
//! It does no I/O. [`read`](RecordLayer::read) takes what the client has sent, and calls back with the data.
//! [`seal`](RecordLayer::seal) encrypts one record. What the socket does not accept of it is [kept](RecordLayer::keep),
//! and [`unsent`](RecordLayer::unsent) returns it until it is sent. Alerts are queued behind it. The answer to a key
//! update is sent before the next data.

#[cfg(test)]
pub(crate) mod tests;

#[cfg(doc)]
use super::cipher::MAX_DATA_BYTES;
use super::cipher::{Opener, Sealed, Sealer};
use super::fault::Fault;
use super::messages::{Meaning, Messages};
use super::reader::RecordReader;
use tokio_rustls::rustls::kernel::KernelConnection;
use tokio_rustls::rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use tokio_rustls::rustls::{AlertDescription, ContentType, Error, SupportedCipherSuite};

/// Message that announces new keys and does not ask the client for new ones (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// Keys and state of a connection whose handshake is done. This struct is small, because it is read from memory for
/// each client when an entry is sent. State that is rarely needed to send a record is in `rare`.
pub(crate) struct RecordLayer {
    sealer: Sealer,
    /// Number of the next record to the client.
    next_sent: u64,
    /// Number of records that one key may encrypt (RFC 8446 §5.5).
    max_records: u64,
    /// Encrypted bytes for the client. The first `sent` of them have been sent. Empty, without memory, if all are sent.
    unsent: Vec<u8>,
    sent: usize,
    reader: RecordReader,
    /// True if new keys are due before the next data, because the client has asked for them.
    key_update_due: bool,
    /// True if the client sends nothing more.
    is_ended: bool,
    /// True if nothing more may be sent, because an alert has been queued or the client has sent an error alert.
    is_closed: bool,
    rare: Box<Rare>,
}

/// State that is used only when a record of the client arrives or when keys change.
struct Rare {
    /// Secrets from which the next keys are derived.
    secrets: KernelConnection<ServerConnectionData>,
    opener: Opener,
    /// Number of the next record of the client.
    next_received: u64,
    messages: Messages,
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
        let max_records = match suite {
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        };
        let (opener, messages) = (Opener::new(suite, decryption)?, Messages::default());
        Ok(RecordLayer {
            sealer: Sealer::new(suite, encryption, next_sent)?,
            next_sent,
            max_records,
            unsent: Vec::new(),
            sent: 0,
            reader: RecordReader::default(),
            key_update_due: false,
            is_ended: false,
            is_closed: false,
            rare: Box::new(Rare { secrets, opener, next_received, messages }),
        })
    }

    /// Decrypts the records that `bytes` completes, in place, and calls `emit` for the data of each.
    ///
    /// # Errors
    /// If the connection has to end. The alert for the client has been queued, unless the client has sent one.
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

    /// Encrypts data as one record, and appends it to `sealed`. The pieces together have at most [`MAX_DATA_BYTES`].
    /// What is [unsent](Self::unsent) must be sent before this record.
    ///
    /// # Errors
    /// If nothing more may be sent, or if the key has encrypted as many records as it may and cannot be replaced
    /// (TLS 1.2).
    pub(crate) fn seal(&mut self, pieces: &[&[u8]], sealed: &mut Sealed) -> Result<(), Error> {
        if self.is_closed {
            return Err(Error::EncryptError);
        }
        if self.key_update_due || self.next_sent >= self.max_records {
            self.update_sealer(sealed)?;
        }
        self.encrypt(ContentType::ApplicationData, pieces, sealed)
    }

    /// Keeps encrypted bytes that the socket does not accept now.
    pub(crate) fn keep(&mut self, sealed: &[u8]) {
        self.unsent.extend_from_slice(sealed);
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
        let is_tls13 = matches!(self.suite(), SupportedCipherSuite::Tls13(_));
        if is_tls13 && ContentType::from(record[0]) != ContentType::ApplicationData {
            return Err(Fault::Broken(AlertDescription::UnexpectedMessage));
        }
        let plain = self.rare.opener.open(record, self.rare.next_received)?;
        self.rare.next_received += 1;
        match self.rare.messages.receive(plain.typ, plain.payload, is_tls13)? {
            Meaning::Data => emit(plain.payload),
            Meaning::KeyUpdate { answer } => {
                let (first, keys) = self.rare.secrets.update_rx_secret()?;
                self.rare.opener = Opener::new(self.suite(), keys)?;
                self.rare.next_received = first;
                self.key_update_due |= answer;
            }
            Meaning::End => self.is_ended = true,
            Meaning::Nothing => {}
        }
        Ok(())
    }

    /// Announces new keys to the client, and encrypts later records with them. Fails with TLS 1.2, which has no key
    /// updates.
    fn update_sealer(&mut self, sealed: &mut Sealed) -> Result<(), Error> {
        let (first, keys) = self.rare.secrets.update_tx_secret()?;
        self.encrypt(ContentType::Handshake, &[&KEY_UPDATE], sealed)?;
        self.sealer = Sealer::new(self.suite(), keys, first)?;
        (self.next_sent, self.key_update_due) = (first, false);
        Ok(())
    }

    fn alert(&mut self, level: u8, alert: AlertDescription) {
        if !std::mem::replace(&mut self.is_closed, true) {
            let mut sealed = Sealed::new();
            // If the alert cannot be encrypted, the connection ends without one.
            if self.encrypt(ContentType::Alert, &[&[level, alert.into()]], &mut sealed).is_ok() {
                self.keep(&sealed);
            }
        }
    }

    fn encrypt(&mut self, typ: ContentType, pieces: &[&[u8]], sealed: &mut Sealed) -> Result<(), Error> {
        self.sealer.seal(typ, pieces, self.next_sent, sealed)?;
        self.next_sent += 1;
        Ok(())
    }

    fn suite(&self) -> SupportedCipherSuite {
        self.rare.secrets.negotiated_cipher_suite()
    }
}
