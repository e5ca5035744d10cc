//! The baseline: a server that does only the minimum of a fan-out. One thread writes the same frame to each connection.
//! It reads nothing after the handshake, and gives no guarantees. Nearly all of its cost is that of the kernel.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Serves until it is killed.
pub(crate) fn run(tick_every: Duration) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!(r#"{{"message":"listening","address":"{}"}}"#, listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let (mut clients, mut due, mut number) = (Vec::new(), Instant::now(), 0);
    loop {
        match listener.accept() {
            Ok((stream, _)) => clients.push(answer(stream)?),
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
            // If a socket is full, the frame is lost. The clients count that.
            client.write_all(&frame).ok();
        }
    }
}

fn answer(mut stream: TcpStream) -> anyhow::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let (mut head, mut len) = ([0; 1024], 0);
    while !head[..len].ends_with(b"\r\n\r\n") {
        len += stream.read(&mut head[len..])?;
    }
    stream.write_all(ANSWER)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Returns a frame as long as those of the feed, with its own id.
fn frame(number: u32) -> anyhow::Result<Vec<u8>> {
    let (minute, second, ms) = (number / 60_000, number / 1000 % 60, number % 1000);
    let update = format!(r#"{{"timedate":"2026-11-20T09:{minute:02}:{second:02}.{ms:03}Z","price":97116.17}}"#);
    Ok([&[0x81, u8::try_from(update.len())?], update.as_bytes()].concat())
}
