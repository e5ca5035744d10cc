//! The messages that clients read, as JSON text. Written by hand, field by field: these shapes are the contract, and a
//! price must come out with exactly the digits that went in.

use super::Format;
use crate::feed::{Entry, Event, Gap, GapReason, Outage, Status};
use crate::tick::{Currencies, Tick, TickId};
use std::fmt::Write;

/// Hands every message that `entry` is to `emit`, in order.
pub(super) fn entry(format: Format, chosen: Currencies, entry: &Entry, emit: &mut dyn FnMut(&str)) {
    match (&entry.event, format) {
        (Event::Status(status), Format::Full) => emit(&full_status(entry, status)),
        (Event::Status(_), _) => {}
        (Event::Tick { tick, outages }, Format::Full) => {
            for gap in outages.iter().filter_map(|outage| gap_of(outage, chosen, entry.id)) {
                emit(&self::gap(&gap));
            }
            // Also where no chosen currency has a price: the next prev will name this id.
            emit(&full_tick(entry, tick, chosen));
        }
        (Event::Tick { tick, .. }, Format::Timedate) => {
            let moment = format!(r#""timedate":"{}""#, entry.id.timedate());
            updates(&moment, tick, chosen, emit);
        }
        (Event::Tick { tick, .. }, Format::Timestamp) => {
            let moment = format!(r#""timestamp":{}"#, entry.id.seconds());
            updates(&moment, tick, chosen, emit);
        }
    }
}

/// One update for each chosen currency; which one it is needs saying only where several were chosen.
fn updates(moment: &str, tick: &Tick, chosen: Currencies, emit: &mut dyn FnMut(&str)) {
    for (currency, price) in tick.prices.iter().filter(|(currency, _)| chosen.contains(**currency)) {
        if chosen.len() == 1 {
            emit(&format!(r#"{{{moment},"price":{price}}}"#));
        } else {
            emit(&format!(r#"{{{moment},"price":{price},"currency":"{currency}"}}"#));
        }
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

/// The gap that an outage leaves for a client that chose `chosen`, if it leaves one.
fn gap_of(outage: &Outage, chosen: Currencies, before: TickId) -> Option<Gap> {
    let concerned = outage.currencies.iter().copied().collect::<Currencies>().and(chosen);
    let only = (concerned != chosen).then_some(concerned);
    let gap = Gap { after: outage.after, before, reason: GapReason::SourceOutage, only };
    (!concerned.is_empty()).then_some(gap)
}

pub(super) fn gap(gap: &Gap) -> String {
    let Gap { after, before, reason, only } = gap;
    let mut json = format!(r#"{{"type":"gap","after":{after},"before":{before},"reason":"{}""#, reason.as_str());
    if let Some(only) = only {
        let codes: Vec<_> = only.iter().map(|currency| quoted(currency.code())).collect();
        write!(json, r#","currencies":[{}]"#, codes.join(",")).ok();
    }
    json.push('}');
    json
}

pub(super) fn synced(id: TickId) -> String {
    format!(r#"{{"type":"synced","id":{id}}}"#)
}

/// A JSON string. Nothing but text goes in, so nothing can go wrong.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::State;
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
        entry(format, chosen.into(), of, &mut |message| messages.push(message.to_owned()));
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
        let status = Status { state: State::Stale, since: PREV, reason: r#"kraken: said "no""#.into() };
        let of = Entry { id: ID, prev: PREV, event: Event::Status(status) };
        let expected = r#"{"type":"status","id":1795166431075,"prev":1795166426071,"state":"stale","since":"2026-11-20T09:20:26.071Z","reason":"kraken: said \"no\""}"#;
        assert_eq!(messages(Format::Full, Currency::Usd, &of), [expected]);
        assert!(messages(Format::Timestamp, Currency::Usd, &of).is_empty());
    }
}
