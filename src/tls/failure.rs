//! Failed handshakes, and the reasons under which they are counted.

use super::fault::Fault;
use crate::telemetry::metrics::TLS_FAILURES;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio_rustls::rustls::{self, AlertDescription as Alert};

/// Maximum time for a handshake. It needs at most a few round trips.
pub(super) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Reason why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The connection failed, the client broke the protocol, or it cannot use what this server offers.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// The client did not finish in time.
    #[error("no handshake within {HANDSHAKE_DEADLINE:?}")]
    TooLate,
    /// Too many handshakes were not finished, and this was the oldest one.
    #[error("too many handshakes")]
    Evicted,
    /// The client does not use TLS.
    #[error("the client does not use TLS")]
    Plain,
}

impl HandshakeError {
    /// Counts the failure in the metrics.
    pub(super) fn count(&self) {
        TLS_FAILURES.counter(self.reason()).increment(1);
    }

    /// Returns the value of the metric's label.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            HandshakeError::TooLate => "timeout",
            HandshakeError::Evicted => "evicted",
            HandshakeError::Plain => "plain",
            HandshakeError::Failed(error) => error.get_ref().and_then(reason_in).unwrap_or("disconnected"),
        }
    }
}

/// Returns the reason if the error is about TLS, and `None` if it comes from the socket.
fn reason_in(error: &(dyn Error + Send + Sync + 'static)) -> Option<&'static str> {
    let fault = || match error.downcast_ref()? {
        Fault::Broken(_) => Some("invalid"),
        Fault::Alerted(alert) => Some(reason_of(&rustls::Error::AlertReceived(*alert))),
    };
    error.downcast_ref().map(reason_of).or_else(fault)
}

fn reason_of(error: &rustls::Error) -> &'static str {
    match error {
        // Alerts of clients that do not trust the certificate (RFC 8446 §6.2). Which of them a client sends depends on
        // its library. `DecryptError` means that the client could not verify a signature.
        rustls::Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::DecryptError,
        ) => "certificate",
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::NoApplicationProtocol
        | rustls::Error::AlertReceived(
            Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity,
        ) => "incompatible",
        _ => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{Error as Tls, InvalidMessage, PeerIncompatible};

    #[test]
    fn each_failure_has_a_reason_of_the_table() {
        let tls = |error: Tls| HandshakeError::Failed(io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, reason) in [
            (HandshakeError::TooLate, "timeout"),
            (HandshakeError::Evicted, "evicted"),
            (HandshakeError::Plain, "plain"),
            (HandshakeError::Failed(io::ErrorKind::UnexpectedEof.into()), "disconnected"),
            (tls(Tls::AlertReceived(Alert::UnknownCA)), "certificate"),
            (tls(Tls::AlertReceived(Alert::ProtocolVersion)), "incompatible"),
            (tls(Tls::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled)), "incompatible"),
            (tls(Tls::InvalidMessage(InvalidMessage::InvalidContentType)), "invalid"),
            (HandshakeError::Failed(Fault::Broken(Alert::UnexpectedMessage).into()), "invalid"),
            (HandshakeError::Failed(Fault::Alerted(Alert::UnknownCA).into()), "certificate"),
            (HandshakeError::Failed(Fault::Alerted(Alert::InternalError).into()), "invalid"),
        ] {
            assert_eq!(error.reason(), reason, "{error}");
            assert!(TLS_FAILURES.values.contains(&reason), "{reason}");
        }
    }
}
