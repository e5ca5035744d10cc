//! A client's connection, plain or over TLS, whose socket a test can look at.

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// A client's connection: `Left` without TLS, or `Right` over TLS.
pub type Connection = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Returns the socket of a connection.
pub fn socket(connection: &Connection) -> &TcpStream {
    match connection {
        Either::Left(socket) => socket,
        Either::Right(stream) => stream.get_ref().0,
    }
}
