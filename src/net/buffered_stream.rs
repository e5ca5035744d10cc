//! A connection whose first bytes have been read. Reads return the buffered bytes first, and then those of the socket.

use super::client_stream::{self, ClientStream, RawSocket};
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Socket, with bytes that were read from it before.
pub(crate) struct BufferedStream {
    buffer: Bytes,
    socket: ClientStream,
}

impl BufferedStream {
    /// Creates a stream that begins with `buffer`.
    pub(crate) fn new(buffer: Bytes, socket: ClientStream) -> BufferedStream {
        BufferedStream { buffer, socket }
    }

    /// Returns the socket, and the data that has been received but not read.
    ///
    /// # Errors
    /// Like [`client_stream::into_raw`].
    pub(crate) fn into_raw(self) -> io::Result<(RawSocket, Vec<u8>)> {
        let (socket, unread) = client_stream::into_raw(self.socket)?;
        Ok((socket, [&self.buffer[..], &unread].concat()))
    }
}

impl AsyncRead for BufferedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, to);
        }
        let len = self.buffer.len().min(to.remaining());
        to.put_slice(&self.buffer[..len]);
        self.buffer.advance(len);
        if self.buffer.is_empty() {
            // The memory is freed, because the connection may be open for hours.
            self.buffer = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BufferedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn buffered_bytes_come_first_in_any_read_size() {
        for size in [1, 3, 100] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.write_all(b" world").await.unwrap();
            client.shutdown().await.unwrap();
            let mut stream = BufferedStream::new(Bytes::from_static(b"hello"), ClientStream::Left(server));
            let (mut text, mut piece) = (Vec::new(), vec![0; size]);
            loop {
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    len => text.extend_from_slice(&piece[..len]),
                }
            }
            assert_eq!(text, b"hello world", "{size} bytes at a time");
        }
    }
}
