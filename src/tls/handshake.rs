//! Handshake of a connection whose keys are needed afterwards.
//!
//! rustls gets the records one by one until the handshake is done. So it decrypts no record that follows. The record
//! layer does that, with the keys that rustls gives away.

#[cfg(any(test, fuzzing))]
mod changed;
#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(super) use changed::check;
#[cfg(test)]
pub(super) use changed::sent;

use super::fault::Fault;
use super::reader::record_bytes;
use super::record_layer::RecordLayer;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use tokio_rustls::rustls::server::{Accepted, Acceptor, ServerConnectionData, UnbufferedServerConnection};
use tokio_rustls::rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use tokio_rustls::rustls::{Error, ServerConfig};

/// Maximum number of bytes of a handshake message with the records around it. A `ClientHello` has at most a few KiB.
const MAX_BYTES: usize = 32 * 1024;

/// Reads the first message of a client, which names the protocols that it offers.
#[derive(Default)]
pub(super) struct HelloReader {
    acceptor: Acceptor,
    /// All bytes of the client.
    received: Vec<u8>,
}

/// Fault in a handshake, and the bytes that tell the client about it.
pub(super) struct HandshakeFault {
    pub(super) error: io::Error,
    pub(super) alert: Vec<u8>,
}

impl From<Error> for HandshakeFault {
    fn from(error: Error) -> HandshakeFault {
        HandshakeFault { error: invalid(error), alert: Vec::new() }
    }
}

impl From<Fault> for HandshakeFault {
    fn from(fault: Fault) -> HandshakeFault {
        HandshakeFault { error: fault.into(), alert: Vec::new() }
    }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl HelloReader {
    /// Returns true if nothing has been read.
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// Adds bytes of the client. Returns its first message when that is complete.
    ///
    /// # Errors
    /// If the bytes do not begin a valid handshake, or are too many.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<Accepted>, HandshakeFault> {
        let mut rest = &bytes[..bytes.len().min(MAX_BYTES.saturating_sub(self.received.len()))];
        self.received.extend_from_slice(bytes);
        // The acceptor processes each part before it gets the next one, because it refuses bytes when its buffer is
        // full. If it got all bytes first, the result would depend on the pieces in which they arrive.
        while !rest.is_empty() {
            self.acceptor.read_tls(&mut rest).map_err(|_| Error::PeerSentOversizedRecord)?;
            let accepted = self.acceptor.accept().map_err(|(error, mut alert)| {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes).ok();
                HandshakeFault { alert: bytes, ..error.into() }
            })?;
            if accepted.is_some() {
                return Ok(accepted);
            }
        }
        if self.received.len() >= MAX_BYTES { Err(Error::PeerSentOversizedRecord.into()) } else { Ok(None) }
    }

    /// Returns all bytes that have been read.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.received
    }
}

/// A handshake of the server.
pub(super) struct ServerHandshake {
    connection: UnbufferedServerConnection,
    /// Bytes of the client that rustls has not used.
    received: Vec<u8>,
    /// The number of these bytes that rustls may use: whole records.
    passed: usize,
    /// Bytes for the client.
    outgoing: Vec<u8>,
}

impl ServerHandshake {
    /// Begins a handshake.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub(super) fn new(config: Arc<ServerConfig>) -> io::Result<ServerHandshake> {
        let connection = UnbufferedServerConnection::new(config).map_err(invalid)?;
        Ok(ServerHandshake { connection, received: Vec::new(), passed: 0, outgoing: Vec::new() })
    }

    /// Uses further bytes of the client. Returns whether the handshake is done.
    ///
    /// # Errors
    /// If the handshake failed.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<bool, HandshakeFault> {
        self.received.extend_from_slice(bytes);
        loop {
            let invalid_record = match record_bytes(&self.received[self.passed..]) {
                Ok(Some(len)) if self.received.len() - self.passed >= len => {
                    self.passed += len;
                    None
                }
                Ok(_) => return Ok(false),
                // rustls gets the invalid record, too, because only rustls has the keys to encrypt an alert.
                Err(fault) => {
                    self.passed = self.received.len();
                    Some(fault)
                }
            };
            match (self.advance(), invalid_record) {
                (Ok(is_done), None) if is_done => return Ok(true),
                // No message of a handshake is this long.
                (Ok(_), None) if self.passed > MAX_BYTES => return Err(Error::PeerSentOversizedRecord.into()),
                (Ok(_), None) => {}
                (Ok(_), Some(fault)) => return Err(fault.into()),
                (Err(error), _) => {
                    self.encode_queued();
                    return Err(HandshakeFault { alert: self.take_outgoing(), ..error.into() });
                }
            }
        }
    }

    /// Returns the bytes for the client that have been added since the last call.
    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Returns the record layer of the connection, and the bytes after the handshake. Call it when the handshake is
    /// done.
    ///
    /// # Errors
    /// If rustls does not give its keys away.
    pub(super) fn finish(self) -> io::Result<(RecordLayer, Vec<u8>)> {
        let rest = self.received[self.passed..].to_vec();
        RecordLayer::new(self.connection).map(|records| (records, rest)).map_err(invalid)
    }

    /// Encodes the alert that rustls has queued after an error. If nothing is queued, rustls must not be called: it
    /// would look for the records that it had before the error, find no bytes, and panic.
    fn encode_queued(&mut self) {
        while self.connection.wants_write() {
            // rustls encodes what is queued before it looks for records.
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(data)) = state else { return };
            if encode(data, &mut self.outgoing).is_err() {
                return;
            }
        }
    }

    /// Passes the next records to rustls. Returns whether the handshake is done.
    fn advance(&mut self) -> Result<bool, Error> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.received[..self.passed]);
            let done = match state? {
                ConnectionState::EncodeTlsData(data) => {
                    encode(data, &mut self.outgoing)?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    // The caller sends these bytes before it reads more of the client.
                    data.done();
                    None
                }
                ConnectionState::BlockedHandshake => Some(false),
                ConnectionState::WriteTraffic(_) => Some(true),
                _ => return Err(Error::HandshakeNotComplete),
            };
            self.received.drain(..discard);
            self.passed -= discard;
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, to: &mut Vec<u8>) -> Result<(), Error> {
    // Without room, rustls returns the length.
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else { return Ok(()) };
    let begin = to.len();
    to.resize(begin + size.required_size, 0);
    data.encode(&mut to[begin..]).map(drop).map_err(|error| Error::General(error.to_string()))
}
