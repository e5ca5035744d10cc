//! Aggregates the observations of all sources into one price for each currency, and tracks the health of the sources.
//!
//! A poll asks all sources at once, except those whose circuit breaker is open. If too few sources of a currency would
//! be asked, the poll also asks the other sources of this currency, except those that asked for a pause. `method` makes
//! a price of the answers, and `prices.rs` keeps what the method remembers from poll to poll.
//!
//! Without enough sources that agree there is no price: a price is never invented.

mod breaker;
mod method;
mod poll;
mod prices;

pub use method::{Combined, Rules, VERSION, replay};
pub(crate) use method::{FROZEN, OUTLIER, was_compared};
pub use poll::{Poll, SourceFault};

use crate::feed::{EntryAudit, Feed};
use crate::source::{Answer, Source, SourceError};
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::{SOURCE_ERRORS, SOURCE_RESTING, SOURCE_SECONDS, SOURCE_UP};
use crate::telemetry::traces::Stopwatch;
use crate::tick::{Currencies, Currency, TickId};
use breaker::CircuitBreaker;
use futures_util::future::join_all;
use prices::PriceMaker;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// The first words of the error of a source that was not asked because its circuit breaker is open.
pub(crate) const PAUSED: &str = "paused for ";
/// The divisor of the deadline for a source that is asked although its circuit breaker is open. Such a source may hang,
/// and must not delay each tick by the whole deadline.
const PROBE: u32 = 4;

/// The options of an aggregator.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The currencies to request.
    pub currencies: Currencies,
    /// The time in which a source must answer.
    pub deadline: Duration,
    /// The settings of the method.
    pub rules: Rules,
}

/// The sources and their health.
pub struct Aggregator {
    members: Vec<Member>,
    options: Options,
    prices: PriceMaker,
}

struct Member {
    source: Box<dyn Source>,
    breaker: CircuitBreaker,
    /// Limits the log lines about single answers that are not used. If all answers fail, the breaker logs it.
    unused: FaultLog,
}

impl Aggregator {
    /// An aggregator of `sources`, whose circuit breakers are closed.
    pub fn new(sources: Vec<Box<dyn Source>>, options: Options) -> Aggregator {
        for source in &sources {
            for metric in [SOURCE_SECONDS, SOURCE_ERRORS, SOURCE_UP, SOURCE_RESTING] {
                metric.register_series(source.name());
            }
        }
        let currencies: Vec<_> = sources.iter().map(|source| source.currencies()).collect();
        let prices = PriceMaker::new(options.currencies, &currencies, options.rules);
        let member = |source| Member { source, breaker: CircuitBreaker::default(), unused: FaultLog::default() };
        let members = sources.into_iter().map(member).collect();
        Aggregator { members, options, prices }
    }

    /// Continues where the last leader stopped. Learns the prices of the hour before `now` from `feed`. `audits` are
    /// those of the newest ticks, and show which sources were outliers or frozen. Call it before the first poll of a
    /// term.
    pub fn resume(&mut self, feed: &dyn Feed, audits: &[EntryAudit], now: TickId) {
        self.prices.resume(feed, audits, now);
    }

    /// Polls the sources once. The poll begins at `now`, by the clock with which the times of sources are compared.
    pub async fn poll(&mut self, now: TickId) -> Poll {
        let (begin, now) = (now, Instant::now());
        let Options { currencies, deadline, .. } = self.options;
        let watch = Stopwatch::start();
        let short = self.short_of_sources(now);
        let polls = self.members.iter_mut().map(async |member| {
            let own = currencies.and(member.source.currencies());
            let is_needed = !own.and(short).is_empty();
            if member.breaker.is_banned(now) || !is_needed && member.breaker.is_open(now) {
                let seconds = member.breaker.time_left(now).as_secs().max(1);
                let reason = format!("{PAUSED}{seconds} s");
                let resting = Answer::failed(SourceError::new(own, reason), Duration::ZERO);
                return (member, if own.is_empty() { Vec::new() } else { vec![resting] }, None);
            }
            let deadline = if member.breaker.is_open(now) { deadline / PROBE } else { deadline };
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
        let times: Vec<_> =
            answers.iter().filter_map(|(_, answers)| answers.iter().filter_map(time_of).max()).collect();
        let mut poll = self.prices.aggregate(answers, begin.plus(now.elapsed()));
        self.log_unused(&poll, &answered);
        poll.times = times;
        poll.trace = watch.stop("poll").map(|step| step.with_steps(steps));
        poll
    }

    /// Returns the currencies with too few sources whose circuit breakers are closed: fewer than the minimum for a
    /// price, or fewer than two, which are needed to check each other. For these currencies, open circuit breakers are
    /// ignored, except those of sources that asked for a pause.
    fn short_of_sources(&self, now: Instant) -> Currencies {
        let needed = self.options.rules.min_sources.max(2);
        let asked = self.members.iter().filter(|member| !member.breaker.is_open(now));
        let asked: Vec<_> = asked.map(|member| member.source.currencies()).collect();
        let is_short = |currency: &Currency| asked.iter().filter(|of| of.contains(*currency)).count() < needed;
        self.options.currencies.iter().filter(is_short).collect()
    }

    /// Logs the unused answers of sources that also gave useful ones, at most once a minute for each source.
    fn log_unused(&mut self, poll: &Poll, answered: &[&'static str]) {
        for member in self.members.iter_mut().filter(|member| answered.contains(&member.source.name())) {
            let source = member.source.name();
            let faults = poll.faults.iter().filter(|fault| fault.source == source);
            let reasons: Vec<_> = faults.map(|fault| fault.cause.as_deref().unwrap_or(&fault.reason)).collect();
            if !reasons.is_empty() && member.unused.is_due() {
                let next = "the other sources make the price, if enough are left; this one is asked again";
                warn!(source, reason = reasons.join("; "), next, "an answer of a source is not used");
            }
        }
    }
}

/// Returns the time at which a source gave a new answer, by its own clock.
fn time_of(answer: &Answer) -> Option<TickId> {
    let seen = answer.observations.iter().filter_map(|seen| seen.time).max();
    answer.sent.or(seen).filter(|_| !answer.is_repeated)
}

/// Returns the reason why a source gave no price.
fn error_of(answers: &[Answer]) -> Option<String> {
    if answers.iter().any(Answer::is_useful) {
        return None;
    }
    answers.iter().flat_map(|answer| &answer.errors).map(|error| error.reason.clone()).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Observation;
    use async_trait::async_trait;
    use rust_decimal::Decimal;
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    /// The sources that fail, and those that were asked, with their deadlines.
    type Market = Arc<Mutex<(BTreeSet<&'static str>, Vec<(&'static str, Duration)>)>>;

    struct Scripted {
        name: &'static str,
        currencies: Currencies,
        market: Market,
    }

    #[async_trait]
    impl Source for Scripted {
        fn name(&self) -> &'static str {
            self.name
        }

        fn currencies(&self) -> Currencies {
            self.currencies
        }

        async fn observe(&self, currencies: Currencies, deadline: Duration) -> Vec<Answer> {
            let mut market = self.market.lock().unwrap();
            market.1.push((self.name, deadline));
            let own = currencies.and(self.currencies);
            if market.0.contains(self.name) {
                return vec![Answer::failed(SourceError::new(own, "HTTP 500".to_owned()), Duration::ZERO)];
            }
            let seen = |currency| {
                let last = "100".parse().ok();
                Observation { currency, bid: None, ask: None, last, volume: None, time: None, trade_time: None }
            };
            vec![Answer::new(own.iter().map(seen).collect(), vec![], Duration::ZERO)]
        }
    }

    fn aggregator(market: &Market, sources: &[(&'static str, &[Currency])]) -> Aggregator {
        let source = |(name, currencies): &(&'static str, &[Currency])| -> Box<dyn Source> {
            let (currencies, market) = (Currencies::of(currencies), market.clone());
            Box::new(Scripted { name, currencies, market })
        };
        let (outlier_share, clamp_share) = (Decimal::new(1, 2), Decimal::new(5, 3));
        let (interval, max_age) = (Duration::from_secs(5), Duration::from_secs(60));
        let rules = Rules { interval, max_age, outlier_share, clamp_share, min_sources: 2, frozen_polls: 24 };
        let options = Options { currencies: Currencies::all(), deadline: Duration::from_secs(3), rules };
        Aggregator::new(sources.iter().map(source).collect(), options)
    }

    #[tokio::test]
    async fn breakers_are_ignored_by_currency() {
        let market = Market::default();
        let (all, pounds) = (&[Currency::Usd, Currency::Aud][..], &[Currency::Gbp][..]);
        let sources = [("a", all), ("b", &all[..1]), ("c", &all[..1]), ("d", &all[1..]), ("e", pounds)];
        let mut aggregator = aggregator(&market, &sources);
        for failing in ["b", "d", "e"] {
            market.lock().unwrap().0.insert(failing);
        }
        for _ in 0..4 {
            aggregator.poll(TickId::now()).await;
        }
        market.lock().unwrap().1.clear();
        market.lock().unwrap().0.clear();
        let poll = aggregator.poll(TickId::now()).await;
        // Two sources are left in dollars, so only `b` rests. A source whose breaker is open must not delay the tick
        // for long.
        let (whole, short) = (Duration::from_secs(3), Duration::from_millis(750));
        assert_eq!(market.lock().unwrap().1, [("a", whole), ("c", whole), ("d", short), ("e", short)]);
        assert_eq!(poll.tick.unwrap().currencies(), all.iter().copied().chain([Currency::Gbp]).collect());
    }
}
