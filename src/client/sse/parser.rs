//! The event stream format, as the HTML standard says it is to be read (§9.2.6, "Interpreting an event stream"), with a
//! bound on what is kept. It may be cut anywhere, between the two bytes of a line's end too.

/// The most bytes of one line, and of one event's data. A message of a feed is below a kilobyte.
const MOST: usize = super::super::MESSAGE_BYTES;

/// What a piece of the stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An event's data. Its name and id stand in the data once more, so they are not kept.
    Event(String),
    /// How long to wait before connecting again, in milliseconds.
    Retry(u64),
    /// A sign of life.
    Comment,
}

/// More than can be kept.
#[derive(Debug, thiserror::Error)]
#[error("an event is longer than {MOST} bytes")]
pub(super) struct TooLong;

/// Reads a stream piece by piece.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line that is not over yet.
    line: Vec<u8>,
    /// The data of the event that is not over yet.
    data: String,
    /// Whether the last byte was a carriage return, which a line feed may belong to.
    returned: bool,
    /// Whether the first line, which may begin with a byte order mark, is behind us.
    begun: bool,
}

impl Parser {
    /// Reads a piece, and hands what it says to `say`.
    ///
    /// # Errors
    /// If a line or an event is too long. Nothing can be read after that.
    pub(super) fn read(&mut self, bytes: &[u8], say: &mut dyn FnMut(Line)) -> Result<(), TooLong> {
        for byte in bytes {
            let returned = std::mem::replace(&mut self.returned, *byte == b'\r');
            match byte {
                b'\n' if returned => {}
                b'\r' | b'\n' => self.line_ends(say)?,
                _ if self.line.len() == MOST => return Err(TooLong),
                _ => self.line.push(*byte),
            }
        }
        Ok(())
    }

    fn line_ends(&mut self, say: &mut dyn FnMut(Line)) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if self.begun { &*line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.begun = true;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                // Each line of data added a line's end, the last of which does not count.
                if let Some(data) = std::mem::take(&mut self.data).strip_suffix('\n') {
                    say(Line::Event(data.to_owned()));
                }
            }
            "" => say(Line::Comment),
            "data" if self.data.len() + value.len() >= MOST => return Err(TooLong),
            "data" => self.data.extend([value, "\n"]),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                say(Line::Retry(value.parse().unwrap_or(u64::MAX)));
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

    fn read(pieces: &[&[u8]]) -> Vec<Line> {
        let (mut parser, mut lines) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.read(piece, &mut |line| lines.push(line)).unwrap();
        }
        lines
    }

    fn event(data: &str) -> Line {
        Line::Event(data.to_owned())
    }

    #[test]
    fn the_examples_of_the_standard_are_read_as_it_says() {
        assert_eq!(read(&[b"data: YHOO\ndata: +2\ndata: 10\n\n"]), [event("YHOO\n+2\n10")]);
        let stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
        assert_eq!(
            read(&[stream]),
            [Line::Comment, event("first event"), event("second event")],
            "the third is not over"
        );
        assert_eq!(read(&[b"data\n\ndata\ndata\n\ndata:"]), [event(""), event("\n")]);
        assert_eq!(read(&[b"data:test\n\ndata: test\n\n"]), [event("test"), event("test")]);
    }

    #[test]
    fn every_end_of_a_line_counts_once_also_when_it_is_cut() {
        let expected = [Line::Retry(3000), event("a"), Line::Comment, event("b")];
        for end in ["\n", "\r", "\r\n"] {
            let stream =
                ["retry: 3000", "event: tick", "id: 7", "data: a", "", ":", "nonsense", "data: b", "", ""].join(end);
            let stream = format!("\u{feff}{stream}");
            assert_eq!(read(&[stream.as_bytes()]), expected, "{end:?}");
            let bytes: Vec<_> = stream.as_bytes().chunks(1).collect();
            assert_eq!(read(&bytes), expected, "{end:?}, byte by byte");
        }
        assert_eq!(read(&[b"retry: -1\nretry: 1s\nretry:\nretry: 99999999999999999999\n"]), [Line::Retry(u64::MAX)]);
    }

    #[test]
    fn what_never_ends_is_cut_off() {
        let mut parser = Parser::default();
        let line = vec![b'x'; MOST];
        parser.read(&line, &mut drop).unwrap();
        parser.read(b"x", &mut drop).unwrap_err();
        let (mut parser, line) = (Parser::default(), format!("data:{}\n", "x".repeat(MOST / 4)));
        let read = (0..5).try_for_each(|_| parser.read(line.as_bytes(), &mut drop));
        read.unwrap_err();
    }

    proptest! {
        /// Whatever comes is read without a panic, and the same in one piece as in any others.
        #[test]
        fn it_does_not_matter_where_a_stream_is_cut(
            bytes in prop::collection::vec(prop::sample::select(b"data:retry \r\n0\xef\xbb\xbf\xff\0".to_vec()), 0..200),
            cut in 0..200_usize,
        ) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(read(&[&bytes]), read(&[head, tail]));
        }
    }
}
