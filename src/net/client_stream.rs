//! Connection of a client, plain or over TLS. hyper reads and writes it, and the reactor can take it over.

use crate::tls::{RecordLayer, TlsStream};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Connection of a client.
pub(crate) enum ClientStream {
    /// Without TLS.
    Plain(TcpStream),
    /// Over TLS, after the handshake.
    Tls(Box<TlsStream>),
}

/// Socket for the reactor.
pub(crate) struct RawSocket {
    /// The socket, which does not block.
    pub(crate) socket: std::net::TcpStream,
    /// The keys, if the connection uses TLS.
    pub(crate) records: Option<RecordLayer>,
}

impl ClientStream {
    /// Returns the socket, and the data that has been received but not read.
    ///
    /// # Errors
    /// If the runtime cannot release the socket.
    pub(crate) fn into_raw(self) -> io::Result<(RawSocket, Vec<u8>)> {
        let (socket, records, unread) = match self {
            ClientStream::Plain(socket) => (socket, None, Vec::new()),
            ClientStream::Tls(stream) => {
                let (socket, records, unread) = stream.into_parts();
                (socket, Some(records), unread)
            }
        };
        Ok((RawSocket { socket: socket.into_std()?, records }, unread))
    }

    fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Unpin)> {
        match self {
            ClientStream::Plain(socket) => Pin::new(socket),
            ClientStream::Tls(stream) => Pin::new(&mut **stream),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            ClientStream::Plain(socket) => Pin::new(socket),
            ClientStream::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.reader().poll_read(context, to)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
