//! Aggregates the observations of all sources into one price for each currency, and tracks the health of the sources.
//!
//! A poll asks all sources at once, except those whose circuit breaker is open, and takes the median of the valid
//! answers. An answer is valid if its price is above zero, its time (if it has one) is close to now, and its price is
//! close to the median. If fewer than three sources answer and the last price is still fresh, their prices must be
//! close to the last price instead.
//!
//! Without a valid answer there is no price: a price is never invented. If two sources contradict each other and there
//! is no fresh last price, both are rejected.

mod breaker;
mod inputs;

use crate::source::{Answer, Source, SourceError};
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::{SOURCE_ERRORS, SOURCE_RESTING, SOURCE_SECONDS, SOURCE_UP};
use crate::telemetry::traces::{Stopwatch, TraceStep};
use crate::tick::{Currencies, Currency, Input, Price, Tick, TickId};
use breaker::CircuitBreaker;
use futures_util::future::join_all;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// The options of an aggregator.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The currencies to request.
    pub currencies: Currencies,
    /// The time in which a source must answer.
    pub deadline: Duration,
    /// The maximum difference between our clock and the time in an answer, in both directions. It is also the age up to
    /// which a last price is fresh.
    pub max_age: Duration,
    /// The maximum difference between a price and the median of all prices, as a share of the median.
    pub max_deviation: Decimal,
}

/// The sources and their health.
pub struct Aggregator {
    members: Vec<Member>,
    options: Options,
    /// The last price of each currency, and when it was aggregated.
    last: BTreeMap<Currency, (Price, Instant)>,
}

struct Member {
    source: Box<dyn Source>,
    breaker: CircuitBreaker,
    /// Limits the log lines about single answers that are not used. If all answers fail, the breaker logs it.
    unused: FaultLog,
}

/// The result of a poll.
#[derive(Debug, Default)]
pub struct Poll {
    /// The prices, if at least one currency has a valid one.
    pub tick: Option<Tick>,
    /// The faults of the sources that did not contribute.
    pub faults: Vec<SourceFault>,
    /// What each source said, and how it was used.
    pub inputs: Vec<Input>,
    /// The poll and its requests, for the trace of the tick.
    pub trace: Option<TraceStep>,
}

/// The reason why a source did not contribute a price in some currencies.
#[derive(Debug)]
pub struct SourceFault {
    /// The name of the source.
    pub source: &'static str,
    /// The currencies without a price from this source.
    pub currencies: Currencies,
    /// The reason, as text for people. Clients can read it in a status.
    pub reason: String,
    /// What the log adds: the address and the cause of a failed request.
    pub cause: Option<String>,
}

impl Poll {
    /// Returns the reason why there is no price in `currencies`, in one line.
    pub fn reason(&self, currencies: Currencies) -> String {
        let faults = self.faults.iter().filter(|fault| !fault.currencies.and(currencies).is_empty());
        let mut reasons: Vec<_> = faults.map(|fault| format!("{}: {}", fault.source, fault.reason)).collect();
        // A source with one request for each currency often has the same fault in all of them.
        reasons.dedup();
        if reasons.is_empty() { "no source was asked".to_owned() } else { reasons.join("; ") }
    }
}

impl Aggregator {
    /// An aggregator of `sources`, whose circuit breakers are closed.
    pub fn new(sources: Vec<Box<dyn Source>>, options: Options) -> Aggregator {
        for source in &sources {
            for metric in [SOURCE_SECONDS, SOURCE_ERRORS, SOURCE_UP, SOURCE_RESTING] {
                metric.register_series(source.name());
            }
        }
        let member = |source| Member { source, breaker: CircuitBreaker::default(), unused: FaultLog::default() };
        let members = sources.into_iter().map(member).collect();
        Aggregator { members, options, last: BTreeMap::new() }
    }

    /// Polls the sources once.
    pub async fn poll(&mut self) -> Poll {
        let Options { currencies, deadline, .. } = self.options;
        let now = Instant::now();
        let watch = Stopwatch::start();
        // At least two sources are needed to check each other. If fewer are available, open circuit breakers are
        // ignored, except those of sources that asked for a pause.
        let ignores_breakers = self.members.iter().filter(|member| !member.breaker.is_open(now)).count() < 2;
        let polls = self.members.iter_mut().map(async |member| {
            if member.breaker.is_banned(now) || !ignores_breakers && member.breaker.is_open(now) {
                let seconds = member.breaker.time_left(now).as_secs().max(1);
                let reason = format!("paused for {seconds} s");
                let resting = Answer::failed(SourceError::new(currencies, reason), Duration::ZERO);
                return (member, vec![resting], None);
            }
            let answers = member.source.observe(currencies, deadline).await;
            let name = member.source.name();
            if answers.is_empty() || answers.iter().all(|answer| answer.is_repeated) {
                return (member, answers, None);
            }
            let step = watch.stop("source").map(|step| step.with_source(name, error_of(&answers)));
            SOURCE_SECONDS.histogram(name).record(now.elapsed());
            let is_up = answers.iter().any(Answer::is_useful);
            SOURCE_UP.gauge(name).set(u8::from(is_up));
            SOURCE_ERRORS.counter(name).increment(u64::from(!is_up));
            member.breaker.record(name, now, &answers);
            SOURCE_RESTING.gauge(name).set(u8::from(member.breaker.is_open(now)));
            (member, answers, step)
        });
        let polled = join_all(polls).await;
        if now.elapsed() > deadline * 2 {
            // This process was suspended during the poll, so the answers may be old.
            let mut poll = Poll::default();
            poll.add_fault("all sources", currencies, "the answers were not read in time".to_owned());
            return poll;
        }
        let mut steps = Vec::new();
        let answers = polled.into_iter().map(|(member, answers, step)| {
            steps.extend(step);
            (member.source.name(), answers)
        });
        let answers: Vec<_> = answers.collect();
        let answered = answers.iter().filter(|(_, answers)| answers.iter().any(Answer::is_useful));
        let answered: Vec<_> = answered.map(|(source, _)| *source).collect();
        self.last.retain(|_, (_, at)| now.saturating_duration_since(*at) <= self.options.max_age);
        let last = self.last.iter().map(|(currency, (price, _))| (*currency, *price)).collect();
        let mut poll = self.options.aggregate(answers, TickId::now(), &last);
        for (currency, price) in poll.tick.iter().flat_map(|tick| &tick.prices) {
            self.last.insert(*currency, (*price, now));
        }
        self.log_unused(&poll, &answered);
        poll.trace = watch.stop("poll").map(|step| step.with_steps(steps));
        poll
    }

    /// Logs the answers that are not used, of sources that gave others, at most once a minute for each source.
    fn log_unused(&mut self, poll: &Poll, answered: &[&'static str]) {
        for member in self.members.iter_mut().filter(|member| answered.contains(&member.source.name())) {
            let source = member.source.name();
            let faults = poll.faults.iter().filter(|fault| fault.source == source);
            let reasons: Vec<_> = faults.map(|fault| fault.cause.as_deref().unwrap_or(&fault.reason)).collect();
            if !reasons.is_empty() && member.unused.is_due() {
                let next = "the price comes from the other sources; the source is asked again with the next poll";
                warn!(source, reason = reasons.join("; "), next, "an answer of a source is not used");
            }
        }
    }
}

/// Returns the reason why a source gave no price.
fn error_of(answers: &[Answer]) -> Option<String> {
    if answers.iter().any(Answer::is_useful) {
        return None;
    }
    answers.iter().flat_map(|answer| &answer.errors).map(|error| error.reason.clone()).next()
}

impl Options {
    /// Aggregates the answers into one tick. `last` are the last prices that are still fresh.
    fn aggregate(
        &self,
        answers: Vec<(&'static str, Vec<Answer>)>,
        now: TickId,
        last: &BTreeMap<Currency, Price>,
    ) -> Poll {
        let mut poll = Poll { inputs: inputs::of(&answers), ..Poll::default() };
        let mut candidates: BTreeMap<Currency, Vec<(&'static str, Price)>> = BTreeMap::new();
        for (source, answers) in answers {
            for answer in answers {
                for seen in &answer.observations {
                    let moment = seen.time.or(seen.trade_time).unwrap_or(answer.fetched);
                    match (self.wrong_time(moment, now), inputs::value(seen)) {
                        (None, Some(price)) => candidates.entry(seen.currency).or_default().push((source, price)),
                        (None, None) => {}
                        (Some(reason), _) => poll.add_fault(source, seen.currency.into(), reason),
                    }
                }
                for SourceError { currencies, reason, cause, .. } in answer.errors {
                    poll.faults.push(SourceFault { source, currencies, reason, cause });
                }
            }
        }
        let mut tick = Tick::default();
        for (currency, candidates) in candidates {
            let Some(middle) = median(&candidates) else { continue };
            let (name, reference) = match last.get(&currency) {
                Some(last) if candidates.len() < 3 => ("last price", *last),
                _ => ("median", middle),
            };
            let (close, far): (Vec<_>, Vec<_>) =
                candidates.into_iter().partition(|(_, price)| reference.deviation(*price) <= self.max_deviation);
            for (source, price) in far {
                let reason = format!("{price} {currency} is too far from the {name} {reference}");
                poll.add_fault(source, currency.into(), reason);
            }
            if let Some(price) = median(&close) {
                tick.prices.insert(currency, price);
                tick.sources.insert(currency, close.iter().map(|(source, _)| (*source).to_owned()).collect());
            }
        }
        let faults = &poll.faults;
        inputs::judge(&mut poll.inputs, &tick, |source, currency| {
            let is_it = |fault: &&SourceFault| fault.source == source && fault.currencies.contains(currency);
            faults.iter().find(is_it).map(|fault| &*fault.reason)
        });
        poll.tick = Some(tick).filter(|tick| !tick.prices.is_empty());
        poll
    }

    /// Returns the reason to reject an observation if `time` is too far in the past or in the future.
    fn wrong_time(&self, time: TickId, now: TickId) -> Option<String> {
        if now.since(time) > self.max_age {
            Some(format!("the time of its price is {}, {} s ago", time.timedate(), now.since(time).as_secs()))
        } else if time.since(now) > self.max_age {
            Some(format!("the time of its price is {}, in the future", time.timedate()))
        } else {
            None
        }
    }
}

impl Poll {
    fn add_fault(&mut self, source: &'static str, currencies: Currencies, reason: String) {
        self.faults.push(SourceFault { source, currencies, reason, cause: None });
    }
}

/// Returns the median: the middle price, or the mean of the two middle prices.
fn median(candidates: &[(&'static str, Price)]) -> Option<Price> {
    let mut prices: Vec<_> = candidates.iter().map(|(_, price)| *price).collect();
    prices.sort_unstable();
    let upper = *prices.get(prices.len() / 2)?;
    Some(if prices.len() % 2 == 1 { upper } else { prices[prices.len() / 2 - 1].midpoint(upper) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Observation;

    const NOW: TickId = TickId::from_ms(1_795_166_431_075);

    fn options() -> Options {
        let max_deviation = Decimal::new(5, 2);
        let seconds = Duration::from_secs;
        Options { currencies: Currencies::USD_EUR, deadline: seconds(1), max_age: seconds(60), max_deviation }
    }

    fn answer(source: &'static str, price: &str, age_s: u64) -> (&'static str, Vec<Answer>) {
        let time = Some(NOW.minus(Duration::from_secs(age_s)));
        let (currency, last) = (Currency::Usd, price.parse().ok());
        let seen = Observation { currency, bid: None, ask: None, last, volume: None, time, trade_time: None };
        (source, vec![Answer::new(vec![seen], Vec::new(), Duration::ZERO)])
    }

    /// Returns the price in dollars and the faults.
    fn aggregated(answers: Vec<(&'static str, Vec<Answer>)>) -> (Option<String>, String) {
        aggregated_after(answers, &[])
    }

    /// Returns the price in dollars and the faults, if `last` are the last prices.
    fn aggregated_after(
        answers: Vec<(&'static str, Vec<Answer>)>,
        last: &[(Currency, Price)],
    ) -> (Option<String>, String) {
        let poll = options().aggregate(answers, NOW, &last.iter().copied().collect());
        let price = poll.tick.as_ref().map(|tick| tick.prices[&Currency::Usd].to_string());
        (price, poll.reason(Currencies::USD_EUR))
    }

    #[test]
    fn median_of_three_and_mean_of_two_is_the_price() {
        let three = vec![answer("a", "97120.5", 0), answer("b", "97100.10", 0), answer("c", "97110.25", 0)];
        assert_eq!(aggregated(three).0.unwrap(), "97110.25");
        assert_eq!(aggregated(vec![answer("a", "97120.5", 0), answer("b", "97100.10", 0)]).0.unwrap(), "97110.30");
    }

    #[test]
    fn outliers_and_old_answers_are_faults() {
        let (price, reason) = aggregated(vec![answer("a", "100", 0), answer("b", "101", 0), answer("c", "10", 0)]);
        assert_eq!(price.unwrap(), "100.50");
        assert_eq!(reason, "c: 10 USD is too far from the median 100");
        let (price, reason) = aggregated(vec![answer("a", "100", 61), answer("b", "101", 60)]);
        assert_eq!(price.unwrap(), "101");
        assert!(reason.starts_with("a: the time of its price is 2026-11-20T"), "{reason}");
    }

    #[test]
    fn two_contradicting_sources_give_no_price() {
        let (price, reason) = aggregated(vec![answer("a", "100", 0), answer("b", "200", 0)]);
        assert_eq!(price, None);
        assert!(reason.contains("a: 100 USD") && reason.contains("b: 200 USD"), "{reason}");
    }

    #[test]
    fn few_sources_must_be_close_to_the_last_price() {
        let last = [(Currency::Usd, "100".parse().unwrap())];
        let (price, reason) = aggregated_after(vec![answer("a", "10", 0)], &last);
        assert_eq!((price, reason.as_str()), (None, "a: 10 USD is too far from the last price 100"));
        assert_eq!(aggregated_after(vec![answer("a", "104", 0)], &last).0.unwrap(), "104");
        assert_eq!(aggregated_after(vec![answer("a", "101", 0), answer("b", "200", 0)], &last).0.unwrap(), "101");
        let three = vec![answer("a", "200", 0), answer("b", "201", 0), answer("c", "202", 0)];
        assert_eq!(aggregated_after(three, &last).0.unwrap(), "201", "three that agree need no reference");
    }

    #[test]
    fn inputs_say_how_each_answer_was_used() {
        let reason = "HTTP 503".to_owned();
        let failed = Answer::failed(SourceError::new(Currency::Eur.into(), reason), Duration::ZERO);
        let answers = vec![answer("a", "100", 0), answer("b", "101", 0), answer("c", "10", 0), ("d", vec![failed])];
        let inputs = options().aggregate(answers, NOW, &BTreeMap::new()).inputs;
        let used: Vec<_> = inputs.iter().map(|input| (input.source.as_str(), input.used)).collect();
        let price = |text: &str| text.parse().ok();
        assert_eq!(used, [("a", price("100")), ("b", price("101")), ("c", None), ("d", None)]);
        assert_eq!((inputs[2].value, inputs[0].time), (price("10"), Some(NOW)));
        let excluded = inputs.iter().map(|input| input.excluded.as_deref());
        let expected = [None, None, Some("10 USD is too far from the median 100"), Some("HTTP 503")];
        assert_eq!(excluded.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn tick_names_the_sources_of_each_price() {
        let answers = vec![answer("a", "100", 0), answer("b", "101", 0), answer("c", "10", 0)];
        let tick = options().aggregate(answers, NOW, &BTreeMap::new()).tick.unwrap();
        assert_eq!(tick.sources[&Currency::Usd], ["a", "b"]);
        assert!(!tick.prices.contains_key(&Currency::Eur));
    }
}
