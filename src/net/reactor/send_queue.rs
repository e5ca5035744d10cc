//! Queue of bytes to send. An empty queue owns no memory, and the queued buffers are shared between connections.

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

/// Maximum number of pieces in one vectored write.
const WRITE_PIECES: usize = 64;

/// Queue of shared pieces, sent in order.
#[derive(Default)]
pub(super) struct SendQueue {
    queue: VecDeque<Bytes>,
    /// The number of bytes of the first piece that have been sent.
    sent: usize,
    /// The number of bytes that were sent and have not been counted.
    uncounted: u64,
}

impl SendQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.queue.push_back(bytes);
    }

    pub(super) fn extend(&mut self, bytes: Vec<Bytes>) {
        if self.queue.is_empty() {
            self.queue = bytes.into();
        } else {
            self.queue.extend(bytes);
        }
    }

    /// Drops all bytes except the rest of a message that was partly sent. `message_end` returns the end of that
    /// message.
    pub(super) fn keep_partial_message(&mut self, message_end: impl FnOnce(&[u8], usize) -> usize) {
        let partial = self.queue.front().filter(|_| self.sent > 0);
        // Copied, so that the shared segment can be freed.
        let rest = partial.map(|first| Bytes::copy_from_slice(&first[self.sent..message_end(first, self.sent)]));
        let queue = rest.into_iter().filter(|rest| !rest.is_empty()).collect();
        *self = SendQueue { queue, sent: 0, ..std::mem::take(self) };
    }

    /// Returns the number of bytes that were sent since the last call.
    pub(super) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.uncounted)
    }

    /// Writes as much as the socket accepts. Returns whether it accepted anything.
    pub(super) fn write(&mut self, mut socket: impl Write) -> io::Result<bool> {
        let mut progress = false;
        while let Some(first) = self.queue.front() {
            // For a single piece, which is the usual case, a plain write is faster than a vectored one.
            let written = if self.queue.len() == 1 {
                socket.write(&first[self.sent..])
            } else {
                let mut pieces = [IoSlice::new(&[]); WRITE_PIECES];
                let rests =
                    std::iter::once(&first[self.sent..]).chain(self.queue.iter().skip(1).map(|piece| &piece[..]));
                let count = pieces.iter_mut().zip(rests).map(|(piece, rest)| *piece = IoSlice::new(rest)).count();
                socket.write_vectored(&pieces[..count])
            };
            match written {
                Ok(sent) => {
                    self.advance(sent);
                    progress |= sent > 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(progress)
    }

    fn advance(&mut self, sent: usize) {
        self.sent += sent;
        self.uncounted += sent as u64;
        while let Some(first) = self.queue.front() {
            if self.sent < first.len() {
                return;
            }
            self.sent -= first.len();
            self.queue.pop_front();
        }
        *self = SendQueue { uncounted: self.uncounted, ..SendQueue::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Socket that accepts `room` bytes, a few at a time.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for &mut Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = bytes.len().min(self.room - self.taken.len()).min(7);
            self.taken.extend_from_slice(&bytes[..len]);
            if len == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(len) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> SendQueue {
        let mut queue = SendQueue::default();
        queue.extend(vec![Bytes::from("one. two. three."), Bytes::from("four."), Bytes::from("five. six.")]);
        queue
    }

    /// Returns the end of a message. Each message ends with a dot.
    fn end(piece: &[u8], sent: usize) -> usize {
        sent + piece[sent..].iter().position(|byte| *byte == b'.').map_or(0, |dot| dot + 1)
    }

    #[test]
    fn order_is_kept_by_partial_writes() {
        let (mut queue, mut socket) = (queue(), Narrow { taken: vec![], room: 0 });
        while !queue.is_empty() {
            assert!(!queue.write(&mut socket).unwrap(), "the socket is full");
            socket.room += 3;
            assert!(queue.write(&mut socket).unwrap());
        }
        assert_eq!(socket.taken, b"one. two. three.four.five. six.");
    }

    #[test]
    fn partial_message_is_finished() {
        for (room, rest) in [(0, ""), (2, "one."), (11, "one. two. three."), (18, "one. two. three.four.")] {
            let (mut queue, mut socket) = (queue(), Narrow { taken: vec![], room });
            queue.write(&mut socket).unwrap();
            queue.keep_partial_message(end);
            queue.push(Bytes::from("bye."));
            socket.room = 100;
            queue.write(&mut socket).unwrap();
            assert_eq!(String::from_utf8_lossy(&socket.taken), format!("{rest}bye."), "after {room} bytes");
        }
    }
}
