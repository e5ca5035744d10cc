//! Bytes on their way out. Empty it owns nothing, and what it holds it shares.

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

/// The most pieces in one gathering write.
const WRITE_PIECES: usize = 64;

#[derive(Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Bytes>,
    /// How much of the first piece is gone.
    sent: usize,
}

impl Outgoing {
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

    /// Drops everything but the message that was sent in part, which ends where `message_end` says.
    pub(super) fn keep_only_what_was_begun(&mut self, message_end: impl FnOnce(&[u8], usize) -> usize) {
        let begun = self.queue.front().filter(|_| self.sent > 0);
        // A copy, so that the block it is a part of can go.
        let rest = begun.map(|first| Bytes::copy_from_slice(&first[self.sent..message_end(first, self.sent)]));
        let queue = rest.into_iter().filter(|rest| !rest.is_empty()).collect();
        *self = Outgoing { queue, sent: 0 };
    }

    /// Writes as much as the socket takes. Whether it took anything.
    pub(super) fn write(&mut self, mut socket: impl Write) -> io::Result<bool> {
        let mut progress = false;
        while let Some(first) = self.queue.front() {
            // One piece, as nearly always, goes the shorter way through the kernel.
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
        while let Some(first) = self.queue.front() {
            if self.sent < first.len() {
                return;
            }
            self.sent -= first.len();
            self.queue.pop_front();
        }
        *self = Outgoing::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes, a few at a time, and no more.
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

    fn outgoing() -> Outgoing {
        let mut outgoing = Outgoing::default();
        outgoing.extend(vec![Bytes::from("one. two. three."), Bytes::from("four."), Bytes::from("five. six.")]);
        outgoing
    }

    /// Messages end with a dot.
    fn end(piece: &[u8], sent: usize) -> usize {
        sent + piece[sent..].iter().position(|byte| *byte == b'.').map_or(0, |dot| dot + 1)
    }

    #[test]
    fn everything_arrives_in_order_however_little_is_taken_at_a_time() {
        let (mut outgoing, mut socket) = (outgoing(), Narrow { taken: vec![], room: 0 });
        while !outgoing.is_empty() {
            assert!(!outgoing.write(&mut socket).unwrap(), "it is full");
            socket.room += 3;
            assert!(outgoing.write(&mut socket).unwrap());
        }
        assert_eq!(socket.taken, b"one. two. three.four.five. six.");
    }

    #[test]
    fn what_was_begun_is_finished_and_nothing_else_is_kept() {
        for (room, rest) in [(0, ""), (2, "one."), (11, "one. two. three."), (18, "one. two. three.four.")] {
            let (mut outgoing, mut socket) = (outgoing(), Narrow { taken: vec![], room });
            outgoing.write(&mut socket).unwrap();
            outgoing.keep_only_what_was_begun(end);
            outgoing.push(Bytes::from("bye."));
            socket.room = 100;
            outgoing.write(&mut socket).unwrap();
            assert_eq!(String::from_utf8_lossy(&socket.taken), format!("{rest}bye."), "after {room} bytes");
        }
    }
}
