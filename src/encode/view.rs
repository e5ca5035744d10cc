//! A view of the feed.

use super::format::Format;
use super::framing::{Encoding, Framing, JsonFraming, JsonWriter};
#[cfg(feature = "grpc")]
use super::proto;
use super::replica::ReplicaInfo;
use super::{csv, json};
use crate::feed::{Entry, FeedState, Gap};
use crate::message::GoodbyeReason;
use crate::tick::{Currencies, TickId};
use bytes::Bytes;

/// The initial capacity for a message. Few messages are longer.
const USUAL_BYTES: usize = 256;

/// A view of the feed: one of the forms in which clients read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct View {
    /// The content of an update.
    pub format: Format,
    /// The currencies to show.
    pub currencies: Currencies,
    /// The framing of each message.
    pub framing: Framing,
    /// True if statuses, gaps, `synced` and `hello` are shown in formats that do not have them otherwise.
    pub notices: bool,
}

impl View {
    /// Returns a view with the messages that the format has.
    pub const fn new(format: Format, currencies: Currencies, framing: Framing) -> View {
        View { format, currencies, framing, notices: false }
    }

    /// Returns the view with or without notices. If the view shows them anyway, it is not changed, so that all its
    /// clients share the encoded bytes.
    #[must_use]
    pub fn with_notices(self, notices: bool) -> View {
        let plain = View { notices: false, ..self };
        View { notices: notices && !plain.shows_health(), ..plain }
    }

    /// Returns the framed messages for `entry` in this view. There may be none.
    pub fn entry(self, entry: &Entry) -> Bytes {
        self.parts(entry, true, true)
    }

    /// Writes the messages for `entry` in this view.
    pub fn write_entry(self, entry: &Entry, to: &mut Vec<u8>) {
        self.write_parts(entry, true, true, to);
    }

    /// Returns the framed messages for `entry` in this view, without the gaps that end with it.
    pub fn entry_alone(self, entry: &Entry) -> Bytes {
        self.parts(entry, false, true)
    }

    /// Returns the framed gaps that end with `entry`, if the view shows gaps. There may be none.
    pub fn outages(self, entry: &Entry) -> Bytes {
        if entry.outages(self.currencies).next().is_none() {
            return Bytes::new();
        }
        self.parts(entry, true, false)
    }

    /// Returns a gap, if the view shows gaps.
    pub fn gap(self, gap: &Gap) -> Option<Bytes> {
        self.shows_health().then(|| match self.framing.encoding() {
            Encoding::Json(framing) => message(framing, |to| json::gap(gap, to)),
            Encoding::Csv => csv::gap(gap).into(),
            #[cfg(feature = "grpc")]
            Encoding::Protobuf => proto::framed(proto::gap(gap)),
        })
    }

    /// Returns the message about the end of the replay, if the view shows it.
    pub fn synced(self, id: TickId) -> Option<Bytes> {
        match self.framing.encoding() {
            Encoding::Json(framing) => self.shows_health().then(|| message(framing, |to| json::synced(id, to))),
            Encoding::Csv => None,
            #[cfg(feature = "grpc")]
            Encoding::Protobuf => Some(proto::framed(proto::synced(id))),
        }
    }

    /// Returns the message `hello`, if the view shows it. The message describes the replica. If `health` is given, the
    /// message also has the state of the feed and the reason.
    pub fn hello(self, replica: &ReplicaInfo, health: Option<(FeedState, &str)>) -> Option<Bytes> {
        match self.framing.encoding() {
            Encoding::Json(framing) => {
                self.shows_health().then(|| message(framing, |to| json::hello(replica, health, to)))
            }
            Encoding::Csv => None,
            #[cfg(feature = "grpc")]
            Encoding::Protobuf => Some(proto::framed(proto::hello(replica, health))),
        }
    }

    /// Returns the message about the end of an event stream. WebSocket and gRPC have their own ways to end a stream.
    pub fn goodbye(reason: GoodbyeReason, text: &str) -> Bytes {
        message(JsonFraming::Event, |to| json::goodbye(reason, text, to))
    }

    /// Returns the text before all entries: the names of the columns if this is a table.
    pub fn header(self) -> &'static str {
        if self.framing == Framing::Row { csv::header(self.format) } else { "" }
    }

    /// Returns true if the view shows statuses and gaps. Such a view also shows `synced` and `hello`, unless it is a
    /// table. Event streams show all these messages in every format, as named events. A handler of unnamed events does
    /// not get named ones. The tables of short formats have no columns for statuses and gaps.
    pub fn shows_health(self) -> bool {
        match self.framing {
            Framing::Line | Framing::WebSocket => self.format.is_full() || self.notices,
            Framing::Row => self.format.is_full(),
            Framing::Event => true,
            #[cfg(feature = "grpc")]
            Framing::Grpc => true,
        }
    }

    /// Returns true if the view shows what went into the prices. Its entries must then be read with their audits.
    pub fn has_inputs(self) -> bool {
        self.format == Format::Audit
    }

    fn parts(self, entry: &Entry, outages: bool, event: bool) -> Bytes {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        self.write_parts(entry, outages, event, &mut bytes);
        Bytes::from(bytes)
    }

    fn write_parts(self, entry: &Entry, outages: bool, event: bool, to: &mut Vec<u8>) {
        match self.framing.encoding() {
            Encoding::Json(framing) => {
                let (health, mut to) = (self.shows_health(), JsonWriter::new(framing, to));
                if outages && health {
                    json::outages(self.currencies, entry, &mut to);
                }
                if event {
                    json::event(self.format, self.currencies, health, entry, &mut to);
                }
            }
            Encoding::Csv => {
                if outages {
                    to.extend_from_slice(csv::outages(self.format, self.currencies, entry).as_bytes());
                }
                if event {
                    to.extend_from_slice(csv::event(self.format, self.currencies, entry).as_bytes());
                }
            }
            #[cfg(feature = "grpc")]
            Encoding::Protobuf => proto::entry(self.currencies, entry, outages, event, to),
        }
    }
}

fn message(framing: JsonFraming, write: impl FnOnce(&mut JsonWriter<'_>)) -> Bytes {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    write(&mut JsonWriter::new(framing, &mut bytes));
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Event, Outage};
    use crate::tick::{Currency, Tick};

    /// Returns an entry with prices in some currencies.
    fn entry(currencies: &[Currency]) -> Entry {
        let prices = currencies.iter().map(|currency| (*currency, "97116.17".parse().unwrap())).collect();
        let sources = currencies.iter().map(|currency| (*currency, vec!["kraken".to_owned()])).collect();
        let outages = vec![Outage::of_sources(TickId::from_ms(10), currencies.to_vec())];
        let event = Event::Tick { tick: Tick { prices, sources, ..Tick::default() }, outages };
        Entry { id: TickId::from_ms(20), prev: TickId::from_ms(10), event }
    }

    #[test]
    fn other_currencies_cost_a_client_no_byte() {
        let (two, all) = (entry(&[Currency::Usd, Currency::Eur]), entry(&Currency::ALL));
        let framings = [Framing::Line, Framing::Row, Framing::WebSocket, Framing::Event];
        #[cfg(feature = "grpc")]
        let framings = [&framings[..], &[Framing::Grpc]].concat();
        for framing in framings {
            for format in Format::ALL {
                let view = View::new(format, Currency::Eur.into(), framing);
                assert_eq!(view.entry(&two), view.entry(&all), "{view:?}");
                assert!(!view.entry(&two).is_empty(), "{view:?}");
            }
        }
    }
}
