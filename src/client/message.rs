//! Reading one message of the `full` format. What this version does not know is passed over: a newer server may say more.

use super::update::{Connected, Gap, GapReason, Status, Tick};
use crate::feed::FeedState;
use crate::tick::{Currency, TickId};
use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Hello(Connected),
    Tick(Tick),
    Status(Status),
    Gap(Gap),
    Synced(TickId),
    /// The server is about to end the stream (SSE only; a WebSocket has close codes).
    CloseReason {
        draining: bool,
        message: String,
    },
    /// Of a kind that this version does not know, with its id and prev if it has both.
    Unknown(Option<(TickId, TickId)>),
    /// Of a kind that this version cannot even look into. It may have been an entry.
    Hidden,
}

/// A type with its text; the fields are read once the type is known.
#[derive(Deserialize)]
struct Head {
    r#type: String,
}

#[derive(Deserialize)]
struct Place {
    id: TickId,
    prev: TickId,
}

#[derive(Deserialize)]
struct RawTick<'a> {
    id: TickId,
    prev: TickId,
    #[serde(borrow)]
    prices: BTreeMap<String, &'a RawValue>,
    #[serde(default)]
    sources: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct RawStatus {
    id: TickId,
    prev: TickId,
    state: String,
    since: String,
    reason: String,
}

#[derive(Deserialize)]
struct RawGap {
    after: TickId,
    before: TickId,
    reason: String,
    currencies: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawSynced {
    id: TickId,
}

#[derive(Deserialize)]
struct RawHello {
    replica: Option<String>,
    version: Option<String>,
    interval_ms: Option<u64>,
    state: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct RawGoodbye {
    reason: Option<String>,
    message: Option<String>,
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is none of a feed's, or lacks what a message of its type has.
    pub(super) fn read(text: &str) -> anyhow::Result<Message> {
        Message::parse(text).with_context(|| {
            let start: String = text.chars().take(60).collect();
            format!("this is no message of a feed: {start:?}")
        })
    }

    fn parse(text: &str) -> anyhow::Result<Message> {
        let Head { r#type } = serde_json::from_str(text)?;
        Ok(match r#type.as_str() {
            "tick" => Message::Tick(tick(serde_json::from_str(text)?)?),
            "status" => match status(serde_json::from_str(text)?)? {
                Ok(status) => Message::Status(status),
                Err(place) => Message::Unknown(Some(place)),
            },
            "gap" => {
                let RawGap { after, before, reason, currencies } = serde_json::from_str(text)?;
                let currencies = currencies.map(|codes| codes.iter().filter_map(|code| code.parse().ok()).collect());
                Message::Gap(Gap { after, before, reason: GapReason::from(reason.as_str()), currencies })
            }
            "synced" => Message::Synced(serde_json::from_str::<RawSynced>(text)?.id),
            "hello" => {
                let RawHello { replica, version, interval_ms, state, reason } = serde_json::from_str(text)?;
                let (interval, state) =
                    (interval_ms.map(Duration::from_millis), state.as_deref().and_then(known_state));
                Message::Hello(Connected { replica, version, interval, state, reason })
            }
            "goodbye" => {
                let RawGoodbye { reason, message } = serde_json::from_str(text)?;
                let draining = reason.as_deref() == Some("draining");
                Message::CloseReason { draining, message: message.or(reason).unwrap_or_default() }
            }
            _ => Message::Unknown(serde_json::from_str(text).ok().map(|Place { id, prev }| (id, prev))),
        })
    }
}

fn tick(raw: RawTick<'_>) -> anyhow::Result<Tick> {
    let mut prices = BTreeMap::new();
    for (code, price) in raw.prices {
        // Never through a float: the digits are the market's.
        if let Ok(currency) = code.parse::<Currency>() {
            prices.insert(currency, price.get().trim_matches('"').parse()?);
        }
    }
    let sources = raw.sources.into_iter().filter_map(|(code, names)| Some((code.parse().ok()?, names))).collect();
    Ok(Tick { id: raw.id, prev: raw.prev, prices, sources })
}

/// The status, or its place if this version does not know its state.
fn status(raw: RawStatus) -> anyhow::Result<Result<Status, (TickId, TickId)>> {
    let RawStatus { id, prev, state, since, reason } = raw;
    let since = TickId::parse_moment("since", &since)?;
    Ok(known_state(&state).map(|state| Status { id, prev, state, since, reason }).ok_or((id, prev)))
}

fn known_state(word: &str) -> Option<FeedState> {
    [FeedState::Live, FeedState::Stale, FeedState::Down].into_iter().find(|known| known.as_str() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(ms: u64) -> TickId {
        TickId::from_ms(ms)
    }

    #[test]
    fn a_tick_keeps_the_digits_of_the_market_and_leaves_out_what_is_not_known() {
        let text = r#"{"type":"tick","id":20,"prev":10,"timedate":"1970-01-01T00:00:00.020Z","volume":[1,{}],
            "prices":{"USD":97116.170,"GBP":1e999},"sources":{"USD":["kraken"],"GBP":["x"]}}"#;
        let Ok(Message::Tick(tick)) = Message::read(text) else { panic!("not a tick") };
        assert_eq!((tick.id, tick.prev), (id(20), id(10)));
        assert_eq!(tick.prices.len(), 1);
        assert_eq!(tick.prices[&Currency::Usd].to_string(), "97116.170");
        assert_eq!(tick.sources, BTreeMap::from([(Currency::Usd, vec!["kraken".to_owned()])]));
    }

    #[test]
    fn every_other_message_is_read() {
        let read = |text| Message::read(text).unwrap();
        let status =
            r#"{"type":"status","id":2,"prev":1,"state":"stale","since":"1970-01-01T00:00:00.001Z","reason":"r"}"#;
        let expected = Status { id: id(2), prev: id(1), state: FeedState::Stale, since: id(1), reason: "r".into() };
        assert_eq!(read(status), Message::Status(expected));
        let gap = r#"{"type":"gap","after":1,"before":2,"reason":"eaten","currencies":["EUR","GBP"]}"#;
        let reason = GapReason::Other("eaten".into());
        let expected = Gap { after: id(1), before: id(2), reason, currencies: Some(Currency::Eur.into()) };
        assert_eq!(read(gap), Message::Gap(expected));
        assert_eq!(read(r#"{"type":"synced","id":7}"#), Message::Synced(id(7)));
        let hello = r#"{"type":"hello","replica":"r1","version":"0.1.0","currencies":["USD"],"interval_ms":5000}"#;
        let Message::Hello(connected) = read(hello) else { panic!("not a hello") };
        assert_eq!((connected.replica.as_deref(), connected.interval), (Some("r1"), Some(Duration::from_secs(5))));
        assert_eq!((connected.state, connected.reason), (None, None));
        for (state, known) in [(r#""stale""#, Some(FeedState::Stale)), (r#""sideways""#, None), ("null", None)] {
            let hello = format!(r#"{{"type":"hello","state":{state},"reason":"r"}}"#);
            let Ok(Message::Hello(connected)) = Message::read(&hello) else { panic!("not a hello") };
            assert_eq!((connected.state, connected.reason.as_deref()), (known, Some("r")));
        }
        let goodbye = r#"{"type":"goodbye","reason":"draining","message":"come back"}"#;
        assert_eq!(read(goodbye), Message::CloseReason { draining: true, message: "come back".into() });
    }

    #[test]
    fn what_is_not_known_is_no_mistake_and_what_is_broken_is() {
        let read = |text| Message::read(text).unwrap();
        assert_eq!(read(r#"{"type":"weather","id":"sunny"}"#), Message::Unknown(None));
        assert_eq!(read(r#"{"type":"note","id":3,"prev":2}"#), Message::Unknown(Some((id(3), id(2)))));
        let new_state = r#"{"type":"status","id":2,"prev":1,"state":"odd","since":"1970-01-01T00:00:00Z","reason":""}"#;
        assert_eq!(read(new_state), Message::Unknown(Some((id(2), id(1)))));
        for broken in [
            "",
            "<html>",
            "[]",
            r#"{"timedate":"2026-11-20T09:20:31.075Z","price":97116.17}"#,
            r#"{"type":"tick","id":-1,"prev":0,"prices":{}}"#,
            r#"{"type":"tick","id":1,"prev":0}"#,
            r#"{"type":"tick","id":1,"prev":0,"prices":{"USD":-5}}"#,
            r#"{"type":"synced"}"#,
        ] {
            let error = Message::read(broken).expect_err(broken);
            assert!(error.to_string().starts_with("this is no message of a feed"), "{error}");
        }
    }
}
