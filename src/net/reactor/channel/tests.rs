//! Channels over TLS: clients that read nothing for a while, and a record that arrives in pieces.

use super::*;
use crate::tls::test_pair;
use bytes::Bytes;
use std::net::{TcpListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_rustls::rustls::ClientConnection;

/// A channel, and its client.
struct Pair {
    channel: Channel,
    client: ClientConnection,
    socket: StdStream,
    /// The data that the client has received.
    received: Vec<u8>,
}

impl Pair {
    fn new() -> Pair {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (client, records) = test_pair();
        let channel = Channel::new(RawSocket { socket: server, records: Some(records) });
        Pair { channel, client, socket, received: Vec::new() }
    }

    /// Receives what the kernel has.
    fn receive(&mut self) {
        while self.client.read_tls(&mut self.socket).is_ok_and(|len| len > 0) {
            self.client.process_new_packets().unwrap();
            self.client.reader().read_to_end(&mut self.received).ok();
        }
    }

    /// Sends the queue and ends the output, while the client reads.
    fn finish(&mut self, queue: &mut SendQueue) {
        while !queue.is_empty() {
            self.channel.write(queue).unwrap();
            self.receive();
        }
        while !self.channel.shut_down().unwrap() {
            self.receive();
        }
        self.receive();
    }
}

/// Returns a queue that fills the buffers of a socket, and its bytes.
fn long_queue() -> (SendQueue, Vec<u8>) {
    let pieces: Vec<_> = (0..20_000_u32).map(|number| Bytes::from(format!("{number} {}.", "x".repeat(700)))).collect();
    let bytes = pieces.concat();
    let mut queue = SendQueue::default();
    queue.extend(pieces);
    (queue, bytes)
}

/// Writes until the socket has accepted a part of a record.
fn stalled() -> (Pair, SendQueue, Vec<u8>) {
    for _ in 0..20 {
        let (mut pair, (mut queue, bytes)) = (Pair::new(), long_queue());
        pair.channel.write(&mut queue).unwrap();
        assert!(!queue.is_empty() && pair.channel.sealed() > 0);
        if pair.channel.has_uncounted_memory() {
            return (pair, queue, bytes);
        }
    }
    panic!("no record was sent in part");
}

#[test]
fn rest_of_a_record_is_kept_and_counted() {
    let (mut pair, mut queue, bytes) = stalled();
    pair.channel.count_memory(&ClientMemory::new(usize::MAX), || panic!("reset"));
    assert!(!pair.channel.has_uncounted_memory() && !pair.channel.is_reset());
    // The kernel may still move bytes to the client's buffer. Then the socket has room again.
    while pair.channel.write(&mut queue).unwrap() {}
    pair.finish(&mut queue);
    assert!(pair.received == bytes, "{} of {} bytes", pair.received.len(), bytes.len());
    let tls = pair.channel.tls.as_ref().unwrap();
    assert!(tls.account.is_none() && tls.records.held_bytes() == 0 && tls.sealed == 0);
}

#[test]
fn memory_of_unread_records_is_bounded() {
    let (mut pair, _, _) = stalled();
    let is_told = Arc::new(AtomicBool::new(false));
    let told = is_told.clone();
    pair.channel.count_memory(&ClientMemory::new(1000), move || told.store(true, Ordering::Relaxed));
    assert!(pair.channel.is_reset() && is_told.load(Ordering::Relaxed));
}

#[test]
fn memory_is_counted_as_a_record_arrives() {
    let (mut pair, memory) = (Pair::new(), ClientMemory::new(usize::MAX));
    pair.client.writer().write_all(&[7; 16_000]).unwrap();
    let (mut record, mut most, mut received) = (Vec::new(), 0, 0);
    pair.client.write_tls(&mut record).unwrap();
    for piece in record.chunks(1500) {
        pair.socket.write_all(piece).unwrap();
        while let Ok(ReadOutcome::Data(data)) = pair.channel.read(&mut [0; 2048], Instant::now()) {
            received += data.len();
            if pair.channel.has_uncounted_memory() {
                pair.channel.count_memory(&memory, || panic!("reset"));
            }
            let held = pair.channel.tls.as_ref().unwrap().records.held_bytes();
            assert_eq!(memory.used(), if held < MIN_BYTES { 0 } else { held });
            most = most.max(held);
        }
    }
    assert!(most > 13_000, "{most}");
    assert_eq!((received, memory.used()), (16_000, 0));
}

#[test]
fn close_message_follows_the_sealed_record() {
    let (mut pair, mut queue, bytes) = stalled();
    let end = |piece: &[u8], _| piece.len();
    queue.keep_partial_message(pair.channel.sealed(), end);
    queue.push(Bytes::from("bye"));
    pair.finish(&mut queue);
    let (data, bye) = pair.received.split_at(pair.received.len() - 3);
    assert_eq!(bye, b"bye");
    assert!(bytes.starts_with(data) && data.len() < bytes.len());
    assert_eq!(data.last(), Some(&b'.'), "the last message is whole");
}

#[test]
fn full_socket_delays_the_end() {
    let (mut pair, mut queue, _) = stalled();
    assert!(!pair.channel.shut_down().unwrap());
    queue.keep_partial_message(0, |_, _| 0);
    while !pair.channel.shut_down().unwrap() {
        pair.receive();
    }
    until_closed(&mut pair);
}

/// Reads until the client gets the end of the data. Without the alert `close_notify`, the read would fail.
fn until_closed(pair: &mut Pair) {
    let started = Instant::now();
    loop {
        pair.receive();
        match pair.client.reader().read(&mut [0]) {
            Ok(0) => return,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("{other:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(10), "no end");
    }
}
