//! How a client sees the feed: format × currencies × framing → bytes, made once a tick and shared by everybody.
//!
//! Nothing is serialised for one client. A [`View`] is a small number; the hub keeps the bytes of each entry for each view
//! that somebody uses.

mod csv;
mod json;
pub(crate) mod proto;

pub(crate) use json::gap_fields;

use crate::feed::{Entry, Gap, Status};
use crate::tick::{Currencies, TickId};
use crate::wire::{sse, websocket};
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

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
    /// A row of a table, or several (CSV), which is no JSON.
    Row,
    /// A WebSocket text message in one unmasked frame, as servers send them (RFC 6455 §5.2).
    WebSocket,
    /// A server-sent event (HTML Living Standard §9.2): updates without a name, everything else by its type.
    Event,
    /// A length-prefixed protobuf message, as gRPC sends them. Always everything, as in [`Format::Full`].
    Grpc,
}

/// A message that is not framed yet.
struct Message<'a> {
    /// Its type, if it is not an update.
    name: Option<&'static str>,
    /// The id to resume from once one has it: an entry's last message carries it.
    id: Option<TickId>,
    json: &'a str,
}

impl Framing {
    const COUNT: usize = 5;

    fn frame(self, message: &Message<'_>, to: &mut Vec<u8>) {
        match self {
            Framing::Line => {
                to.extend_from_slice(message.json.as_bytes());
                to.push(b'\n');
            }
            // Neither is made of messages in JSON.
            Framing::Row | Framing::Grpc => {}
            Framing::WebSocket => {
                websocket::write_text_header(message.json.len(), to);
                to.extend_from_slice(message.json.as_bytes());
            }
            Framing::Event => sse::write_event(message.name, message.id, message.json, to),
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
        self.parts(entry, true, true)
    }

    /// Adds everything that `entry` is in this view to what is there.
    pub fn write_entry(self, entry: &Entry, to: &mut Vec<u8>) {
        self.write_parts(entry, true, true, to);
    }

    /// The same without the gaps that end with it.
    pub fn entry_alone(self, entry: &Entry) -> Bytes {
        self.parts(entry, false, true)
    }

    /// The gaps that end with `entry`, in views that show gaps; empty if there are none.
    pub fn outages(self, entry: &Entry) -> Bytes {
        self.parts(entry, true, false)
    }

    /// A gap, in views that show gaps.
    pub fn gap(self, gap: &Gap) -> Option<Bytes> {
        match self.framing {
            Framing::Row => return (self.format == Format::Full).then(|| Bytes::from(csv::gap(gap))),
            Framing::Grpc => return Some(proto::framed(proto::gap(gap))),
            _ => {}
        }
        self.aside(&Message { name: Some("gap"), id: None, json: &json::gap(gap) })
    }

    /// The end of replay, in views that show it.
    pub fn synced(self, id: TickId) -> Option<Bytes> {
        if self.framing == Framing::Grpc {
            return Some(proto::framed(proto::synced(id)));
        }
        let cursor = Some(id).filter(|id| *id > TickId::ZERO);
        self.aside(&Message { name: Some("synced"), id: cursor, json: &json::synced(id) })
    }

    /// What stands before everything else: the names of the columns, if it is a table.
    pub fn header(self) -> &'static str {
        if self.framing == Framing::Row { csv::header(self.format) } else { "" }
    }

    /// Who serves the client, and how the feed is, if that is known, in views that show it.
    pub fn hello(self, hello: &Hello, status: Option<&Status>) -> Option<Bytes> {
        if self.framing == Framing::Grpc {
            return Some(proto::framed(proto::hello(hello, status)));
        }
        self.aside(&Message { name: Some("hello"), id: None, json: &json::hello(hello, status) })
    }

    /// Why the client is let go, as an event: the other framings have words of their own for it.
    pub fn goodbye(reason: &'static str, message: &str) -> Bytes {
        let mut bytes = Vec::new();
        let json = json::goodbye(reason, message);
        Framing::Event.frame(&Message { name: Some("goodbye"), id: None, json: &json }, &mut bytes);
        Bytes::from(bytes)
    }

    /// Whether statuses, gaps and the like are shown: events have names for them, which readers of updates do not see.
    pub fn shows_health(self) -> bool {
        self.format == Format::Full || matches!(self.framing, Framing::Event | Framing::Grpc)
    }

    fn parts(self, entry: &Entry, outages: bool, event: bool) -> Bytes {
        let mut bytes = Vec::new();
        self.write_parts(entry, outages, event, &mut bytes);
        Bytes::from(bytes)
    }

    fn write_parts(self, entry: &Entry, outages: bool, event: bool, to: &mut Vec<u8>) {
        let health = self.shows_health();
        match self.framing {
            Framing::Row => return to.extend_from_slice(csv::entry(self.format, self.currencies, entry).as_bytes()),
            Framing::Grpc => return proto::entry(self.currencies, entry, outages, event, to),
            _ => {}
        }
        let emit = &mut |message: Message<'_>| self.framing.frame(&message, to);
        if outages && health {
            json::outages(self.currencies, entry, emit);
        }
        if event {
            json::event(self.format, self.currencies, health, entry, emit);
        }
    }

    fn aside(self, message: &Message<'_>) -> Option<Bytes> {
        let mut bytes = Vec::new();
        self.framing.frame(message, &mut bytes);
        (self.shows_health() && !bytes.is_empty()).then(|| Bytes::from(bytes))
    }
}

/// Who serves a client, and what there is to have.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The replica's name.
    pub replica: String,
    /// The currencies that the feed carries.
    pub currencies: Currencies,
    /// The time between two ticks.
    pub interval: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

    #[test]
    fn each_view_has_its_own_index() {
        let mut seen = std::collections::HashSet::new();
        for format in Format::ALL {
            for framing in [Framing::Line, Framing::Row, Framing::WebSocket, Framing::Event, Framing::Grpc] {
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
    fn a_frame_has_the_shortest_header_for_its_length_and_a_client_reads_it() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (0xffff, vec![0x81, 126, 0xff, 0xff]),
            (0x1_0000, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frame = Vec::new();
            let json = "x".repeat(length);
            Framing::WebSocket.frame(&Message { name: None, id: None, json: &json }, &mut frame);
            assert_eq!(frame[..header.len()], header);
            assert_eq!(frame.len(), header.len() + length);
            let mut client = WebSocket::from_raw_socket(Cursor::new(frame), Role::Client, None);
            assert_eq!(client.read().unwrap().into_text().unwrap(), json);
        }
    }

    #[test]
    fn an_event_has_a_name_unless_it_is_an_update_and_an_id_where_one_can_resume() {
        let mut bytes = Vec::new();
        let id = Some(TickId::from_ms(7));
        Framing::Event.frame(&Message { name: None, id, json: "{}" }, &mut bytes);
        Framing::Event.frame(&Message { name: Some("gap"), id: None, json: "{}" }, &mut bytes);
        assert_eq!(String::from_utf8(bytes).unwrap(), "id: 7\ndata: {}\n\nevent: gap\ndata: {}\n\n");
    }
}
