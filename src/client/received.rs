//! The messages that a server sends over a connection.
//!
//! Readers skip messages and fields that this version does not know, because a newer server may send them.

use super::disconnect::Disconnect;
use super::update::{Connected, GapCause, GapUpdate, StatusUpdate, TickUpdate};
use crate::message::{
    Amounts, GapMessage, GoodbyeMessage, HelloMessage, StatusMessage, SyncedMessage, TickMessage, Timedate, Word, audit,
};
use crate::tick::TickId;
use futures_util::stream::BoxStream;
use serde::Deserialize;
use std::time::Duration;

/// The maximum length of a message. A tick has about 1 KB at most, and less than 20 KB with its audit. The limit
/// protects the memory.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The events of one connection.
pub(super) type ServerEvents = BoxStream<'static, Result<ServerEvent, Disconnect>>;

/// An event of a connection.
#[derive(Debug)]
pub(super) enum ServerEvent {
    Message(Received),
    /// Data without a message. It shows that the server is alive.
    Alive,
    /// The pause that the server asks for before the next attempt.
    Retry(Duration),
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Hello(Connected),
    Tick(TickUpdate),
    Status(StatusUpdate),
    Gap(GapUpdate),
    Synced(TickId),
    /// The server ends the stream, with the reason (only in event streams).
    Goodbye(String),
    /// A message that this version does not know, with its position if it has one.
    Unknown(Option<Position>),
    /// A message of which this version cannot read any field. It may have been an entry.
    #[cfg_attr(not(feature = "grpc"), allow(dead_code, reason = "fields of JSON can always be read"))]
    Opaque,
}

/// The position of an entry in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Position {
    pub(super) id: TickId,
    pub(super) prev: TickId,
}

/// The type of a message. It is read first, because the other fields depend on it.
#[derive(Deserialize)]
struct Head {
    r#type: String,
}

impl Received {
    /// Reads a message of the format `full` or `audit`.
    ///
    /// # Errors
    /// If the text is not such a message.
    pub(super) fn read(text: &str) -> Result<Received, Disconnect> {
        Received::parse(text).map_err(|error| {
            let start: String = text.chars().take(60).collect();
            Disconnect::retry(format!("invalid message {start:?}: {error}"))
        })
    }

    fn parse(text: &str) -> serde_json::Result<Received> {
        let Head { r#type } = serde_json::from_str(text)?;
        Ok(match r#type.as_str() {
            "tick" => Received::Tick(serde_json::from_str::<TickMessage<'_>>(text)?.into()),
            "status" => status(serde_json::from_str(text)?)?,
            "gap" => Received::Gap(serde_json::from_str::<GapMessage>(text)?.into()),
            "synced" => Received::Synced(serde_json::from_str::<SyncedMessage>(text)?.id),
            "hello" => Received::Hello(serde_json::from_str::<HelloMessage<'_>>(text)?.into()),
            "goodbye" => Received::Goodbye(serde_json::from_str::<GoodbyeMessage<'_>>(text)?.message.into_owned()),
            _ => Received::Unknown(serde_json::from_str(text).ok()),
        })
    }
}

impl From<TickMessage<'_>> for TickUpdate {
    fn from(tick: TickMessage<'_>) -> TickUpdate {
        let TickMessage { id, prev, prices, sources, method, confidence, spread, parameters, inputs, .. } = tick;
        let amounts = |of: Amounts| of.into_iter().map(|(currency, amount)| (currency, amount.0)).collect();
        let prices = prices.into_iter().map(|(currency, price)| (currency, price.0)).collect();
        let sources = sources.into_iter().map(|(currency, names)| (currency, names.into_owned())).collect();
        let (confidence, spread, audit) = (amounts(confidence), amounts(spread), audit(parameters, inputs));
        TickUpdate { id, prev, prices, sources, method, confidence, spread, audit }
    }
}

/// Returns the status, or only its position if this version does not know the state.
fn status(status: StatusMessage<'_>) -> serde_json::Result<Received> {
    let StatusMessage { id, prev, state, since, reason, .. } = status;
    let Word::Known(state) = state else { return Ok(Received::Unknown(Some(Position { id, prev }))) };
    let since = moment(&since)?;
    Ok(Received::Status(StatusUpdate { id, prev, state, since, reason: reason.into_owned() }))
}

fn moment(text: &Timedate<'_>) -> serde_json::Result<TickId> {
    text.moment().map_err(serde::de::Error::custom)
}

impl From<GapMessage> for GapUpdate {
    fn from(gap: GapMessage) -> GapUpdate {
        let GapMessage { after, before, reason, currencies, .. } = gap;
        let reason = match reason {
            Word::Known(reason) => reason.into(),
            Word::Other(word) => GapCause::Other(word),
        };
        let currencies = currencies.map(|words| words.into_iter().filter_map(Word::known).collect());
        GapUpdate { after, before, reason, currencies }
    }
}

impl From<HelloMessage<'_>> for Connected {
    fn from(hello: HelloMessage<'_>) -> Connected {
        let HelloMessage { replica, version, currencies, interval_ms, state, reason, .. } = hello;
        let text = |text: std::borrow::Cow<'_, str>| Some(text.into_owned()).filter(|text| !text.is_empty());
        Connected {
            replica: text(replica),
            version: text(version),
            currencies: currencies.into_iter().filter_map(Word::known).collect(),
            interval: Some(Duration::from_millis(interval_ms)).filter(|interval| !interval.is_zero()),
            state: state.and_then(Word::known),
            reason: reason.and_then(text),
            ..Connected::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::FeedState;
    use crate::tick::Currency;
    use std::collections::BTreeMap;

    const fn id(ms: u64) -> TickId {
        TickId::from_ms(ms)
    }

    #[test]
    fn tick_has_exact_digits_of_known_currencies() {
        let text = r#"{"type":"tick","id":20,"prev":10,"timedate":"1970-01-01T00:00:00.020Z","volume":[1,{}],
            "prices":{"USD":97116.170,"XAU":1e999},"sources":{"USD":["kraken"],"XAU":["x"]}}"#;
        let Ok(Received::Tick(tick)) = Received::read(text) else { panic!("not a tick") };
        assert_eq!((tick.id, tick.prev), (id(20), id(10)));
        assert_eq!(tick.prices.len(), 1);
        assert_eq!(tick.prices[&Currency::Usd].to_string(), "97116.170");
        assert_eq!(tick.sources, BTreeMap::from([(Currency::Usd, vec!["kraken".to_owned()])]));
        assert_eq!((tick.method, tick.confidence.len()), (0, 0));
        let text = r#"{"type":"tick","id":20,"prev":10,"prices":{"USD":1.50},"method":1,"confidence":{"USD":0.00},
            "spread":{"USD":0.50,"XAU":-1}}"#;
        let Ok(Received::Tick(tick)) = Received::read(text) else { panic!("not a tick") };
        assert_eq!((tick.method, tick.confidence[&Currency::Usd].to_string().as_str()), (1, "0.00"));
        assert_eq!(tick.spread, [(Currency::Usd, rust_decimal::Decimal::new(50, 2))].into());
        let bare = r#"{"type":"tick","id":1,"prev":0,"prices":{}}"#;
        assert!(matches!(Received::read(bare), Ok(Received::Tick(_))), "a tick needs only `id`, `prev` and `prices`");
    }

    #[test]
    fn every_other_message_is_read() {
        let read = |text| Received::read(text).unwrap();
        let status =
            r#"{"type":"status","id":2,"prev":1,"state":"stale","since":"1970-01-01T00:00:00.001Z","reason":"r"}"#;
        let expected =
            StatusUpdate { id: id(2), prev: id(1), state: FeedState::Stale, since: id(1), reason: "r".into() };
        assert_eq!(read(status), Received::Status(expected));
        let gap = r#"{"type":"gap","after":1,"before":2,"reason":"eaten","currencies":["EUR","XAU"]}"#;
        let reason = GapCause::Other("eaten".into());
        let expected = GapUpdate { after: id(1), before: id(2), reason, currencies: Some(Currency::Eur.into()) };
        assert_eq!(read(gap), Received::Gap(expected));
        assert_eq!(read(r#"{"type":"synced","id":7}"#), Received::Synced(id(7)));
        let hello = r#"{"type":"hello","replica":"r1","version":"1.2.3","currencies":["USD"],"interval_ms":5000}"#;
        let Received::Hello(connected) = read(hello) else { panic!("not a hello") };
        assert_eq!((connected.replica.as_deref(), connected.interval), (Some("r1"), Some(Duration::from_secs(5))));
        assert_eq!((connected.state, connected.reason), (None, None));
        for (state, known) in [(r#""stale""#, Some(FeedState::Stale)), (r#""sideways""#, None), ("null", None)] {
            let hello = format!(r#"{{"type":"hello","state":{state},"reason":"r"}}"#);
            let Ok(Received::Hello(connected)) = Received::read(&hello) else { panic!("not a hello") };
            assert_eq!((connected.state, connected.reason.as_deref()), (known, Some("r")));
        }
        let goodbye = r#"{"type":"goodbye","reason":"draining","message":"come back"}"#;
        assert_eq!(read(goodbye), Received::Goodbye("come back".into()));
    }

    #[test]
    fn unknown_is_skipped_and_invalid_is_an_error() {
        let read = |text| Received::read(text).unwrap();
        assert_eq!(read(r#"{"type":"weather","id":"sunny"}"#), Received::Unknown(None));
        let position = Some(Position { id: id(3), prev: id(2) });
        assert_eq!(read(r#"{"type":"note","id":3,"prev":2}"#), Received::Unknown(position));
        let new_state = r#"{"type":"status","id":3,"prev":2,"state":"odd","since":"1970-01-01T00:00:00Z","reason":""}"#;
        assert_eq!(read(new_state), Received::Unknown(position));
        for invalid in [
            "",
            "<html>",
            "[]",
            r#"{"timedate":"2026-11-20T09:20:31.075Z","price":97116.17}"#,
            r#"{"type":"tick","id":-1,"prev":0,"prices":{}}"#,
            r#"{"type":"tick","id":1,"prev":0}"#,
            r#"{"type":"tick","id":1,"prev":0,"prices":{"USD":-5}}"#,
            r#"{"type":"status","id":2,"prev":1,"state":"live","since":"now","reason":""}"#,
            r#"{"type":"synced"}"#,
        ] {
            let Err(Disconnect::Retry { why, .. }) = Received::read(invalid) else { panic!("{invalid} was read") };
            assert!(why.starts_with("invalid message "), "{why}");
        }
    }
}
