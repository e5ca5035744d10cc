//! Queue of bytes to send. An empty queue owns no memory, and the queued buffers are shared between connections.

use arrayvec::ArrayVec;
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

    /// Keeps the next `sealed` bytes, which are already in an encrypted record. If a message was sent or sealed only in
    /// part, keeps its rest too. Drops all other bytes. `message_end(piece, len)` returns the end of the message that
    /// the first `len` bytes of `piece` contain only in part, or `len` if they are whole messages.
    pub(super) fn keep_partial_message(&mut self, sealed: usize, message_end: impl FnOnce(&[u8], usize) -> usize) {
        let (mut kept, mut rest, mut begin) = (Vec::new(), self.sent + sealed, self.sent);
        for piece in &self.queue {
            if rest < piece.len() {
                let end = if rest > 0 { message_end(piece, rest) } else { 0 };
                // Copied, so that the shared segment can be freed.
                kept.extend_from_slice(&piece[begin.min(end)..end]);
                break;
            }
            kept.extend_from_slice(&piece[begin..]);
            (rest, begin) = (rest - piece.len(), 0);
        }
        let queue = Some(kept).filter(|kept| !kept.is_empty()).map(Bytes::from).into_iter().collect();
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

    /// Returns the next bytes, at most `max` of them, without removing them.
    pub(super) fn front(&self, max: usize) -> ArrayVec<&[u8], WRITE_PIECES> {
        let (mut pieces, mut room, mut begin) = (ArrayVec::new(), max, self.sent);
        for piece in self.queue.iter().take(WRITE_PIECES) {
            let len = (piece.len() - begin).min(room);
            pieces.push(&piece[begin..begin + len]);
            (room, begin) = (room - len, 0);
            if room == 0 {
                break;
            }
        }
        pieces
    }

    /// Removes bytes that have been sent.
    pub(super) fn advance(&mut self, sent: usize) {
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

    /// Returns the end of the message of the last sent byte. Each message ends with a dot.
    fn end(piece: &[u8], sent: usize) -> usize {
        sent + piece[sent - 1..].iter().position(|byte| *byte == b'.').unwrap()
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
            queue.keep_partial_message(0, end);
            queue.push(Bytes::from("bye."));
            socket.room = 100;
            queue.write(&mut socket).unwrap();
            assert_eq!(String::from_utf8_lossy(&socket.taken), format!("{rest}bye."), "after {room} bytes");
        }
    }

    #[test]
    fn sealed_bytes_and_their_message_are_kept() {
        for (sent, sealed, kept) in [
            (0, 0, ""),
            (0, 3, "one."),
            (2, 2, "e."),
            (2, 3, "e. two."),
            (2, 13, "e. two. three."),
            (2, 14, "e. two. three."),
            (2, 16, "e. two. three.four."),
            (16, 5, "four."),
            (16, 6, "four.five."),
            (0, 31, "one. two. three.four.five. six."),
        ] {
            let (mut queue, mut socket) = (queue(), Narrow { taken: vec![], room: sent });
            queue.write(&mut socket).unwrap();
            queue.keep_partial_message(sealed, end);
            assert_eq!(queue.front(100).concat(), kept.as_bytes(), "{sent} {sealed}");
        }
    }

    #[test]
    fn front_is_a_part_of_the_queue() {
        for sent in 0..31 {
            let (mut queue, mut socket) = (queue(), Narrow { taken: vec![], room: sent });
            queue.write(&mut socket).unwrap();
            for max in 1..40 {
                let rest = &b"one. two. three.four.five. six."[sent..];
                assert_eq!(queue.front(max).concat(), rest[..rest.len().min(max)], "{sent} {max}");
            }
        }
    }
}
