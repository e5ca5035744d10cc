//! A parser of event streams (HTML Living Standard §9.2.6, "Interpreting an event stream") with bounded memory. Its
//! input may be cut anywhere, even between the two bytes of a line end.

use crate::client::received::MAX_MESSAGE_BYTES;

/// An item of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The data of an event. The data contains the name and the id, so the fields `event` and `id` are skipped.
    Event(String),
    /// The pause before the next attempt to connect, in milliseconds.
    Retry(u64),
    /// A comment. It shows that the server is alive.
    Comment,
}

/// The error for a line or an event that is too long.
#[derive(Debug, thiserror::Error)]
#[error("a line or an event is longer than {MAX_MESSAGE_BYTES} bytes")]
pub(super) struct TooLong;

/// A parser of a stream that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The beginning of the current line.
    line: Vec<u8>,
    /// The data of the current event.
    data: String,
    /// True if the last byte was a carriage return. A line feed right after it belongs to the same line end.
    after_return: bool,
    /// True if the first line, which may begin with a byte order mark, is complete.
    has_line: bool,
}

impl Parser {
    /// Parses a piece and passes each complete item to `emit`.
    ///
    /// # Errors
    /// If a line or an event is too long. The parser cannot be used after that.
    pub(super) fn read(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Item)) -> Result<(), TooLong> {
        for byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\r' | b'\n' => self.end_line(emit)?,
                _ if self.line.len() == MAX_MESSAGE_BYTES => return Err(TooLong),
                _ => self.line.push(*byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self, emit: &mut dyn FnMut(Item)) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if self.has_line { &*line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.has_line = true;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                // Each line of data has added a line end; the last one is not part of the data.
                if let Some(data) = std::mem::take(&mut self.data).strip_suffix('\n') {
                    emit(Item::Event(data.to_owned()));
                }
            }
            "" => emit(Item::Comment),
            "data" if self.data.len() + value.len() >= MAX_MESSAGE_BYTES => return Err(TooLong),
            "data" => self.data.extend([value, "\n"]),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                emit(Item::Retry(value.parse().unwrap_or(u64::MAX)));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Vec<Item> {
        let (mut parser, mut items) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.read(piece, &mut |item| items.push(item)).unwrap();
        }
        items
    }

    fn event(data: &str) -> Item {
        Item::Event(data.to_owned())
    }

    #[test]
    fn examples_of_the_standard_are_parsed() {
        assert_eq!(read(&[b"data: YHOO\ndata: +2\ndata: 10\n\n"]), [event("YHOO\n+2\n10")]);
        let stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
        assert_eq!(
            read(&[stream]),
            [Item::Comment, event("first event"), event("second event")],
            "the third is not complete"
        );
        assert_eq!(read(&[b"data\n\ndata\ndata\n\ndata:"]), [event(""), event("\n")]);
        assert_eq!(read(&[b"data:test\n\ndata: test\n\n"]), [event("test"), event("test")]);
    }

    #[test]
    fn line_ends_count_once_when_cut() {
        let expected = [Item::Retry(3000), event("a"), Item::Comment, event("b")];
        for end in ["\n", "\r", "\r\n"] {
            let stream =
                ["retry: 3000", "event: tick", "id: 7", "data: a", "", ":", "nonsense", "data: b", "", ""].join(end);
            let stream = format!("\u{feff}{stream}");
            assert_eq!(read(&[stream.as_bytes()]), expected, "{end:?}");
            let bytes: Vec<_> = stream.as_bytes().chunks(1).collect();
            assert_eq!(read(&bytes), expected, "{end:?}, byte by byte");
        }
        assert_eq!(read(&[b"retry: -1\nretry: 1s\nretry:\nretry: 99999999999999999999\n"]), [Item::Retry(u64::MAX)]);
    }

    #[test]
    fn endless_lines_and_events_are_errors() {
        let mut parser = Parser::default();
        let line = vec![b'x'; MAX_MESSAGE_BYTES];
        parser.read(&line, &mut drop).unwrap();
        parser.read(b"x", &mut drop).unwrap_err();
        let (mut parser, line) = (Parser::default(), format!("data:{}\n", "x".repeat(MAX_MESSAGE_BYTES / 4)));
        let read = (0..5).try_for_each(|_| parser.read(line.as_bytes(), &mut drop));
        read.unwrap_err();
    }

    proptest! {
        #[test]
        fn any_stream_parses_alike_however_it_is_cut(
            bytes in prop::collection::vec(prop::sample::select(b"data:retry \r\n0\xef\xbb\xbf\xff\0".to_vec()), 0..200),
            cut in 0..200_usize,
        ) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(read(&[&bytes]), read(&[head, tail]));
        }
    }
}
