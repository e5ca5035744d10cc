//! Entries as JSON messages ([`message`](crate::message)), which borrow from the entry.

use super::format::Format;
use super::framing::JsonWriter;
use super::replica::ReplicaInfo;
use crate::feed::{Entry, Event, FeedState, Gap, Status};
use crate::message::{
    ExactAmount, ExactPrice, GapMessage, GoodbyeMessage, GoodbyeReason, GoodbyeType, HelloMessage, HelloType,
    InputMessage, StatusMessage, StatusType, SyncedMessage, SyncedType, TickMessage, TickType, Timedate,
    TimedateUpdate, TimestampUpdate,
};
use crate::tick::{Audit, Currencies, Currency, Tick, TickId};
use rust_decimal::Decimal;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Writes each gap that ends with `entry` and affects a client that chose `chosen`.
pub(super) fn outages(chosen: Currencies, entry: &Entry, to: &mut JsonWriter<'_>) {
    for gap in entry.outages(chosen) {
        self::gap(&gap, to);
    }
}

/// Writes the messages for the event of `entry`. A status is written only if `shows_health`.
pub(super) fn event(format: Format, chosen: Currencies, shows_health: bool, entry: &Entry, to: &mut JsonWriter<'_>) {
    match (&entry.event, format) {
        (Event::Status(status), _) if shows_health => {
            to.named("status", Some(entry.id), &status_message(entry, status));
        }
        (Event::Status(_), _) => {}
        // A tick is written even if no chosen currency has a price, because the next entry names this id in its `prev`.
        (Event::Tick { tick, .. }, Format::Full | Format::Audit) => {
            to.update(Some(entry.id), &tick_message(entry, tick, chosen));
        }
        (Event::Tick { tick, .. }, Format::Timedate) => {
            let timedate = Timedate::from(entry.id);
            updates(entry.id, tick, chosen, |id, price, currency| {
                to.update(id, &TimedateUpdate { timedate: timedate.borrowed(), price, currency });
            });
        }
        (Event::Tick { tick, .. }, Format::Timestamp) => {
            let timestamp = entry.id.seconds();
            updates(entry.id, tick, chosen, |id, price, currency| {
                to.update(id, &TimestampUpdate { timestamp, price, currency });
            });
        }
    }
}

/// Creates an update for each chosen currency that has a price. It names the currency if several were chosen. Only the
/// last update has the id, because a client that has received only some of the updates does not have the whole tick.
fn updates(
    id: TickId,
    tick: &Tick,
    chosen: Currencies,
    mut make: impl FnMut(Option<TickId>, ExactPrice, Option<Currency>),
) {
    let mut prices = tick.prices.iter().filter(|(currency, _)| chosen.contains(**currency)).peekable();
    while let Some((currency, price)) = prices.next() {
        let is_last = prices.peek().is_none();
        make(is_last.then_some(id), ExactPrice(*price), (chosen.len() > 1).then_some(*currency));
    }
}

fn tick_message<'a>(entry: &Entry, tick: &'a Tick, chosen: Currencies) -> TickMessage<'a> {
    let prices = || tick.prices.iter().filter(|(currency, _)| chosen.contains(**currency));
    let amounts = |of: &BTreeMap<Currency, Decimal>| {
        let chosen = of.iter().filter(|(currency, _)| chosen.contains(**currency));
        chosen.map(|(currency, amount)| (*currency, ExactAmount(*amount))).collect()
    };
    let sources = |currency| tick.sources.get(currency).map_or(&[][..], Vec::as_slice);
    let audit = tick.audit.as_deref();
    let inputs = |audit: &'a Audit| audit.inputs.iter().filter(|input| chosen.contains(input.currency));
    TickMessage {
        r#type: TickType::Tick,
        id: entry.id,
        prev: entry.prev,
        timedate: entry.id.into(),
        prices: prices().map(|(currency, price)| (*currency, ExactPrice(*price))).collect(),
        sources: prices().map(|(currency, _)| (*currency, Cow::Borrowed(sources(currency)))).collect(),
        method: tick.method,
        confidence: amounts(&tick.confidence),
        spread: amounts(&tick.spread),
        parameters: audit.map(|audit| Cow::Borrowed(&audit.parameters)),
        inputs: audit.map(|audit| inputs(audit).map(InputMessage::from).collect()),
    }
}

fn status_message<'a>(entry: &Entry, status: &'a Status) -> StatusMessage<'a> {
    StatusMessage {
        r#type: StatusType::Status,
        id: entry.id,
        prev: entry.prev,
        state: status.state.into(),
        since: status.since.into(),
        reason: Cow::Borrowed(&status.reason),
    }
}

pub(super) fn gap(gap: &Gap, to: &mut JsonWriter<'_>) {
    to.named("gap", None, &GapMessage::from(gap));
}

pub(super) fn synced(id: TickId, to: &mut JsonWriter<'_>) {
    let cursor = Some(id).filter(|id| *id > TickId::ZERO);
    to.named("synced", cursor, &SyncedMessage { r#type: SyncedType::Synced, id });
}

pub(super) fn hello(replica: &ReplicaInfo, health: Option<(FeedState, &str)>, to: &mut JsonWriter<'_>) {
    let message = HelloMessage {
        r#type: HelloType::Hello,
        replica: Cow::Borrowed(&replica.replica),
        version: Cow::Borrowed(env!("CARGO_PKG_VERSION")),
        currencies: replica.currencies.iter().map(Into::into).collect(),
        interval_ms: u64::try_from(replica.interval.as_millis()).unwrap_or(u64::MAX),
        state: health.map(|(state, _)| state.into()),
        reason: health.map(|(_, reason)| Cow::Borrowed(reason)),
    };
    to.named("hello", None, &message);
}

pub(super) fn goodbye(reason: GoodbyeReason, text: &str, to: &mut JsonWriter<'_>) {
    let (reason, message) = (reason.into(), Cow::Borrowed(text));
    to.named("goodbye", None, &GoodbyeMessage { r#type: GoodbyeType::Goodbye, reason, message });
}

#[cfg(test)]
mod tests {
    use super::super::{Framing, View};
    use super::*;
    use crate::feed::Outage;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    const ID: TickId = TickId::from_ms(1_795_166_431_075);
    const PREV: TickId = TickId::from_ms(1_795_166_426_071);

    fn tick(outages: Vec<Outage>) -> Entry {
        let prices = [(Currency::Usd, "97116.17"), (Currency::Eur, "89348.20")];
        let prices = prices.map(|(currency, price)| (currency, price.parse().unwrap())).into();
        let sources = BTreeMap::from([
            (Currency::Usd, vec!["coinbase".to_owned(), "kraken".to_owned()]),
            (Currency::Eur, vec!["kraken".to_owned()]),
        ]);
        Entry { id: ID, prev: PREV, event: Event::Tick { tick: Tick { prices, sources, ..Tick::default() }, outages } }
    }

    fn view(format: Format, chosen: impl Into<Currencies>) -> View {
        View::new(format, chosen.into(), Framing::Line)
    }

    fn messages(format: Format, chosen: impl Into<Currencies>, entry: &Entry) -> Vec<String> {
        let lines = String::from_utf8(view(format, chosen).entry(entry).into()).unwrap();
        lines.lines().map(str::to_owned).collect()
    }

    #[test]
    fn update_names_its_currency_among_several() {
        let of = tick(vec![]);
        let usd = messages(Format::Timedate, Currency::Usd, &of);
        assert_eq!(usd, [r#"{"timedate":"2026-11-20T09:20:31.075Z","price":97116.17}"#]);
        let both = messages(Format::Timestamp, Currencies::USD_EUR, &of);
        assert_eq!(both[0], r#"{"timestamp":1795166431,"price":97116.17,"currency":"USD"}"#);
        assert_eq!(both[1], r#"{"timestamp":1795166431,"price":89348.20,"currency":"EUR"}"#);
    }

    #[test]
    fn full_tick_has_chosen_prices_and_their_sources() {
        let head = r#"{"type":"tick","id":1795166431075,"prev":1795166426071,"timedate":"2026-11-20T09:20:31.075Z","#;
        let both = format!(
            r#"{head}"prices":{{"USD":97116.17,"EUR":89348.20}},"sources":{{"USD":["coinbase","kraken"],"EUR":["kraken"]}}}}"#
        );
        assert_eq!(messages(Format::Full, Currencies::USD_EUR, &tick(vec![])), [both]);
        let euro = format!(r#"{head}"prices":{{"EUR":89348.20}},"sources":{{"EUR":["kraken"]}}}}"#);
        assert_eq!(messages(Format::Full, Currency::Eur, &tick(vec![])), [euro]);
        let mut of = tick(vec![]);
        let Event::Tick { tick, .. } = &mut of.event else { panic!("a tick") };
        tick.prices.remove(&Currency::Eur);
        tick.sources.clear();
        let none = format!(r#"{head}"prices":{{}},"sources":{{}}}}"#);
        assert_eq!(messages(Format::Full, Currency::Eur, &of), [none]);
        let unnamed = format!(r#"{head}"prices":{{"USD":97116.17}},"sources":{{"USD":[]}}}}"#);
        assert_eq!(messages(Format::Full, Currencies::USD_EUR, &of), [unnamed]);
    }

    #[test]
    fn full_tick_has_method_confidence_and_spread() {
        let mut of = tick(vec![]);
        let Event::Tick { tick, .. } = &mut of.event else { panic!("a tick") };
        tick.method = 1;
        tick.confidence = Currency::ALL.map(|currency| (currency, Decimal::new(125, 2))).into();
        tick.spread = Currency::ALL.map(|currency| (currency, Decimal::new(500, 2))).into();
        let euro = &messages(Format::Full, Currency::Eur, &of)[0];
        let end = r#""sources":{"EUR":["kraken"]},"method":1,"confidence":{"EUR":1.25},"spread":{"EUR":5.00}}"#;
        assert!(euro.ends_with(end), "{euro}");
        assert_eq!(messages(Format::Timedate, Currency::Eur, &of).len(), 1);
    }

    #[test]
    fn audit_has_the_inputs_of_chosen_currencies() {
        let json = concat!(
            r#"{"inputs":[{"source":"kraken","currency":"USD","bid":"97116.10","ask":"97116.30","value":"97116.20","#,
            r#""time":1795166431000,"fetched":1795166431070,"latency_ms":81,"used":"97116.20"},"#,
            r#"{"source":"kraken","currency":"EUR","excluded":"HTTP 503"}]}"#
        );
        let mut of = tick(vec![]);
        let plain = messages(Format::Audit, Currency::Usd, &of);
        assert_eq!(plain, messages(Format::Full, Currency::Usd, &of), "without an audit, both formats are equal");
        let Event::Tick { tick, .. } = &mut of.event else { panic!("a tick") };
        tick.audit = serde_json::from_str(json).ok().map(Arc::new);
        let parameters = serde_json::to_string(&tick.audit.as_ref().unwrap().parameters).unwrap();
        let head = format!(r#"{},"parameters":{parameters},"inputs":["#, plain[0].strip_suffix('}').unwrap());
        let dollars = concat!(
            r#"{"source":"kraken","currency":"USD","bid":97116.10,"ask":97116.30,"value":97116.20,"#,
            r#""time":1795166431000,"fetched":1795166431070,"latency_ms":81,"used":97116.20}]}"#
        );
        assert_eq!(messages(Format::Audit, Currency::Usd, &of), [format!("{head}{dollars}")]);
        let euro = messages(Format::Audit, Currency::Eur, &of);
        assert!(
            euro[0].ends_with(r#""inputs":[{"source":"kraken","currency":"EUR","excluded":"HTTP 503"}]}"#),
            "{euro:?}"
        );
        assert!(messages(Format::Timedate, Currency::Usd, &of)[0].ends_with(r#""price":97116.17}"#));
    }

    #[test]
    fn gap_precedes_the_tick_for_affected_clients() {
        let of = tick(vec![Outage::of_sources(PREV, vec![Currency::Eur])]);
        let gap = r#"{"type":"gap","after":1795166426071,"before":1795166431075,"reason":"source_outage""#;
        assert_eq!(messages(Format::Full, Currency::Usd, &of).len(), 1);
        assert_eq!(messages(Format::Full, Currency::Eur, &of)[0], format!("{gap}}}"));
        assert_eq!(messages(Format::Full, Currencies::USD_EUR, &of)[0], format!(r#"{gap},"currencies":["EUR"]}}"#));
        assert_eq!(messages(Format::Timedate, Currency::Eur, &of).len(), 1);
    }

    #[test]
    fn status_is_shown_in_full_only() {
        let status = Status { state: FeedState::Stale, since: PREV, reason: r#"kraken: said "no""#.into() };
        let of = Entry { id: ID, prev: PREV, event: Event::Status(status) };
        let expected = r#"{"type":"status","id":1795166431075,"prev":1795166426071,"state":"stale","since":"2026-11-20T09:20:26.071Z","reason":"kraken: said \"no\""}"#;
        assert_eq!(messages(Format::Full, Currency::Usd, &of), [expected]);
        assert!(messages(Format::Timestamp, Currency::Usd, &of).is_empty());
    }

    #[test]
    fn messages_beside_entries_keep_their_bytes() {
        let full = view(Format::Full, Currency::Usd);
        let text = |bytes: Option<bytes::Bytes>| String::from_utf8(bytes.unwrap().into()).unwrap();
        assert_eq!(text(full.synced(ID)), "{\"type\":\"synced\",\"id\":1795166431075}\n");
        let replica = ReplicaInfo {
            replica: "r\"1".to_owned(),
            currencies: Currencies::USD_EUR,
            interval: Duration::from_secs(5),
        };
        let hello = format!(
            r#"{{"type":"hello","replica":"r\"1","version":"{}","currencies":["USD","EUR"],"interval_ms":5000"#,
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(text(full.hello(&replica, None)), format!("{hello},\"state\":null,\"reason\":null}}\n"));
        let known = format!("{hello},\"state\":\"live\",\"reason\":\"prices in USD and EUR\"}}\n");
        assert_eq!(text(full.hello(&replica, Some((FeedState::Live, "prices in USD and EUR")))), known);
        let goodbye = View::goodbye(GoodbyeReason::TooSlow, "too slow: reconnect with your last id");
        assert_eq!(
            text(Some(goodbye)),
            "event: goodbye\ndata: {\"type\":\"goodbye\",\"reason\":\"too_slow\",\"message\":\"too slow: reconnect with your last id\"}\n\n"
        );
        assert_eq!(view(Format::Timedate, Currency::Usd).synced(ID), None);
    }
}
