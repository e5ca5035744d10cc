//! Aggregates the observations of all sources into one price for each currency, and tracks the health of the sources.
//!
//! A poll asks all sources at once, except those whose circuit breaker is open. `method` makes a price of what they
//! say, and `prices.rs` keeps what the method remembers from poll to poll.
//!
//! Without enough sources that agree there is no price: a price is never invented.

mod breaker;
mod method;
mod poll;
mod prices;

pub use method::{Combined, Rules, VERSION, replay};
pub(crate) use method::{FROZEN, OUTLIER};
pub use poll::{Poll, SourceFault};

use crate::feed::Feed;
use crate::source::{Answer, Source, SourceError};
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::{SOURCE_ERRORS, SOURCE_RESTING, SOURCE_SECONDS, SOURCE_UP};
use crate::telemetry::traces::Stopwatch;
use crate::tick::{Currencies, TickId};
use breaker::CircuitBreaker;
use futures_util::future::join_all;
use prices::PriceMaker;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// The beginning of the reason why a source that rests has no answer.
pub(crate) const PAUSED: &str = "paused for ";

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

    /// Learns the newest prices of `feed`, which may be of another leader, before the first poll of a term.
    pub fn resume(&mut self, feed: &dyn Feed) {
        self.prices.resume(feed, TickId::now());
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
                let reason = format!("{PAUSED}{seconds} s");
                let own = currencies.and(member.source.currencies());
                let resting = Answer::failed(SourceError::new(own, reason), Duration::ZERO);
                return (member, if own.is_empty() { Vec::new() } else { vec![resting] }, None);
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
        let mut poll = self.prices.aggregate(answers, TickId::now());
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
