//! The baseline: a server that does only the minimum of a fan-out. One thread writes the same frame to each connection.
//! It reads nothing after the handshake, and gives no guarantees. Nearly all of its cost is that of the kernel. With a
//! certificate, it encrypts the frame for each connection, because each has its own key.

use super::sealer::{self, Sealer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::ServerConfig;

const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Client, and what encrypts its frames.
struct Client {
    stream: TcpStream,
    sealer: Option<Sealer>,
}

/// Serves until it is killed. `certificate` is empty, or has the files of a certificate and of its key.
pub(crate) fn run(tick_every: Duration, certificate: &[&PathBuf]) -> anyhow::Result<()> {
    let tls = match certificate {
        [certificate, key] => Some(sealer::config(certificate, key)?),
        _ => None,
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!(r#"{{"message":"listening","address":"{}"}}"#, listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let (mut clients, mut due, mut number, mut record) = (Vec::new(), Instant::now(), 0, Vec::new());
    loop {
        match listener.accept() {
            Ok((stream, _)) => clients.push(accept(stream, tls.as_ref())?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&Timespec::try_from(left)?))?;
            continue;
        }
        due += tick_every;
        number += 1;
        let frame = frame(number)?;
        for client in &mut clients {
            let bytes = match &mut client.sealer {
                Some(sealer) => {
                    sealer.seal(&frame, &mut record)?;
                    &record
                }
                None => &frame,
            };
            // If a socket is full, the frame is lost. The clients count that.
            client.stream.write_all(bytes).ok();
        }
    }
}

fn accept(mut stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> anyhow::Result<Client> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let sealer = if let Some(config) = tls {
        Some(Sealer::handshake(config, &mut stream, |stream| answer(stream))?)
    } else {
        answer(&mut stream)?;
        None
    };
    stream.set_nonblocking(true)?;
    Ok(Client { stream, sealer })
}

/// Reads a request and answers it.
fn answer(stream: &mut (impl Read + Write)) -> anyhow::Result<()> {
    let (mut head, mut len) = ([0; 1024], 0);
    while !head[..len].ends_with(b"\r\n\r\n") {
        len += stream.read(&mut head[len..])?;
    }
    stream.write_all(ANSWER)?;
    Ok(stream.flush()?)
}

/// Returns a frame of the same size as those of the feed. Its `timedate` is a different one for each `number`.
fn frame(number: u32) -> anyhow::Result<Vec<u8>> {
    let (minute, second, ms) = (number / 60_000, number / 1000 % 60, number % 1000);
    let update = format!(r#"{{"timedate":"2026-11-20T09:{minute:02}:{second:02}.{ms:03}Z","price":97116.17}}"#);
    Ok([&[0x81, u8::try_from(update.len())?], update.as_bytes()].concat())
}
