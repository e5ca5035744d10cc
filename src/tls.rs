//! TLS on the clients' port (RFC 8446, RFC 5246): handshakes, the protocol by ALPN, records, and a certificate that can
//! be replaced while connections are open.
//!
//! A client that offers HTTP/2 is served through tokio-rustls. All others get a [`RecordLayer`], which needs so little
//! memory that the reactor can keep one for each stream. For the requests before a stream, a [`TlsStream`] combines the
//! record layer with its socket, so that hyper can use them as a connection.
//!
//! | module | what it is |
//! |---|---|
//! | `certificate` | the configuration of rustls |
//! | `failure` | why a handshake failed |
//! | `handshakes` | limits of handshakes |
//! | `fault` | a fault of the client, which ends its connection |
//! | `reader` | bytes → records |
//! | `cipher` | encryption and decryption of single records |
//! | `messages` | what a decrypted record means |
//! | `record_layer` | keys, encryption and decryption of one connection |
//! | `handshake` | a handshake, from its first bytes to the record layer |
//! | `stream` | a record layer with its socket, for hyper |

mod certificate;
mod cipher;
mod failure;
mod fault;
mod handshake;
mod handshakes;
mod messages;
mod reader;
mod record_layer;
mod stream;
#[cfg(test)]
mod tests;

pub use certificate::{CertificateError, TlsOptions, TlsVersion, Warning as CertificateWarning};
pub(crate) use cipher::{MAX_DATA_BYTES, Sealed};
pub(crate) use failure::HandshakeError;
pub(crate) use record_layer::RecordLayer;
#[cfg(test)]
pub(crate) use record_layer::tests::test_pair;
pub(crate) use stream::TlsStream;

use crate::message::ProblemDetails;
use crate::reload;
use crate::telemetry::metrics::{TLS_HANDSHAKES, TLS_NOT_AFTER, TLS_NOT_BEFORE};
use certificate::{Certificate, HTTP2};
use failure::HANDSHAKE_DEADLINE;
use handshake::{HandshakeFault, HelloReader, ServerHandshake};
use handshakes::Handshakes;
use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream as BufferedTlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Initial capacity of the buffer for the first message of a client. Most messages are shorter.
const HELLO_BYTES: usize = 2048;
/// First byte of a client that begins a handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// Maximum time for a client without TLS to read its error.
const PLAIN_DEADLINE: Duration = Duration::from_secs(1);
/// Time between two reports of the validity of the certificate.
const REPORT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Server side of TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    options: TlsOptions,
    /// A std lock, held only to clone or to replace the pointer.
    certificate: RwLock<Arc<Certificate>>,
    handshakes: Handshakes,
}

/// A connection whose handshake is done.
pub(crate) enum TlsConnection {
    /// HTTP/1, or a client that does not name its protocol.
    Http1(Box<TlsStream>),
    /// HTTP/2.
    Http2(Box<BufferedTlsStream<TcpStream>>),
}

impl Tls {
    /// Reads the certificate. `max_clients` is the number of connections that the port admits. The limit of unfinished
    /// handshakes depends on it.
    ///
    /// # Errors
    /// Like [`TlsOptions::check`].
    pub(crate) fn open(options: TlsOptions, max_clients: usize) -> Result<Tls, CertificateError> {
        let certificate = RwLock::new(Arc::new(certificate::read(&options)?));
        Ok(Tls { options, certificate, handshakes: Handshakes::new(max_clients) })
    }

    /// Performs the handshake. `first` are the bytes of the client that have been read.
    ///
    /// # Errors
    /// If the handshake fails. A client that does not use TLS gets an answer first.
    pub(crate) async fn accept(&self, socket: TcpStream, first: Vec<u8>) -> Result<TlsConnection, HandshakeError> {
        let mut pending = self.handshakes.begin();
        // Cancel-safe: if this future is dropped, so are both arms, and with them the connection.
        let accepted = tokio::select! {
            accepted = timeout(HANDSHAKE_DEADLINE, self.shake_hands(socket, first)) => {
                accepted.unwrap_or(Err(HandshakeError::TooLate))
            }
            () = pending.evicted() => Err(HandshakeError::Evicted),
        };
        match &accepted {
            Ok(_) => TLS_HANDSHAKES.counter("").increment(1),
            Err(error) => error.count(),
        }
        accepted
    }

    async fn shake_hands(&self, mut socket: TcpStream, mut buffer: Vec<u8>) -> Result<TlsConnection, HandshakeError> {
        let mut hello = HelloReader::default();
        let accepted = loop {
            if buffer.is_empty() {
                buffer.reserve(HELLO_BYTES);
                receive(&mut socket, &mut buffer).await?;
            }
            if hello.is_empty() && buffer.first() != Some(&HANDSHAKE_RECORD) {
                timeout(PLAIN_DEADLINE, refuse_plain(&mut socket)).await.unwrap_or(Ok(()))?;
                return Err(HandshakeError::Plain);
            }
            match hello.read(&buffer) {
                Ok(Some(accepted)) => break accepted,
                Ok(None) => buffer.clear(),
                Err(fault) => return Err(refuse(&mut socket, fault).await),
            }
        };
        let config = self.certificate().config.clone();
        if accepted.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == HTTP2)) {
            let finishing = {
                let _permit = self.handshakes.signature().await;
                StartHandshake::from_parts(accepted, socket).into_stream(config)
            };
            return Ok(TlsConnection::Http2(Box::new(finishing.await?)));
        }
        drop(accepted);
        let mut received = hello.into_bytes();
        let mut handshake = ServerHandshake::new(config)?;
        loop {
            let read = {
                let _permit = self.handshakes.signature().await;
                handshake.read(&received)
            };
            match read {
                Ok(is_done) => {
                    socket.write_all(&handshake.take_outgoing()).await?;
                    if is_done {
                        break;
                    }
                }
                Err(fault) => return Err(refuse(&mut socket, fault).await),
            }
            receive(&mut socket, &mut received).await?;
        }
        let (records, rest) = handshake.finish()?;
        Ok(TlsConnection::Http1(Box::new(TlsStream::new(socket, records, rest)?)))
    }

    fn certificate(&self) -> Arc<Certificate> {
        self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again on SIGHUP and when they change, and reports the validity of the certificate once a day,
    /// until `stop`. Open connections are not affected. If the new files cannot be used, the old certificate stays.
    pub(crate) async fn watch(&self, stop: &CancellationToken) {
        let files = [self.options.certificate.clone(), self.options.key.clone()];
        let reporting = async {
            loop {
                self.report();
                sleep(REPORT_EVERY).await;
            }
        };
        tokio::select! { () = reload::watch(&files, stop, || self.reload()) => {}, () = reporting => {} }
    }

    fn reload(&self) {
        match certificate::read(&self.options) {
            Ok(certificate) => {
                *self.certificate.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
                info!(certificate = %self.options.certificate.display(), "certificate replaced");
                self.report();
            }
            Err(error) => {
                let file = match error {
                    CertificateError::Certificate(_) => &self.options.certificate,
                    CertificateError::Key(_) => &self.options.key,
                };
                warn!(file = %file.display(), %error, "cannot use the new certificate, the old one stays");
            }
        }
    }

    /// Sets the metrics of the certificate. Logs a warning if the certificate is not valid or expires soon.
    fn report(&self) {
        let certificate = self.options.certificate.display();
        let life = self.certificate().life;
        TLS_NOT_BEFORE.gauge("").set(timestamp(life.begin));
        TLS_NOT_AFTER.gauge("").set(timestamp(life.end));
        match life.warning(SystemTime::now()) {
            Some(CertificateWarning::NotYet) => warn!(%certificate, "the certificate is not valid yet"),
            Some(CertificateWarning::Soon(days)) => warn!(%certificate, days, "the certificate expires soon"),
            Some(CertificateWarning::Expired(days)) => {
                warn!(%certificate, days_ago = days, "the certificate has expired, clients refuse to connect");
            }
            None => {}
        }
    }
}

/// Empties the buffer, and receives further bytes of a client into it.
async fn receive(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    if socket.read_buf(buffer).await? == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Tells a client why its handshake failed.
async fn refuse(socket: &mut TcpStream, fault: HandshakeFault) -> HandshakeError {
    match socket.write_all(&fault.alert).await {
        Ok(()) => fault.error.into(),
        Err(error) => error.into(),
    }
}

/// Reads the input as TLS records, and interprets each record as if it had been decrypted already. The first four bytes
/// of the input are the lengths of the pieces in which the records arrive.
///
/// # Panics
/// If the records depend on the pieces, if more than one record is buffered, or if a flood of records without data is
/// accepted.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_records(input: &[u8]) {
    let (pieces, records) = input.split_at(input.len().min(4));
    reader::check(records, pieces);
    messages::check(records);
}

/// Performs handshakes with a client whose bytes are changed as the input says. The first four bytes of the input are
/// the lengths of the pieces in which the client's bytes arrive.
///
/// # Panics
/// If the outcome depends on the pieces, or if the server accepts too many bytes before the handshake is done.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_handshake(input: &[u8]) {
    let (pieces, changes) = input.split_at(input.len().min(4));
    handshake::check(changes, pieces);
}

fn timestamp(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Answers a client that does not use TLS. The answer is in HTTP, which is what such a client probably uses.
async fn refuse_plain(socket: &mut TcpStream) -> io::Result<()> {
    let details = ProblemDetails {
        r#type: Cow::Borrowed("about:blank"),
        title: Cow::Borrowed("Bad Request"),
        status: 400,
        detail: Cow::Borrowed("plain HTTP on a port with TLS: connect with https:// or wss://"),
        request_id: None,
    };
    let body = serde_json::to_string(&details).unwrap_or_default() + "\n";
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await?;
    socket.shutdown().await?;
    // If a socket is dropped with unread data, the kernel resets the connection, and the client might not get the
    // answer.
    let mut discarded = [0; 1024];
    while socket.read(&mut discarded).await? > 0 {}
    Ok(())
}
