//! TLS on the public port (RFC 8446, RFC 5246): handshakes, the protocol by ALPN, and a certificate that can be
//! replaced while connections are open.

mod certificate;
mod handshakes;

pub use certificate::{CertificateError, TlsOptions};

use crate::message::ProblemDetails;
use crate::reload;
use certificate::{Certificate, HTTP2, Warning};
use handshakes::Handshakes;
use std::borrow::Cow;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// First byte of a client that begins a handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// Maximum time for a handshake. It needs at most a few round trips.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Maximum time for a client without TLS to read its error.
const PLAIN_DEADLINE: Duration = Duration::from_secs(1);
/// Time between two reports of a certificate that expires soon.
const REPORT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Server side of TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    options: TlsOptions,
    /// A std lock, held only to clone or to replace the pointer.
    certificate: RwLock<Arc<Certificate>>,
    handshakes: Handshakes,
}

/// Reason why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The connection failed, or the client cannot use what this server offers.
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

impl Tls {
    /// Reads the certificate for a port with `max_clients` places.
    ///
    /// # Errors
    /// Like [`TlsOptions::check`].
    pub(crate) fn open(options: TlsOptions, max_clients: usize) -> Result<Tls, CertificateError> {
        let certificate = RwLock::new(Arc::new(certificate::read(&options)?));
        Ok(Tls { options, certificate, handshakes: Handshakes::new(max_clients) })
    }

    /// Performs the handshake. Returns the connection, and true if the client chose HTTP/2.
    ///
    /// # Errors
    /// If the handshake fails. A client that does not use TLS gets an answer first.
    pub(crate) async fn accept(&self, socket: TcpStream) -> Result<(TlsStream<TcpStream>, bool), HandshakeError> {
        let mut handshake = self.handshakes.begin();
        // Cancel-safe: if this future is dropped, so are both arms, and with them the connection.
        tokio::select! {
            accepted = timeout(HANDSHAKE_DEADLINE, self.shake_hands(socket)) => {
                accepted.unwrap_or(Err(HandshakeError::TooLate))
            }
            () = handshake.evicted() => Err(HandshakeError::Evicted),
        }
    }

    async fn shake_hands(&self, mut socket: TcpStream) -> Result<(TlsStream<TcpStream>, bool), HandshakeError> {
        let mut first = [0];
        if socket.peek(&mut first).await? > 0 && first != [HANDSHAKE_RECORD] {
            timeout(PLAIN_DEADLINE, refuse_plain(&mut socket)).await.unwrap_or(Ok(()))?;
            return Err(HandshakeError::Plain);
        }
        let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let finishing = {
            let _permit = self.handshakes.signature().await;
            hello.into_stream(self.certificate().config.clone())
        };
        let stream = finishing.await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        Ok((stream, is_http2))
    }

    fn certificate(&self) -> Arc<Certificate> {
        self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again on SIGHUP and when they change, and reports a certificate that expires soon, until `stop`.
    /// Open connections are not affected. If the new files cannot be used, the old certificate stays.
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

    fn report(&self) {
        let certificate = self.options.certificate.display();
        match self.certificate().life.warning(SystemTime::now()) {
            Some(Warning::NotYet) => warn!(%certificate, "the certificate is not valid yet"),
            Some(Warning::Soon(days)) => warn!(%certificate, days, "the certificate expires soon"),
            Some(Warning::Expired(days)) => {
                warn!(%certificate, days_ago = days, "the certificate has expired, clients refuse to connect");
            }
            None => {}
        }
    }
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
