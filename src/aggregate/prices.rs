//! The prices of all currencies: sorts the answers of the sources by currency and passes them to the method.

use super::method::{CurrencyMethod, CurrencyOutcome, Rules, SourceReading, VERSION, WINDOW, was_compared};
use super::poll::{Poll, SourceFault};
use crate::feed::{EntryAudit, Feed};
use crate::source::{Answer, Observation, SourceError};
use crate::tick::{Currencies, Currency, Input, MethodParameters, Tick, TickId};
use std::collections::BTreeMap;

/// The method with its memory, in each currency of the feed.
pub(super) struct PriceMaker {
    rules: Rules,
    /// The number of configured sources that have this currency, and the method.
    currencies: BTreeMap<Currency, (usize, CurrencyMethod)>,
}

impl PriceMaker {
    /// A maker of prices in `currencies`. `of_sources` are the currencies that each source has.
    pub(super) fn new(currencies: Currencies, of_sources: &[Currencies], rules: Rules) -> PriceMaker {
        let configured = |currency| of_sources.iter().filter(|of| of.contains(currency)).count();
        let method = |currency| (currency, (configured(currency), CurrencyMethod::default()));
        PriceMaker { rules, currencies: currencies.iter().map(method).collect() }
    }

    /// Continues where the last leader stopped. If `audits` is empty, this process does not forget what it knows about
    /// outliers and frozen sources.
    pub(super) fn resume(&mut self, feed: &dyn Feed, audits: &[EntryAudit], now: TickId) {
        for (currency, (_, method)) in &mut self.currencies {
            method.forget_prices();
            if !audits.is_empty() {
                method.forget_sources();
            }
            for EntryAudit { audit, .. } in audits {
                if let Some(parameters) = audit.parameters.currencies.get(currency) {
                    let inputs = audit.inputs.iter().filter(|input| input.currency == *currency);
                    method.resume(inputs, parameters);
                }
            }
        }
        for entry in feed.after(now.minus(WINDOW)) {
            let Some(tick) = entry.tick() else { continue };
            for (currency, price) in &tick.prices {
                let sources = tick.sources.get(currency).map_or(0, Vec::len);
                if let Some((_, method)) = self.currencies.get_mut(currency) {
                    method.learn(entry.id, *price, sources, self.rules.interval);
                }
            }
        }
    }

    /// Aggregates the answers of a poll into one tick.
    pub(super) fn aggregate(&mut self, answers: Vec<(&'static str, Vec<Answer>)>, now: TickId) -> Poll {
        let mut poll = Poll::default();
        let mut readings: BTreeMap<Currency, Vec<SourceReading>> = BTreeMap::new();
        let names: Vec<_> = answers.iter().map(|(source, _)| *source).collect();
        for (source, answer) in answers.into_iter().flat_map(|(source, of)| of.into_iter().map(move |of| (source, of)))
        {
            for seen in &answer.observations {
                readings.entry(seen.currency).or_default().push(reading(source, seen, &answer, now));
            }
            for SourceError { currencies, reason, cause, .. } in answer.errors {
                for currency in currencies.iter() {
                    let input = Input::excluded(source, currency, &reason);
                    readings.entry(currency).or_default().push(SourceReading::without_price(input));
                }
                poll.faults.push(SourceFault { source, currencies, reason, cause });
            }
        }
        let Rules { outlier_share, clamp_share, .. } = self.rules;
        poll.parameters = MethodParameters { outlier_share, clamp_share, ..MethodParameters::default() };
        let mut tick = Tick { method: VERSION, ..Tick::default() };
        for (currency, (configured, method)) in &mut self.currencies {
            let Some(readings) = readings.remove(currency) else { continue };
            let failed: Vec<_> = readings.iter().map(|reading| reading.input.excluded.is_some()).collect();
            let outcome = method.aggregate(&self.rules, *configured, readings, now);
            for input in outcome.inputs.iter().zip(failed).filter(|(_, failed)| !failed).map(|(input, _)| input) {
                let source = names.iter().find(|name| **name == input.source);
                if let (Some(source), Some(reason)) = (source, &input.excluded)
                    && (!was_compared(input) || outcome.price.is_ok())
                {
                    poll.add_fault(source, (*currency).into(), reason.clone());
                }
            }
            add(&mut poll, &mut tick, *currency, *configured, outcome);
        }
        poll.tick = Some(tick).filter(|tick| !tick.prices.is_empty());
        poll
    }
}

/// Adds the outcome in one currency to the poll and its tick.
fn add(poll: &mut Poll, tick: &mut Tick, currency: Currency, configured: usize, outcome: CurrencyOutcome) {
    let CurrencyOutcome { price, inputs, parameters } = outcome;
    match price {
        Ok(price) => {
            let used = inputs.iter().filter(|input| input.used.is_some());
            let sources: Vec<_> = used.map(|input| input.source.clone()).collect();
            if sources.len() * 2 < configured || sources.len() == 1 && configured > 1 {
                let names = sources.join(", ");
                let mut text = format!("{currency} from {} of {configured} sources ({names})", sources.len());
                if sources.len() == 1 {
                    text.push_str(", which no other source checks");
                }
                if parameters.bound.is_some() {
                    text.push_str(", so it moves the price no faster than several sources did");
                }
                poll.thin.insert(currency, text);
            }
            tick.prices.insert(currency, price.price);
            tick.confidence.insert(currency, price.confidence);
            tick.spread.insert(currency, price.spread);
            tick.sources.insert(currency, sources);
        }
        Err(reason) if inputs.iter().any(was_compared) => {
            poll.shortfalls.insert(currency, reason);
        }
        Err(_) => {}
    }
    poll.inputs.extend(inputs);
    poll.parameters.currencies.insert(currency, parameters);
}

/// Returns what a source said about one currency in an answer.
fn reading(source: &'static str, seen: &Observation, answer: &Answer, now: TickId) -> SourceReading {
    let Observation { currency, bid, ask, last, volume, time, trade_time } = *seen;
    let latency_ms = u32::try_from(answer.latency.as_millis()).ok();
    let fetched = Some(now.minus(answer.fetched.elapsed()));
    let input = Input { bid, ask, last, time, fetched, latency_ms, ..Input::new(source, currency) };
    let Answer { least_interval, is_repeated, .. } = *answer;
    SourceReading { input, volume, trade_time, least_interval, is_repeated }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::EmptyFeed;
    use crate::tick::Audit;
    use rust_decimal::Decimal;
    use std::time::Duration;

    const NOW: TickId = TickId::from_ms(1_795_166_431_075);
    /// The currencies of three sources.
    const SOURCES: [Currencies; 3] = [Currencies::all(), Currencies::all(), Currencies::all()];

    fn prices(min_sources: usize) -> PriceMaker {
        let (outlier_share, clamp_share) = (Decimal::new(1, 2), Decimal::new(5, 3));
        let max_age = Duration::from_secs(60);
        let interval = Duration::from_secs(5);
        let rules = Rules { interval, max_age, outlier_share, clamp_share, min_sources, frozen_polls: 3 };
        PriceMaker::new(Currencies::all(), &SOURCES, rules)
    }

    fn answer(source: &'static str, price: &str) -> (&'static str, Vec<Answer>) {
        let (currency, last, time) = (Currency::Usd, price.parse().ok(), Some(NOW));
        let seen = Observation { currency, bid: None, ask: None, last, volume: None, time, trade_time: None };
        (source, vec![Answer::new(vec![seen], Vec::new(), Duration::ZERO)])
    }

    fn failure(source: &'static str, reason: &str) -> (&'static str, Vec<Answer>) {
        let error = SourceError::new(Currency::Usd.into(), reason.to_owned());
        (source, vec![Answer::failed(error, Duration::ZERO)])
    }

    #[test]
    fn tick_has_method_sources_confidence_and_spread() {
        let answers = vec![answer("a", "100"), answer("b", "100.4"), answer("c", "10")];
        let poll = prices(2).aggregate(answers, NOW);
        assert_eq!(poll.reason(Currencies::all()), "c: outlier: 90.02 % away from the median 100.2 of the others");
        let used: Vec<_> = poll.inputs.iter().map(|input| input.used.map(|price| price.to_string())).collect();
        assert_eq!(used, [Some("100".to_owned()), Some("100.4".to_owned()), None]);
        assert!(poll.thin.is_empty() && poll.shortfalls.is_empty(), "{poll:?}");
        let tick = poll.tick.unwrap();
        assert_eq!((tick.method, tick.prices[&Currency::Usd].to_string().as_str()), (1, "100.20"));
        assert_eq!(
            (tick.confidence[&Currency::Usd], tick.spread[&Currency::Usd]),
            (Decimal::new(10, 2), Decimal::new(40, 2))
        );
        assert_eq!(tick.sources[&Currency::Usd], ["a", "b"]);
        assert!(!tick.prices.contains_key(&Currency::Eur));
    }

    #[test]
    fn new_leader_knows_outliers_and_frozen_sources() {
        let mut old = prices(2);
        let mut audits = Vec::new();
        // `c` is an outlier at first, and then too near to be one, but not near enough to return. `d` is frozen.
        for (poll, c) in (1_i64..).zip(["102", "100.7", "100.7", "100.7", "100.7"]) {
            let moving = (Decimal::from(100) + Decimal::new(poll, 2)).to_string();
            let answers = vec![answer("a", &moving), answer("b", &moving), answer("c", c), answer("d", "100")];
            let Poll { inputs, parameters, .. } = old.aggregate(answers, NOW);
            audits.push(EntryAudit { id: NOW, audit: Audit { parameters, inputs } });
        }
        let next = || vec![answer("a", "100.1"), answer("b", "100.1"), answer("c", "100.71"), answer("d", "100")];
        let used =
            |prices: &mut PriceMaker| prices.aggregate(next(), NOW).tick.unwrap().sources[&Currency::Usd].clone();
        assert_eq!(used(&mut prices(2)), ["a", "b", "c", "d"], "without a memory");
        let mut new = prices(2);
        // `new` remembers something from an earlier term.
        new.aggregate(vec![answer("a", "200"), answer("c", "100"), answer("d", "100")], NOW);
        new.resume(&EmptyFeed, &audits, NOW);
        assert_eq!(used(&mut new), ["a", "b"]);
        assert_eq!(used(&mut old), ["a", "b"]);
        new.resume(&EmptyFeed, &[], NOW);
        assert_eq!(used(&mut new), ["a", "b"], "without audits, its own memory stays");
    }

    #[test]
    fn too_few_sources_are_the_reason_for_no_price() {
        let poll = prices(2).aggregate(vec![answer("a", "100"), failure("b", "HTTP 503")], NOW);
        assert!(poll.tick.is_none());
        assert_eq!(poll.reason(Currencies::all()), "too few sources: 1 of at least 2; b: HTTP 503");
        assert_eq!(poll.inputs[0].excluded.as_deref(), Some("too few sources: 1 of at least 2"));
        let poll = prices(2).aggregate(vec![answer("a", "100"), answer("b", "200")], NOW);
        assert_eq!(poll.reason(Currencies::all()), "the sources contradict each other (a 100, b 200)");
        let poll = prices(2).aggregate(vec![failure("a", "HTTP 500"), failure("b", "HTTP 503")], NOW);
        assert_eq!(poll.reason(Currencies::all()), "a: HTTP 500; b: HTTP 503");
        assert_eq!(Poll::default().reason(Currencies::all()), "no source was asked");
    }

    #[test]
    fn price_of_few_sources_is_thin() {
        let poll = prices(1).aggregate(vec![answer("a", "100"), failure("b", "HTTP 503")], NOW);
        assert_eq!(poll.thin[&Currency::Usd], "USD from 1 of 3 sources (a), which no other source checks");
        assert_eq!(poll.tick.unwrap().sources[&Currency::Usd], ["a"]);
        assert!(prices(1).aggregate(vec![answer("a", "100"), answer("b", "100")], NOW).thin.is_empty());
    }
}
