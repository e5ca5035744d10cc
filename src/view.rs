//! How a client sees the feed: format × currencies × framing → bytes, made once a tick and shared by everybody.
//!
//! Nothing is serialised for one client. A [`View`] is a small number; the hub keeps the bytes of each entry for each view
//! that somebody uses.

mod json;

use crate::feed::{Entry, Gap};
use crate::tick::{Currencies, TickId};
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;

/// What an update looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"timedate":"2026-11-20T09:20:31.075Z","price":97116.17}`
    Timedate,
    /// `{"timestamp":1795166431,"price":97116.17}`
    Timestamp,
    /// Ticks with id, prev, all chosen prices and their sources; statuses, gaps and the end of replay beside them.
    Full,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 3] = [Format::Timedate, Format::Timestamp, Format::Full];

    /// The word that names it in a query.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Timedate => "timedate",
            Format::Timestamp => "timestamp",
            Format::Full => "full",
        }
    }
}

/// A word that names no format.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("format reads timedate, timestamp or full, got {0:?}")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Format, UnknownFormat> {
        Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands around a message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A line of its own (NDJSON).
    Line,
    /// A WebSocket text message in one unmasked frame, as servers send them (RFC 6455 §5.2).
    WebSocket,
}

impl Framing {
    const COUNT: usize = 2;

    fn frame(self, message: &str, to: &mut Vec<u8>) {
        if self == Framing::WebSocket {
            text_frame_header(message.len(), to);
        }
        to.extend_from_slice(message.as_bytes());
        if self == Framing::Line {
            to.push(b'\n');
        }
    }
}

/// FIN and opcode 1, then the length in one, three or nine bytes.
fn text_frame_header(length: usize, to: &mut Vec<u8>) {
    to.push(0x81);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => to.push(short),
        (_, Ok(medium)) => {
            to.push(126);
            to.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            to.push(127);
            to.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// One way to see the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// What an update looks like.
    pub format: Format,
    /// The currencies to see.
    pub currencies: Currencies,
    /// What stands around each message.
    pub framing: Framing,
}

impl View {
    /// The number of different views.
    pub const COUNT: usize = Format::ALL.len() * Currencies::SETS * Framing::COUNT;

    /// A number below [`View::COUNT`] that is this view's own.
    pub fn index(self) -> usize {
        (self.format as usize * Framing::COUNT + self.framing as usize) * Currencies::SETS + self.currencies.index()
    }

    /// Everything that `entry` is in this view, framed; empty if it is nothing.
    pub fn entry(self, entry: &Entry) -> Bytes {
        let mut bytes = Vec::new();
        json::entry(self.format, self.currencies, entry, &mut |message| self.framing.frame(message, &mut bytes));
        Bytes::from(bytes)
    }

    /// A gap, in views that show gaps.
    pub fn gap(self, gap: &Gap) -> Option<Bytes> {
        self.aside(&json::gap(gap))
    }

    /// The end of replay, in views that show it.
    pub fn synced(self, id: TickId) -> Option<Bytes> {
        self.aside(&json::synced(id))
    }

    fn aside(self, message: &str) -> Option<Bytes> {
        let mut bytes = Vec::new();
        self.framing.frame(message, &mut bytes);
        (self.format == Format::Full).then(|| Bytes::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_view_has_its_own_index() {
        let mut seen = std::collections::HashSet::new();
        for format in Format::ALL {
            for framing in [Framing::Line, Framing::WebSocket] {
                for currencies in
                    [Currencies::all(), crate::tick::Currency::Usd.into(), crate::tick::Currency::Eur.into()]
                {
                    let index = View { format, currencies, framing }.index();
                    assert!(index < View::COUNT && seen.insert(index));
                }
            }
        }
    }

    #[test]
    fn a_frame_has_the_shortest_header_for_its_length() {
        for (length, header) in [
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (0x1_0000, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frame = Vec::new();
            Framing::WebSocket.frame(&"x".repeat(length), &mut frame);
            assert_eq!(frame[..header.len()], header);
            assert_eq!(frame.len(), header.len() + length);
        }
    }
}
