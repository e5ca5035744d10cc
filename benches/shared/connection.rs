//! Client's end of a stream: a WebSocket (RFC 6455) or server-sent events over HTTP/1.1. It must use little time and
//! memory, because ten thousand of them run on the server's machine.

use super::endpoint::Endpoint;
use anyhow::{bail, ensure};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_rustls::rustls::ClientConnection;

/// Number of connections from one address. An address has far more ports, so a free port is found immediately.
const PER_ADDRESS: u32 = 10_000;
/// First source address. All addresses in 127.0.0.0/8 are this machine.
static FIRST_ADDRESS: AtomicU32 = AtomicU32::new(0x7f00_0101);
/// Number of source addresses of each process, if there are several processes.
const ADDRESSES: u32 = 8;
/// Number of connections so far. The source address of a connection follows from its number.
static CONNECTIONS: AtomicU32 = AtomicU32::new(0);

/// Gives this process its own source addresses, by its number.
pub(crate) fn connect_as(process: u32) {
    FIRST_ADDRESS.fetch_add(process * ADDRESSES, Ordering::Relaxed);
}

/// Transport of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Events,
}

/// Client's end of a stream.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    transport: Transport,
    /// True if the handshake is complete.
    open: bool,
    /// Bytes of a response head, frame or event that is not complete.
    partial: Vec<u8>,
}

impl Connection {
    /// Starts to connect. Call [`request`](Self::request) when the socket is writable.
    pub(crate) fn begin(server: &Endpoint, transport: Transport) -> anyhow::Result<Connection> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
        let address = FIRST_ADDRESS.load(Ordering::Relaxed) + CONNECTIONS.fetch_add(1, Ordering::Relaxed) / PER_ADDRESS;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::from(address), 0).into())?;
        // The socket closes with a reset, so that its port is free immediately.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_tcp_nodelay(true)?;
        let tls = server.session()?.map(Box::new);
        match socket.connect(&server.address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => bail!(error),
            _ => Ok(Connection { stream: socket.into(), tls, transport, open: false, partial: Vec::new() }),
        }
    }

    /// Sends the handshake's request.
    pub(crate) fn request(&mut self, query: &str) -> anyhow::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            bail!(error);
        }
        let request = match self.transport {
            Transport::WebSocket => format!(
                "GET /v1/ws?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ),
            Transport::Events => {
                format!("GET /v1/prices/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            }
        };
        Ok(self.write(request.as_bytes())?)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Reads once, into `buffer`, and calls `emit` for each update.
    ///
    /// # Errors
    /// If the connection has ended, or the server broke the protocol.
    pub(crate) fn read(&mut self, buffer: &mut [u8], emit: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        let read = match self.receive(buffer) {
            Ok(0) => bail!("the server has closed the connection"),
            Ok(len) => &buffer[..len],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => bail!(error),
        };
        if self.partial.is_empty() {
            let used = self.parse(read, emit)?;
            self.partial.extend_from_slice(&read[used..]);
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(read);
        let used = self.parse(&whole, emit)?;
        self.partial.extend_from_slice(&whole[used..]);
        Ok(())
    }

    /// Reads bytes, decrypted if the connection uses TLS.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Connection { stream, tls: Some(tls), .. } = self else { return self.stream.read(buffer) };
        if tls.read_tls(stream)? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(io::Error::other)?;
        while tls.wants_write() {
            tls.write_tls(stream)?;
        }
        tls.reader().read(buffer)
    }

    /// Writes bytes, encrypted if the connection uses TLS. Until the TLS handshake ends, rustls buffers them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Connection { stream, tls: Some(tls), .. } = self else { return self.stream.write_all(bytes) };
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(stream)?;
        }
        Ok(())
    }

    /// Parses the response head, and all complete frames or events, in `bytes`. Returns the number of parsed bytes.
    fn parse(&mut self, bytes: &[u8], emit: &mut dyn FnMut(&[u8])) -> anyhow::Result<usize> {
        let mut used = 0;
        if !self.open {
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(0) };
            let accepted: &[u8] = if self.transport == Transport::Events { b"HTTP/1.1 200 " } else { b"HTTP/1.1 101 " };
            ensure!(bytes.starts_with(accepted), "handshake rejected: {}", String::from_utf8_lossy(bytes));
            let head = &bytes[..end];
            let chunked = head.windows(18).any(|name| name.eq_ignore_ascii_case(b"transfer-encoding:"));
            ensure!(
                !chunked,
                "unexpected chunked body: expected one that ends with the connection: {}",
                String::from_utf8_lossy(head)
            );
            self.open = true;
            used = end + 4;
        }
        if self.transport == Transport::Events {
            while let Some(len) = event_len(&bytes[used..]) {
                update(&bytes[used..used + len]).into_iter().for_each(&mut *emit);
                used += len;
            }
            return Ok(used);
        }
        while let Some((opcode, payload, len)) = frame(&bytes[used..]) {
            match opcode {
                1 => emit(payload),
                8 => {
                    let (code, reason) = payload.split_at(payload.len().min(2));
                    let code = code.try_into().map_or(1005, u16::from_be_bytes);
                    let reason = String::from_utf8_lossy(reason);
                    bail!("the server has closed the connection with code {code}: {reason}")
                }
                9 => self.pong(payload)?,
                _ => {}
            }
            used += len;
        }
        Ok(used)
    }

    /// Sends a pong. Clients must mask their frames (§5.3). A mask of zero does not change the payload.
    fn pong(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        let len = u8::try_from(payload.len())?;
        let frame = [&[0x8a, 0x80 | len, 0, 0, 0, 0], payload].concat();
        Ok(self.write(&frame)?)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Returns the opcode and payload of the first frame in `bytes`, and its length with the header, or `None` if it is not
/// complete. Frames of servers are not masked.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let [first, second, ..] = *bytes else { return None };
    let (head, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    Some((first & 0x0f, bytes.get(head..head + length)?, head + length))
}

/// Returns the length of the first event in `bytes`, including the blank line that ends it, or `None` if it is not
/// complete. The body is not chunked.
fn event_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\n\n").map(|place| place + 2)
}

/// Returns the data of an event if it is an update. Updates have no event name.
fn update(event: &[u8]) -> Option<&[u8]> {
    let mut lines = event.split(|byte| *byte == b'\n');
    if event.starts_with(b"event: ") { None } else { lines.find_map(|line| line.strip_prefix(b"data: ")) }
}
