//! Socket of a connection, plain or over TLS. All bytes that the reactor sends or receives pass through it.
//!
//! Over TLS, the queue keeps its shared pieces until the TLS record that contains them is sent. Only then is the next
//! record encrypted. So a connection whose client reads keeps no encrypted bytes in memory. If the socket accepts only
//! a part of a record, the rest of the record is kept until the client reads. This rest counts as
//! [memory](ClientMemory) of the client, as does the received part of an incomplete record.

#[cfg(test)]
mod tests;

use super::input_budget::InputBudget;
use super::send_queue::SendQueue;
use super::stream_protocol::CloseCause;
use crate::net::client_memory::{Account, ClientMemory, MIN_BYTES};
use crate::net::client_stream::RawSocket;
use crate::telemetry::metrics::CLOSES;
use crate::tls::{MAX_DATA_BYTES, RecordLayer, Sealed};
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use std::borrow::Cow;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::AlertDescription;
use tracing::debug;

/// Number of encrypted bytes that count as one byte of the [`InputBudget`]. Encryption makes small messages several
/// times longer. The budget of the WebSocket itself should be used up first, because its client then gets a close
/// frame.
const BYTES_PER_BYTE: usize = 4;

/// Socket of a connection.
pub(super) struct Channel {
    socket: TcpStream,
    tls: Option<Box<TlsState>>,
}

/// State of a connection over TLS.
struct TlsState {
    records: RecordLayer,
    /// The number of bytes at the front of the queue that are in a record that is not sent completely.
    sealed: usize,
    budget: InputBudget,
    account: Option<Account>,
}

/// Result of a read.
pub(super) enum ReadOutcome<'a> {
    /// Data of the client. It is empty if the client has sent a part of a record, or a message of TLS.
    Data(Cow<'a, [u8]>),
    /// The client sends nothing more.
    End,
    /// Nothing has arrived.
    Nothing,
}

impl Channel {
    pub(super) fn new(RawSocket { socket, records }: RawSocket) -> Channel {
        let budget = InputBudget::default();
        let tls = records.map(|records| Box::new(TlsState { records, sealed: 0, budget, account: None }));
        Channel { socket: TcpStream::from_std(socket), tls }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reads once. Returns the data, which may be in `buffer`.
    pub(super) fn read<'a>(&mut self, buffer: &'a mut [u8], now: Instant) -> Result<ReadOutcome<'a>, CloseCause> {
        if self.tls.as_ref().is_some_and(|tls| tls.records.is_ended()) {
            return Ok(ReadOutcome::End);
        }
        let len = loop {
            match self.socket.read(buffer) {
                Ok(0) => return Ok(ReadOutcome::End),
                Ok(len) => break len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(ReadOutcome::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        match &mut self.tls {
            None => Ok(ReadOutcome::Data(Cow::Borrowed(&buffer[..len]))),
            Some(tls) => Ok(ReadOutcome::Data(Cow::Owned(tls.open(&self.socket, &mut buffer[..len], now)?))),
        }
    }

    /// Sends as much of the queue as the socket accepts. Returns whether it accepted anything.
    pub(super) fn write(&mut self, queue: &mut SendQueue) -> io::Result<bool> {
        match &mut self.tls {
            None => queue.write(&self.socket),
            Some(tls) => tls.write(&self.socket, queue),
        }
    }

    /// Returns the number of bytes at the front of the queue that are in a record that is not sent completely.
    pub(super) fn sealed(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.sealed)
    }

    /// Ends the output. Over TLS, sends the message that says so. If the socket has no room for this message, returns
    /// false, and the caller must try again.
    pub(super) fn shut_down(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            tls.records.close();
            tls.flush(&self.socket)?;
            if !tls.records.unsent().is_empty() {
                return Ok(false);
            }
        }
        self.socket.shutdown(Shutdown::Write)?;
        Ok(true)
    }

    /// Over TLS, tells the client that the connection ends now (RFC 8446 §6.1), if the socket has room for this
    /// message.
    pub(super) fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.records.close();
            // The client may have gone.
            tls.flush(&self.socket).ok();
        }
    }

    /// Sets `SO_LINGER` to zero: when the socket is closed, the kernel discards what the client has not read. Otherwise
    /// the kernel would keep it for minutes.
    pub(super) fn discard_unsent(&self) -> io::Result<()> {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO))
    }

    /// Returns whether the connection holds memory that must be [counted](Self::count_memory).
    pub(super) fn has_uncounted_memory(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.account.is_none() && tls.records.held_bytes() >= MIN_BYTES)
    }

    /// Counts the memory that the connection holds. `reset` is called when the client must be disconnected. It must
    /// make the shard run the connection, which then sees [`is_reset`](Self::is_reset) and closes.
    pub(super) fn count_memory(&mut self, memory: &Arc<ClientMemory>, reset: impl Fn() + Send + Sync + 'static) {
        if let Some(tls) = &mut self.tls {
            let account = memory.open(reset);
            account.set(tls.records.held_bytes());
            tls.account = Some(account);
        }
    }

    /// Returns whether the client must be disconnected because of its memory.
    pub(super) fn is_reset(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.account.as_ref().is_some_and(Account::is_reset))
    }

    /// Stops counting memory, because the connection is being closed.
    pub(super) fn close_account(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.account = None;
        }
    }
}

impl TlsState {
    /// Decrypts the records that `bytes` completes.
    fn open(&mut self, socket: &TcpStream, bytes: &mut [u8], now: Instant) -> Result<Vec<u8>, CloseCause> {
        let mut data = Vec::new();
        let within_budget = self.budget.spend(bytes.len().div_ceil(BYTES_PER_BYTE), now).is_ok();
        if !within_budget {
            self.records.fail(AlertDescription::UnexpectedMessage);
        }
        let read = self.records.read(bytes, &mut |piece| data.extend_from_slice(piece));
        self.update_account(false);
        if within_budget && read.is_ok() {
            return Ok(data);
        }
        debug!(within_budget, fault = ?read.err(), "closing a TLS connection");
        CLOSES.counter("violation").increment(1);
        // The client gets the alert if the socket has room for it.
        self.flush(socket)?;
        Err(CloseCause::Gone)
    }

    fn write(&mut self, socket: &TcpStream, queue: &mut SendQueue) -> io::Result<bool> {
        let mut progress = self.flush(socket)?;
        let mut sealed = Sealed::new();
        while self.records.unsent().is_empty() {
            queue.advance(std::mem::take(&mut self.sealed));
            if queue.is_empty() {
                break;
            }
            let pieces = queue.front(MAX_DATA_BYTES);
            self.sealed = pieces.iter().map(|piece| piece.len()).sum();
            sealed.clear();
            self.records.seal(&pieces, &mut sealed).map_err(io::Error::other)?;
            let (sent, result) = write(socket, &sealed);
            self.records.keep(&sealed[sent..]);
            result?;
            progress |= sent > 0;
        }
        self.update_account(progress);
        Ok(progress)
    }

    /// Sends encrypted bytes as far as the socket accepts them. Returns whether it accepted any.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<bool> {
        let (sent, result) = write(socket, self.records.unsent());
        self.records.advance(sent);
        result.map(|()| sent > 0)
    }

    /// Counts what the connection holds now, if it has an account. Drops the account if that is too little to count.
    /// `has_read` is true if the client has read data.
    fn update_account(&mut self, has_read: bool) {
        let Some(account) = &self.account else { return };
        match self.records.held_bytes() {
            ..MIN_BYTES => self.account = None,
            held if has_read => account.set(held),
            held => account.adjust(held),
        }
    }
}

/// Writes as much as the socket accepts. Returns the number of bytes, also if an error follows them.
fn write(mut socket: &TcpStream, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(0) => return (sent, Err(ErrorKind::WriteZero.into())),
            Ok(len) => sent += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (sent, Err(error)),
        }
    }
    (sent, Ok(()))
}
