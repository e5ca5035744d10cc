//! The messages that clients read, as JSON text. Written by hand, field by field: these shapes are the contract, and a
//! price must come out with exactly the digits that went in.

use super::{Format, Hello, Message};
use crate::feed::{Entry, Event, Gap, Status};
use crate::tick::{Currencies, Tick, TickId};
use std::fmt::Write;

/// Hands to `emit` every gap that ends with `entry` and concerns somebody who chose `chosen`.
pub(super) fn outages(chosen: Currencies, entry: &Entry, emit: &mut dyn FnMut(Message<'_>)) {
    let Event::Tick { outages, .. } = &entry.event else { return };
    for gap in outages.iter().filter_map(|outage| outage.gap(chosen, entry.id)) {
        emit(Message { name: Some("gap"), id: None, json: &self::gap(&gap) });
    }
}

/// Hands every message that the event of `entry` is to `emit`, in order; a status only if it `shows_health`.
pub(super) fn event(
    format: Format,
    chosen: Currencies,
    shows_health: bool,
    entry: &Entry,
    emit: &mut dyn FnMut(Message<'_>),
) {
    let id = Some(entry.id);
    match (&entry.event, format) {
        (Event::Status(status), _) if shows_health => {
            emit(Message { name: Some("status"), id, json: &full_status(entry, status) });
        }
        (Event::Status(_), _) => {}
        // Also where no chosen currency has a price: the next prev will name this id.
        (Event::Tick { tick, .. }, Format::Full) => {
            emit(Message { name: None, id, json: &full_tick(entry, tick, chosen) });
        }
        (Event::Tick { tick, .. }, Format::Timedate) => {
            let moment = format!(r#""timedate":"{}""#, entry.id.timedate());
            updates(&moment, entry.id, tick, chosen, emit);
        }
        (Event::Tick { tick, .. }, Format::Timestamp) => {
            let moment = format!(r#""timestamp":{}"#, entry.id.seconds());
            updates(&moment, entry.id, tick, chosen, emit);
        }
    }
}

/// One update for each chosen currency; which one it is needs saying only where several were chosen. The last one carries
/// the id: who has only some of them has not got the tick.
fn updates(moment: &str, id: TickId, tick: &Tick, chosen: Currencies, emit: &mut dyn FnMut(Message<'_>)) {
    let mut prices = tick.prices.iter().filter(|(currency, _)| chosen.contains(**currency)).peekable();
    while let Some((currency, price)) = prices.next() {
        let json = if chosen.len() == 1 {
            format!(r#"{{{moment},"price":{price}}}"#)
        } else {
            format!(r#"{{{moment},"price":{price},"currency":"{currency}"}}"#)
        };
        emit(Message { name: None, id: prices.peek().is_none().then_some(id), json: &json });
    }
}

fn full_tick(entry: &Entry, tick: &Tick, chosen: Currencies) -> String {
    let Entry { id, prev, .. } = entry;
    let mut json = format!(r#"{{"type":"tick","id":{id},"prev":{prev},"timedate":"{}","prices":{{"#, id.timedate());
    let members = |json: &mut String, member: &dyn Fn(&mut String, crate::tick::Currency)| {
        for (place, currency) in chosen.iter().filter(|currency| tick.prices.contains_key(currency)).enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(json, r#"{comma}"{currency}":"#).ok(); // writing to a String cannot fail
            member(json, currency);
        }
    };
    members(&mut json, &|json, currency| {
        write!(json, "{}", tick.prices[&currency]).ok();
    });
    json.push_str(r#"},"sources":{"#);
    members(&mut json, &|json, currency| {
        let sources: Vec<_> = tick.sources.get(&currency).into_iter().flatten().map(|name| quoted(name)).collect();
        write!(json, "[{}]", sources.join(",")).ok();
    });
    json.push_str("}}");
    json
}

fn full_status(entry: &Entry, status: &Status) -> String {
    let Entry { id, prev, .. } = entry;
    let (state, since, reason) = (status.state.as_str(), status.since.timedate(), quoted(&status.reason));
    format!(r#"{{"type":"status","id":{id},"prev":{prev},"state":"{state}","since":"{since}","reason":{reason}}}"#)
}

pub(super) fn gap(gap: &Gap) -> String {
    format!(r#"{{"type":"gap",{}}}"#, gap_fields(gap))
}

/// What every gap tells, wherever it stands: the fields of an object.
pub(crate) fn gap_fields(gap: &Gap) -> String {
    let Gap { after, before, reason, only } = gap;
    let mut json = format!(r#""after":{after},"before":{before},"reason":"{}""#, reason.as_str());
    if let Some(only) = only {
        let codes: Vec<_> = only.iter().map(|currency| quoted(currency.code())).collect();
        write!(json, r#","currencies":[{}]"#, codes.join(",")).ok();
    }
    json
}

pub(super) fn synced(id: TickId) -> String {
    format!(r#"{{"type":"synced","id":{id}}}"#)
}

pub(super) fn hello(hello: &Hello, status: Option<&Status>) -> String {
    let codes: Vec<_> = hello.currencies.iter().map(|currency| quoted(currency.code())).collect();
    let (replica, codes) = (quoted(&hello.replica), codes.join(","));
    let (version, interval_ms) = (env!("CARGO_PKG_VERSION"), hello.interval.as_millis());
    let (state, reason) = match status {
        Some(status) => (quoted(status.state.as_str()), quoted(&status.reason)),
        None => ("null".to_owned(), "null".to_owned()),
    };
    format!(
        r#"{{"type":"hello","replica":{replica},"version":"{version}","currencies":[{codes}],"interval_ms":{interval_ms},"state":{state},"reason":{reason}}}"#
    )
}

pub(super) fn goodbye(reason: &str, message: &str) -> String {
    format!(r#"{{"type":"goodbye","reason":{},"message":{}}}"#, quoted(reason), quoted(message))
}

/// A JSON string. Nothing but text goes in, so nothing can go wrong.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{FeedState, Outage};
    use crate::tick::Currency;
    use std::collections::BTreeMap;

    const ID: TickId = TickId::from_ms(1_795_166_431_075);
    const PREV: TickId = TickId::from_ms(1_795_166_426_071);

    fn tick(outages: Vec<Outage>) -> Entry {
        let prices = [(Currency::Usd, "97116.17"), (Currency::Eur, "89348.20")];
        let prices = prices.map(|(currency, price)| (currency, price.parse().unwrap())).into();
        let sources = BTreeMap::from([
            (Currency::Usd, vec!["coinbase".to_owned(), "kraken".to_owned()]),
            (Currency::Eur, vec!["kraken".to_owned()]),
        ]);
        Entry { id: ID, prev: PREV, event: Event::Tick { tick: Tick { prices, sources }, outages } }
    }

    fn messages(format: Format, chosen: impl Into<Currencies>, of: &Entry) -> Vec<String> {
        let mut messages = Vec::new();
        let chosen = chosen.into();
        let mut emit = |message: Message<'_>| messages.push(message.json.to_owned());
        if format == Format::Full {
            outages(chosen, of, &mut emit);
        }
        event(format, chosen, format == Format::Full, of, &mut emit);
        for message in &messages {
            serde_json::from_str::<serde_json::Value>(message).expect("valid JSON");
        }
        messages
    }

    #[test]
    fn one_currency_is_two_fields_alone_and_several_have_a_third() {
        let of = tick(vec![]);
        let usd = messages(Format::Timedate, Currency::Usd, &of);
        assert_eq!(usd, [r#"{"timedate":"2026-11-20T09:20:31.075Z","price":97116.17}"#]);
        let both = messages(Format::Timestamp, Currencies::all(), &of);
        assert_eq!(both[0], r#"{"timestamp":1795166431,"price":97116.17,"currency":"USD"}"#);
        assert_eq!(both[1], r#"{"timestamp":1795166431,"price":89348.20,"currency":"EUR"}"#);
    }

    #[test]
    fn a_full_tick_shows_the_chosen_prices_and_their_sources() {
        let head = r#"{"type":"tick","id":1795166431075,"prev":1795166426071,"timedate":"2026-11-20T09:20:31.075Z","#;
        let both = format!(
            r#"{head}"prices":{{"USD":97116.17,"EUR":89348.20}},"sources":{{"USD":["coinbase","kraken"],"EUR":["kraken"]}}}}"#
        );
        assert_eq!(messages(Format::Full, Currencies::all(), &tick(vec![])), [both]);
        let euro = format!(r#"{head}"prices":{{"EUR":89348.20}},"sources":{{"EUR":["kraken"]}}}}"#);
        assert_eq!(messages(Format::Full, Currency::Eur, &tick(vec![])), [euro]);
    }

    #[test]
    fn a_gap_comes_before_the_tick_that_ends_it_for_those_whom_it_concerns() {
        let of = tick(vec![Outage { after: PREV, currencies: vec![Currency::Eur] }]);
        let gap = r#"{"type":"gap","after":1795166426071,"before":1795166431075,"reason":"source_outage""#;
        assert_eq!(messages(Format::Full, Currency::Usd, &of).len(), 1);
        assert_eq!(messages(Format::Full, Currency::Eur, &of)[0], format!("{gap}}}"));
        assert_eq!(messages(Format::Full, Currencies::all(), &of)[0], format!(r#"{gap},"currencies":["EUR"]}}"#));
        assert_eq!(messages(Format::Timedate, Currency::Eur, &of).len(), 1);
    }

    #[test]
    fn a_status_is_shown_in_full_only() {
        let status = Status { state: FeedState::Stale, since: PREV, reason: r#"kraken: said "no""#.into() };
        let of = Entry { id: ID, prev: PREV, event: Event::Status(status) };
        let expected = r#"{"type":"status","id":1795166431075,"prev":1795166426071,"state":"stale","since":"2026-11-20T09:20:26.071Z","reason":"kraken: said \"no\""}"#;
        assert_eq!(messages(Format::Full, Currency::Usd, &of), [expected]);
        assert!(messages(Format::Timestamp, Currency::Usd, &of).is_empty());
    }
}
