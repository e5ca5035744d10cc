//! A TLS connection as a stream of data, for hyper. It keeps little more than one record of each direction.

use super::cipher::{MAX_DATA_BYTES, Sealed};
use super::fault::Fault;
use super::record_layer::RecordLayer;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Maximum number of bytes of one read.
const READ_BYTES: usize = 4096;
/// Maximum number of pieces in one record.
const WRITE_PIECES: usize = 16;

/// A connection over TLS.
pub(crate) struct TlsStream {
    socket: TcpStream,
    records: RecordLayer,
    /// Data of the client. The first `read` bytes of it have been read.
    data: Vec<u8>,
    read: usize,
    /// The fault that follows the data. For a [`Fault::Broken`], an alert has been queued.
    fault: Option<Fault>,
}

impl TlsStream {
    /// Creates the stream of a connection whose handshake is done. `received` are the bytes that follow the handshake.
    /// If they break the protocol, a read returns the error.
    ///
    /// # Errors
    /// If the client has sent an alert, for example because it does not trust the certificate.
    pub(super) fn new(socket: TcpStream, records: RecordLayer, mut received: Vec<u8>) -> io::Result<TlsStream> {
        let mut stream = TlsStream { socket, records, data: Vec::new(), read: 0, fault: None };
        stream.open(&mut received);
        match stream.fault {
            Some(fault @ Fault::Alerted(_)) => Err(fault.into()),
            Some(Fault::Broken(_)) | None => Ok(stream),
        }
    }

    /// Returns the socket, the record layer, and the data that has not been read.
    pub(crate) fn into_parts(self) -> (TcpStream, RecordLayer, Vec<u8>) {
        (self.socket, self.records, self.data[self.read..].to_vec())
    }

    fn open(&mut self, received: &mut [u8]) {
        let data = &mut self.data;
        self.fault = self.records.read(received, &mut |piece| data.extend_from_slice(piece)).err();
    }

    /// Sends all encrypted bytes.
    fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.records.unsent().is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(context, self.records.unsent()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.records.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.data.is_empty() && !self.records.is_ended() {
            if let Some(fault) = self.fault {
                // The alert is sent if the socket has room for it.
                let _sent = self.poll_unsent(context);
                return Poll::Ready(Err(fault.into()));
            }
            let mut buffer = [0; READ_BYTES];
            let mut received = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut received))?;
            if received.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.open(received.filled_mut());
        }
        let rest = &self.data[self.read..];
        let len = rest.len().min(to.remaining());
        to.put_slice(&rest[..len]);
        self.read += len;
        if self.read == self.data.len() {
            // The memory is freed, because the connection may be open for hours.
            (self.data, self.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    /// Encrypts as much of the pieces as fits into one record. What the socket does not accept of the record is sent by
    /// the next write, flush or shutdown.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(context))?;
        let (mut chunks, mut len) = ([&[][..]; WRITE_PIECES], 0);
        let mut count = 0;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()).take(WRITE_PIECES) {
            let piece = &piece[..piece.len().min(MAX_DATA_BYTES - len)];
            (chunks[count], count, len) = (piece, count + 1, len + piece.len());
        }
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut sealed = Sealed::new();
        self.records.seal(&chunks[..count], &mut sealed).map_err(io::Error::other)?;
        self.records.keep(&sealed);
        match self.poll_unsent(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(len)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_unsent(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.records.close();
        ready!(self.poll_unsent(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
