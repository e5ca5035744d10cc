//! Entries as messages of gRPC (`proto/btcfeed/v1/price_feed.proto`). Each message follows a prefix of five bytes,
//! which contains its length.

use super::replica::ReplicaInfo;
use crate::feed::{Entry, FeedState, Gap, GapReason};
use crate::message::pb;
use crate::tick::{Audit, Currencies, Price, TickId};
use crate::wire::grpc::write_message;
use bytes::Bytes;
use pb::subscribe_response::Update;
use prost::Message;

/// Returns a moment as a protobuf timestamp.
fn timestamp(id: TickId) -> prost_types::Timestamp {
    let seconds = i64::try_from(id.seconds()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(id.ms() % 1000).unwrap_or_default() * 1_000_000;
    prost_types::Timestamp { seconds, nanos }
}

/// Returns the tick with the chosen prices, if the entry is a tick.
pub(crate) fn tick(entry: &Entry, chosen: Currencies) -> Option<pb::Tick> {
    let tick = entry.tick()?;
    let prices =
        tick.prices.iter().filter(|(currency, _)| chosen.contains(**currency)).map(|(currency, price)| pb::Price {
            currency: currency.code().to_owned(),
            value: price.to_string(),
            sources: tick.sources.get(currency).cloned().unwrap_or_default(),
            confidence: tick.confidence.get(currency).map(ToString::to_string).unwrap_or_default(),
            spread: tick.spread.get(currency).map(ToString::to_string).unwrap_or_default(),
        });
    let (id, prev, time) = (entry.id.ms(), entry.prev.ms(), Some(timestamp(entry.id)));
    let audit = tick.audit.as_deref().map(|audit| self::audit(audit, chosen));
    Some(pb::Tick { id, prev, time, prices: prices.collect(), method: tick.method, audit })
}

fn audit(audit: &Audit, chosen: Currencies) -> pb::Audit {
    let price = |price: Option<Price>| price.map(|price| price.to_string()).unwrap_or_default();
    let inputs = audit.inputs.iter().filter(|input| chosen.contains(input.currency)).map(|input| pb::Input {
        source: input.source.clone(),
        currency: input.currency.code().to_owned(),
        bid: price(input.bid),
        ask: price(input.ask),
        last: price(input.last),
        value: price(input.value),
        time: input.time.map(timestamp),
        fetched: input.fetched.map(timestamp),
        latency_ms: input.latency_ms,
        used: price(input.used),
        excluded: input.excluded.clone().unwrap_or_default(),
    });
    pb::Audit { parameters: serde_json::to_string(&audit.parameters).unwrap_or_default(), inputs: inputs.collect() }
}

/// Writes the messages of `entry`. If `outages` is true, the gaps that end with the entry come first. If `event` is
/// true, the event follows.
pub(super) fn entry(chosen: Currencies, entry: &Entry, outages: bool, event: bool, to: &mut Vec<u8>) {
    if outages {
        entry.outages(chosen).for_each(|gap| write(self::gap(&gap), to));
    }
    if event {
        let update = tick(entry, chosen).map(Update::Tick).or_else(|| status(entry).map(Update::Status));
        if let Some(update) = update {
            write(update, to);
        }
    }
}

fn status(entry: &Entry) -> Option<pb::Status> {
    let status = entry.status()?;
    let (id, prev, since) = (entry.id.ms(), entry.prev.ms(), Some(timestamp(status.since)));
    Some(pb::Status { id, prev, state: state(status.state).into(), since, reason: status.reason.clone() })
}

fn state(state: FeedState) -> pb::FeedState {
    match state {
        FeedState::Live => pb::FeedState::Live,
        FeedState::Degraded => pb::FeedState::Degraded,
        FeedState::Stale => pb::FeedState::Stale,
        FeedState::Down => pb::FeedState::Down,
    }
}

pub(super) fn gap(gap: &Gap) -> Update {
    let reason = match gap.reason {
        GapReason::SourceOutage => pb::GapReason::SourceOutage,
        GapReason::HistoryExpired => pb::GapReason::HistoryExpired,
        GapReason::HistoryLost => pb::GapReason::HistoryLost,
        GapReason::ReplayLimit => pb::GapReason::ReplayLimit,
        GapReason::HeldTooLong => pb::GapReason::HeldTooLong,
        GapReason::UnknownClientId => pb::GapReason::UnknownClientId,
    };
    let currencies = gap.only.iter().flat_map(|only| only.iter()).map(|currency| currency.code().to_owned());
    Update::Gap(pb::Gap {
        after: gap.after.ms(),
        before: gap.before.ms(),
        reason: reason.into(),
        currencies: currencies.collect(),
    })
}

pub(super) fn synced(id: TickId) -> Update {
    Update::Synced(pb::Synced { id: id.ms() })
}

pub(super) fn hello(replica: &ReplicaInfo, health: Option<(FeedState, &str)>) -> Update {
    Update::Hello(pb::Hello {
        replica: replica.replica.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        currencies: replica.currencies.iter().map(|currency| currency.code().to_owned()).collect(),
        interval: prost_types::Duration::try_from(replica.interval).ok(),
        state: health.map_or(pb::FeedState::Unspecified, |(of_feed, _)| state(of_feed)).into(),
        reason: health.map_or("", |(_, reason)| reason).to_owned(),
    })
}

/// Returns a message with its prefix.
pub(super) fn framed(update: Update) -> Bytes {
    let mut bytes = Vec::new();
    write(update, &mut bytes);
    Bytes::from(bytes)
}

fn write(update: Update, to: &mut Vec<u8>) {
    let message = pb::SubscribeResponse { update: Some(update) };
    write_message(&message.encode_to_vec(), to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Event, Outage, Status};
    use crate::tick::{Currency, Tick};
    use crate::wire::grpc::messages;
    use std::collections::BTreeMap;

    const ID: TickId = TickId::from_ms(1_795_166_431_075);
    const PREV: TickId = TickId::from_ms(1_795_166_426_071);

    fn updates(chosen: impl Into<Currencies>, event: Event) -> Vec<Update> {
        let mut bytes = Vec::new();
        entry(chosen.into(), &Entry { id: ID, prev: PREV, event }, true, true, &mut bytes);
        let decode = |message| pb::SubscribeResponse::decode(message).unwrap().update.unwrap();
        messages(bytes.into()).into_iter().map(decode).collect()
    }

    fn both(outages: Vec<Outage>) -> Event {
        let prices = [(Currency::Usd, "97116.170"), (Currency::Eur, "89348.20")];
        let prices = prices.map(|(currency, price)| (currency, price.parse().unwrap())).into();
        let sources = BTreeMap::from([(Currency::Usd, vec!["coinbase".to_owned(), "kraken".to_owned()])]);
        let amount = |cents| BTreeMap::from([(Currency::Usd, rust_decimal::Decimal::new(cents, 2))]);
        let tick = Tick { prices, sources, method: 1, confidence: amount(125), spread: amount(500), ..Tick::default() };
        Event::Tick { tick, outages }
    }

    #[test]
    fn tick_has_exact_digits_of_chosen_currencies() {
        let time = Some(prost_types::Timestamp { seconds: 1_795_166_431, nanos: 75_000_000 });
        let price = |currency: &str, value: &str, sources: &[&str]| pb::Price {
            currency: currency.to_owned(),
            value: value.to_owned(),
            sources: sources.iter().map(ToString::to_string).collect(),
            confidence: if currency == "USD" { "1.25".to_owned() } else { String::new() },
            spread: if currency == "USD" { "5.00".to_owned() } else { String::new() },
        };
        let (usd, eur) = (price("USD", "97116.170", &["coinbase", "kraken"]), price("EUR", "89348.20", &[]));
        let tick =
            |prices| Update::Tick(pb::Tick { id: ID.ms(), prev: PREV.ms(), time, prices, method: 1, audit: None });
        assert_eq!(updates(Currencies::USD_EUR, both(vec![])), [tick(vec![usd, eur.clone()])]);
        assert_eq!(updates(Currency::Eur, both(vec![])), [tick(vec![eur])]);
    }

    #[test]
    fn gap_is_a_message_before_the_tick_that_ends_it() {
        let outage = || vec![Outage::of_sources(PREV, vec![Currency::Eur])];
        let (after, before) = (PREV.ms(), ID.ms());
        let gap =
            |currencies| Update::Gap(pb::Gap { after, before, reason: pb::GapReason::SourceOutage.into(), currencies });
        assert_eq!(updates(Currency::Usd, both(outage())).len(), 1);
        assert_eq!(updates(Currency::Eur, both(outage()))[0], gap(vec![]));
        let all = updates(Currencies::USD_EUR, both(outage()));
        assert_eq!((all.len(), &all[0]), (2, &gap(vec!["EUR".to_owned()])));
    }

    #[test]
    fn status_has_state_reason_and_start() {
        let event = Event::Status(Status { state: FeedState::Down, since: PREV, reason: "no answer".to_owned() });
        let since = Some(prost_types::Timestamp { seconds: 1_795_166_426, nanos: 71_000_000 });
        let (state, reason) = (pb::FeedState::Down.into(), "no answer".to_owned());
        let status = pb::Status { id: ID.ms(), prev: PREV.ms(), state, since, reason };
        assert_eq!(updates(Currency::Usd, event), [Update::Status(status)]);
    }
}
