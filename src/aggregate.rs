//! Many observations make one price a currency, and tell which sources are healthy.
//!
//! One poll asks every source that is not resting, all at once, and takes the median of the answers that are valid: above
//! zero, not too old, and within a bound of the others; where fewer than three answer, within a bound of the last price
//! while that is fresh. Where no valid answer is left there is no price: a price is never invented, and of two that
//! contradict each other, with no last price to tell, neither is believed.

mod breaker;

use crate::source::{Answer, Failure, Observation, Source};
use crate::tick::{Currencies, Currency, Price, Tick, TickId};
use breaker::Breaker;
use futures_util::future::join_all;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How to poll, and which answers count.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The currencies to ask for.
    pub currencies: Currencies,
    /// How long a source may take.
    pub deadline: Duration,
    /// How old an answer may be by its own time, where it gives one; also how far ahead of our clock.
    pub max_age: Duration,
    /// How far an answer may be from the median of all, as a share of it.
    pub max_deviation: Decimal,
}

/// The sources, and what is known of their health.
pub struct Aggregator {
    members: Vec<Member>,
    options: Options,
    /// The last price that was agreed on, and when.
    last: BTreeMap<Currency, (Price, Instant)>,
}

struct Member {
    source: Box<dyn Source>,
    breaker: Breaker,
}

/// What one poll came to.
#[derive(Debug, Default)]
pub struct Poll {
    /// The prices that could be agreed on, if any.
    pub tick: Option<Tick>,
    /// What was wrong with the sources that did not help.
    pub problems: Vec<Problem>,
}

/// Why a source did not contribute a price in some currencies.
#[derive(Debug)]
pub struct Problem {
    /// The source.
    pub source: &'static str,
    /// The currencies.
    pub currencies: Currencies,
    /// Why.
    pub reason: String,
}

impl Poll {
    /// Why there is no price in `currencies`, in a line.
    pub fn reason(&self, currencies: Currencies) -> String {
        let concerned = self.problems.iter().filter(|problem| !problem.currencies.and(currencies).is_empty());
        let mut reasons: Vec<_> = concerned.map(|problem| format!("{}: {}", problem.source, problem.reason)).collect();
        // A source that is asked for each currency by itself may say the same twice.
        reasons.dedup();
        if reasons.is_empty() { "no source was asked".to_owned() } else { reasons.join("; ") }
    }
}

impl Aggregator {
    /// A quorum of `sources`, all of them trusted until they fail.
    pub fn new(sources: Vec<Box<dyn Source>>, options: Options) -> Aggregator {
        let members = sources.into_iter().map(|source| Member { source, breaker: Breaker::default() }).collect();
        Aggregator { members, options, last: BTreeMap::new() }
    }

    /// Asks once.
    pub async fn poll(&mut self) -> Poll {
        let Options { currencies, deadline, .. } = self.options;
        let now = Instant::now();
        // Two sources at least keep each other honest. With fewer awake those that rest are tried all the same, and only a
        // source that asked to be left alone is.
        let few = self.members.iter().filter(|member| !member.breaker.rests(now)).count() < 2;
        let asked = self.members.iter_mut().map(async |member| {
            if member.breaker.banned(now) || !few && member.breaker.rests(now) {
                let reason = format!("resting for {} s after failures", member.breaker.rest_left(now).as_secs().max(1));
                return (member, vec![Err(Failure { currencies, reason, retry_after: None })]);
            }
            let answers = member.source.observe(currencies, deadline).await;
            member.breaker.learn(member.source.name(), now, &answers);
            (member, answers)
        });
        let answered = join_all(asked).await;
        if now.elapsed() > deadline * 2 {
            // This process was paused meanwhile: what it found when it woke is as old as that.
            let mut poll = Poll::default();
            poll.problem("all sources", currencies, "the answers were not read in time".to_owned());
            return poll;
        }
        let answers = answered.into_iter().map(|(member, answers)| (member.source.name(), answers)).collect();
        self.last.retain(|_, (_, at)| now.saturating_duration_since(*at) <= self.options.max_age);
        let last = self.last.iter().map(|(currency, (price, _))| (*currency, *price)).collect();
        let poll = self.options.agree(answers, TickId::now(), &last);
        for (currency, price) in poll.tick.iter().flat_map(|tick| &tick.prices) {
            self.last.insert(*currency, (*price, now));
        }
        poll
    }
}

impl Options {
    /// Makes one tick of what the sources said. `last` are the last prices, as far as they are fresh.
    fn agree(&self, answers: Vec<(&'static str, Vec<Answer>)>, now: TickId, last: &BTreeMap<Currency, Price>) -> Poll {
        let mut poll = Poll::default();
        let mut candidates: BTreeMap<Currency, Vec<(&'static str, Price)>> = BTreeMap::new();
        for (source, answers) in answers {
            for answer in answers {
                match answer {
                    Ok(observations) => {
                        for seen in observations {
                            match self.too_old(&seen, now) {
                                None => candidates.entry(seen.currency).or_default().push((source, seen.price)),
                                Some(reason) => poll.problem(source, seen.currency.into(), reason),
                            }
                        }
                    }
                    Err(failure) => poll.problem(source, failure.currencies, failure.reason),
                }
            }
        }
        let mut tick = Tick { prices: BTreeMap::new(), sources: BTreeMap::new() };
        for (currency, candidates) in candidates {
            let Some(all) = median(&candidates) else { continue };
            let (what, measure) = match last.get(&currency) {
                Some(last) if candidates.len() < 3 => ("last price", *last),
                _ => ("median", all),
            };
            let (close, far): (Vec<_>, Vec<_>) =
                candidates.into_iter().partition(|(_, price)| measure.deviation(*price) <= self.max_deviation);
            for (source, price) in far {
                poll.problem(
                    source,
                    currency.into(),
                    format!("{price} {currency} is too far from the {what} {measure}"),
                );
            }
            if let Some(price) = median(&close) {
                tick.prices.insert(currency, price);
                tick.sources.insert(currency, close.iter().map(|(source, _)| (*source).to_owned()).collect());
            }
        }
        poll.tick = Some(tick).filter(|tick| !tick.prices.is_empty());
        poll
    }

    fn too_old(&self, seen: &Observation, now: TickId) -> Option<String> {
        let time = seen.time?;
        if now.since(time) > self.max_age {
            Some(format!("its price is of {}, {} s ago", time.timedate(), now.since(time).as_secs()))
        } else if time.since(now) > self.max_age {
            Some(format!("its price is of {}, which is not yet", time.timedate()))
        } else {
            None
        }
    }
}

impl Poll {
    fn problem(&mut self, source: &'static str, currencies: Currencies, reason: String) {
        self.problems.push(Problem { source, currencies, reason });
    }
}

/// The middle price, or the point half way between the two middle ones.
fn median(candidates: &[(&'static str, Price)]) -> Option<Price> {
    let mut prices: Vec<_> = candidates.iter().map(|(_, price)| *price).collect();
    prices.sort_unstable();
    let upper = *prices.get(prices.len() / 2)?;
    Some(if prices.len() % 2 == 1 { upper } else { prices[prices.len() / 2 - 1].midpoint(upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TickId = TickId::from_ms(1_795_166_431_075);

    fn options() -> Options {
        let max_deviation = Decimal::new(5, 2);
        let seconds = Duration::from_secs;
        Options { currencies: Currencies::all(), deadline: seconds(1), max_age: seconds(60), max_deviation }
    }

    fn says(source: &'static str, price: &str, age_s: u64) -> (&'static str, Vec<Answer>) {
        let time = Some(NOW.minus(Duration::from_secs(age_s)));
        (source, vec![Ok(vec![Observation { currency: Currency::Usd, price: price.parse().unwrap(), time }])])
    }

    fn agreed(answers: Vec<(&'static str, Vec<Answer>)>) -> (Option<String>, String) {
        agreed_after(answers, &[])
    }

    /// What is agreed on where these were the last prices.
    fn agreed_after(answers: Vec<(&'static str, Vec<Answer>)>, last: &[(Currency, Price)]) -> (Option<String>, String) {
        let poll = options().agree(answers, NOW, &last.iter().copied().collect());
        let price = poll.tick.as_ref().map(|tick| tick.prices[&Currency::Usd].to_string());
        (price, poll.reason(Currencies::all()))
    }

    #[test]
    fn of_three_the_middle_one_is_the_price_and_of_two_the_point_between() {
        let three = vec![says("a", "97120.5", 0), says("b", "97100.10", 0), says("c", "97110.25", 0)];
        assert_eq!(agreed(three).0.unwrap(), "97110.25");
        assert_eq!(agreed(vec![says("a", "97120.5", 0), says("b", "97100.10", 0)]).0.unwrap(), "97110.30");
    }

    #[test]
    fn an_outlier_or_an_old_answer_does_not_count_and_is_named() {
        let (price, reason) = agreed(vec![says("a", "100", 0), says("b", "101", 0), says("c", "10", 0)]);
        assert_eq!(price.unwrap(), "100.50");
        assert_eq!(reason, "c: 10 USD is too far from the median 100");
        let (price, reason) = agreed(vec![says("a", "100", 61), says("b", "101", 60)]);
        assert_eq!(price.unwrap(), "101");
        assert!(reason.starts_with("a: its price is of 2026-11-20T"), "{reason}");
    }

    #[test]
    fn of_two_that_contradict_each_other_neither_is_believed() {
        let (price, reason) = agreed(vec![says("a", "100", 0), says("b", "200", 0)]);
        assert_eq!(price, None);
        assert!(reason.contains("a: 100 USD") && reason.contains("b: 200 USD"), "{reason}");
    }

    #[test]
    fn one_or_two_are_believed_only_near_the_last_price_while_that_is_fresh() {
        let last = [(Currency::Usd, "100".parse().unwrap())];
        let (price, reason) = agreed_after(vec![says("a", "10", 0)], &last);
        assert_eq!((price, reason.as_str()), (None, "a: 10 USD is too far from the last price 100"));
        assert_eq!(agreed_after(vec![says("a", "104", 0)], &last).0.unwrap(), "104");
        assert_eq!(agreed_after(vec![says("a", "101", 0), says("b", "200", 0)], &last).0.unwrap(), "101");
        let three = vec![says("a", "200", 0), says("b", "201", 0), says("c", "202", 0)];
        assert_eq!(agreed_after(three, &last).0.unwrap(), "201", "three that agree need no witness");
    }

    #[test]
    fn a_tick_names_the_sources_of_each_price() {
        let answers = vec![says("a", "100", 0), says("b", "101", 0), says("c", "10", 0)];
        let tick = options().agree(answers, NOW, &BTreeMap::new()).tick.unwrap();
        assert_eq!(tick.sources[&Currency::Usd], ["a", "b"]);
        assert!(!tick.prices.contains_key(&Currency::Eur));
    }
}
