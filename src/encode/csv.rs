//! Entries as rows of a table (RFC 4180): lines end in CR LF, and the first one names the columns.
//!
//! A spreadsheet may interpret a cell that begins with `=`, `+`, `-` or `@` as a formula. No cell begins with one of
//! these characters: cells are numbers without a sign, dates, words of this program, or the reason of a status, which
//! begins with a word of this program.

use super::format::Format;
use crate::feed::{Entry, Event, Gap, Status};
use crate::tick::{Currencies, Currency, Tick, TickId};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Returns the names of the columns.
pub(super) const fn header(format: Format) -> &'static str {
    match format {
        Format::Timedate => "timedate,currency,price\r\n",
        Format::Timestamp => "timestamp,currency,price\r\n",
        Format::Full | Format::Audit => {
            "type,id,prev,timedate,currency,price,sources,state,since,reason,method,confidence,spread\r\n"
        }
    }
}

/// Returns the rows of the gaps that end with `entry`, if the format has gaps.
pub(super) fn outages(format: Format, chosen: Currencies, entry: &Entry) -> String {
    if format.is_full() { entry.outages(chosen).map(|of| gap(&of)).collect() } else { String::new() }
}

/// Returns the rows of the event of `entry`.
pub(super) fn event(format: Format, chosen: Currencies, entry: &Entry) -> String {
    let mut rows = String::new();
    match (&entry.event, format) {
        (Event::Tick { tick, .. }, Format::Timedate) => updates(&mut rows, &entry.id.timedate(), tick, chosen),
        (Event::Tick { tick, .. }, Format::Timestamp) => {
            updates(&mut rows, &entry.id.seconds().to_string(), tick, chosen);
        }
        (Event::Tick { tick, .. }, Format::Full | Format::Audit) => full_tick(&mut rows, entry, tick, chosen),
        (Event::Status(status), Format::Full | Format::Audit) => full_status(&mut rows, entry, status),
        (Event::Status(_), _) => {}
    }
    rows
}

/// Writes a row for each chosen currency that has a price.
fn updates(rows: &mut String, moment: &str, tick: &Tick, chosen: Currencies) {
    for (currency, price) in tick.prices.iter().filter(|(currency, _)| chosen.contains(**currency)) {
        write!(rows, "{moment},{currency},{price}\r\n").ok(); // writing to a String cannot fail
    }
}

/// Writes a row for each chosen currency that has a price. If there is none, writes a row without a price, because the
/// next entry names this id in its `prev`.
fn full_tick(rows: &mut String, entry: &Entry, tick: &Tick, chosen: Currencies) {
    let Entry { id, prev, .. } = entry;
    let head = format!("tick,{id},{prev},{}", id.timedate());
    for (currency, price) in tick.prices.iter().filter(|(currency, _)| chosen.contains(**currency)) {
        let sources = tick.sources.get(currency).map(|names| names.join(" ")).unwrap_or_default();
        let method = if tick.method == 0 { String::new() } else { tick.method.to_string() };
        let amount = |of: &BTreeMap<Currency, Decimal>| of.get(currency).map(ToString::to_string).unwrap_or_default();
        let (confidence, spread) = (amount(&tick.confidence), amount(&tick.spread));
        write!(rows, "{head},{currency},{price},{},,,,{method},{confidence},{spread}\r\n", cell(&sources)).ok();
    }
    if tick.currencies().and(chosen).is_empty() {
        write!(rows, "{head},,,,,,,,,\r\n").ok();
    }
}

fn full_status(rows: &mut String, entry: &Entry, status: &Status) {
    let Entry { id, prev, .. } = entry;
    let (state, since, reason) = (status.state.as_str(), status.since.timedate(), cell(&status.reason));
    write!(rows, "status,{id},{prev},{},,,,{state},{since},{reason},,,\r\n", id.timedate()).ok();
}

/// Returns the row of a gap. The gap is between the ids in the columns `prev` and `id`. The column `currency` names the
/// affected currencies, unless all are affected.
pub(super) fn gap(gap: &Gap) -> String {
    let Gap { after, before, reason, only } = gap;
    let only: Vec<_> = only.iter().flat_map(|only| only.iter()).map(Currency::code).collect();
    let (timedate, since) = (before.timedate(), if *after == TickId::ZERO { String::new() } else { after.timedate() });
    format!("gap,{before},{after},{timedate},{},,,,{since},{},,,\r\n", only.join(" "), reason.as_str())
}

/// Returns text as a cell, quoted if necessary (RFC 4180 §2.6 and §2.7).
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{FeedState, Outage};

    const ID: TickId = TickId::from_ms(1_795_166_431_075);
    const PREV: TickId = TickId::from_ms(1_795_166_426_071);
    const MOMENTS: &str = "1795166431075,1795166426071,2026-11-20T09:20:31.075Z";

    fn tick(outages: Vec<Outage>) -> Entry {
        let prices = [(Currency::Usd, "97116.17"), (Currency::Eur, "89348.20")];
        let prices = prices.map(|(currency, price)| (currency, price.parse().unwrap())).into();
        let sources = BTreeMap::from([(Currency::Usd, vec!["coinbase".to_owned(), "kraken".to_owned()])]);
        let amount = |cents| BTreeMap::from([(Currency::Usd, Decimal::new(cents, 2))]);
        let tick = Tick { prices, sources, method: 1, confidence: amount(125), spread: amount(500), ..Tick::default() };
        Entry { id: ID, prev: PREV, event: Event::Tick { tick, outages } }
    }

    fn rows(format: Format, chosen: impl Into<Currencies>, of: &Entry) -> Vec<String> {
        let chosen = chosen.into();
        let text = format!("{}{}", outages(format, chosen, of), event(format, chosen, of));
        let rows: Vec<_> =
            text.split_inclusive("\r\n").map(|row| row.strip_suffix("\r\n").unwrap().to_owned()).collect();
        // The parser of the crate `csv` finds as many cells in each row as the header has names.
        let table = format!("{}{text}", header(format));
        assert_eq!(csv::Reader::from_reader(table.as_bytes()).records().map(Result::unwrap).count(), rows.len());
        rows
    }

    #[test]
    fn update_is_a_row_with_its_currency() {
        let of = tick(vec![]);
        assert_eq!(rows(Format::Timedate, Currency::Usd, &of), ["2026-11-20T09:20:31.075Z,USD,97116.17"]);
        let both = ["1795166431,USD,97116.17", "1795166431,EUR,89348.20"];
        assert_eq!(rows(Format::Timestamp, Currencies::USD_EUR, &of), both);
    }

    #[test]
    fn full_tick_is_a_row_per_currency_after_gaps() {
        let of = tick(vec![Outage::of_sources(PREV, vec![Currency::Eur])]);
        let expected = [
            format!("gap,{MOMENTS},EUR,,,,2026-11-20T09:20:26.071Z,source_outage,,,"),
            format!("tick,{MOMENTS},USD,97116.17,coinbase kraken,,,,1,1.25,5.00"),
            format!("tick,{MOMENTS},EUR,89348.20,,,,,1,,"),
        ];
        assert_eq!(rows(Format::Full, Currencies::USD_EUR, &of), expected);
        assert_eq!(rows(Format::Full, Currency::Usd, &of), expected[1..2]);
        let Event::Tick { mut tick, outages } = of.event else { panic!("it is a tick") };
        tick.prices.remove(&Currency::Eur);
        let of = Entry { event: Event::Tick { tick, outages }, ..of };
        assert_eq!(rows(Format::Full, Currency::Eur, &of)[1], format!("tick,{MOMENTS},,,,,,,,,"), "the chain goes on");
    }

    #[test]
    fn status_row_quotes_any_reason() {
        let status =
            Status { state: FeedState::Stale, since: PREV, reason: "no price: kraken said \"no\",\nand so on".into() };
        let of = Entry { id: ID, prev: PREV, event: Event::Status(status) };
        let expected = format!(
            "status,{MOMENTS},,,,stale,2026-11-20T09:20:26.071Z,\"no price: kraken said \"\"no\"\",\nand so on\",,,"
        );
        assert_eq!(rows(Format::Full, Currency::Usd, &of), [expected]);
        assert_eq!(rows(Format::Timedate, Currency::Usd, &of), [""; 0]);
    }
}
