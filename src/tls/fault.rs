//! Faults of a client that end its connection, during the handshake or after it.

use std::fmt;
use std::io::{self, ErrorKind};
use tokio_rustls::rustls::{AlertDescription, Error};

/// Fault of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The peer broke the protocol, and gets this alert.
    Broken(AlertDescription),
    /// The peer sent this alert. It gets no answer (RFC 8446 §6.2).
    Alerted(AlertDescription),
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Broken(alert) => write!(f, "the client broke the TLS protocol: {alert:?}"),
            Fault::Alerted(alert) => write!(f, "the client sent a TLS alert: {alert:?}"),
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        io::Error::new(ErrorKind::InvalidData, fault)
    }
}

impl From<Error> for Fault {
    /// Selects the alert for a record that cannot be decrypted (RFC 8446 §6.2).
    fn from(error: Error) -> Fault {
        Fault::Broken(match error {
            Error::DecryptError => AlertDescription::BadRecordMac,
            Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
            Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
            _ => AlertDescription::InternalError,
        })
    }
}
