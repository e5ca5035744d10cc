//! The least that a fan-out server can do: one thread, one frame that is made once, one write a connection. It reads
//! nothing after the handshake, knows no feed and keeps no promise. Its cost is what the kernel takes.

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
            // What a client does not take is lost, and the clients count it.
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

/// An update as long as the feed's, with an id of its own.
fn frame(number: u32) -> anyhow::Result<Vec<u8>> {
    let (minute, second, ms) = (number / 60_000, number / 1000 % 60, number % 1000);
    let update = format!(r#"{{"timedate":"2026-11-20T09:{minute:02}:{second:02}.{ms:03}Z","price":97116.17}}"#);
    Ok([&[0x81, u8::try_from(update.len())?], update.as_bytes()].concat())
}
