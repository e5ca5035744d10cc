//! Connection of a client, plain or over TLS. hyper reads and writes it, and the reactor can take it over.

use crate::tls::{RecordLayer, TlsStream};
use std::io;
use tokio::net::TcpStream;
use tokio_util::either::Either;

/// Connection of a client: `Left` without TLS, or `Right` over TLS, after the handshake.
pub(crate) type ClientStream = Either<TcpStream, Box<TlsStream>>;

/// Socket for the reactor.
pub(crate) struct RawSocket {
    /// The socket, which does not block.
    pub(crate) socket: std::net::TcpStream,
    /// The keys, if the connection uses TLS.
    pub(crate) records: Option<RecordLayer>,
}

/// Returns the socket of a connection, and the data that has been received but not read.
///
/// # Errors
/// If the runtime cannot release the socket.
pub(crate) fn into_raw(stream: ClientStream) -> io::Result<(RawSocket, Vec<u8>)> {
    let (socket, records, unread) = match stream {
        Either::Left(socket) => (socket, None, Vec::new()),
        Either::Right(stream) => {
            let (socket, records, unread) = stream.into_parts();
            (socket, Some(records), unread)
        }
    };
    Ok((RawSocket { socket: socket.into_std()?, records }, unread))
}
