//! Judges the feed's health: live, stale or down, and why.

use super::outbox::Outbox;
use super::{LastPrice, Options};
use crate::feed::{Feed, State, Status};
use crate::quorum::Poll;
use crate::text::listed;
use crate::tick::{Currencies, Currency, TickId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The feed's health as the leader knows it, carried on from the leader before.
pub(super) struct Health {
    state: State,
    currencies: Currencies,
    stale_after: Duration,
    down_after: Duration,
    /// When each currency last had a price; one that never had any counts from when this replica began to lead.
    last: BTreeMap<Currency, Instant>,
}

impl Health {
    pub(super) fn new(
        options: &Options,
        feed: &dyn Feed,
        outbox: &Outbox,
        last_prices: &BTreeMap<Currency, LastPrice>,
    ) -> Health {
        let Options { currencies, stale_after, down_after, .. } = *options;
        let now = Instant::now();
        let last = |currency| (currency, last_prices.get(&currency).map_or(now, |last| last.at));
        let told = || feed.newest(&|entry| entry.status().is_some()).and_then(|entry| entry.status().cloned());
        let state = outbox.last_status().or_else(told).map_or(State::Live, |status| status.state);
        Health { state, currencies, stale_after, down_after, last: currencies.iter().map(last).collect() }
    }

    /// Whether no currency has had a price for a long while.
    pub(super) fn is_down(&self) -> bool {
        self.state == State::Down
    }

    /// Takes a poll in, and returns the status that it changes to, if it does.
    pub(super) fn judge(&mut self, poll: &Poll, now: Instant) -> Option<Status> {
        for currency in poll.tick.iter().flat_map(|tick| tick.prices.keys()) {
            self.last.insert(*currency, now);
        }
        let silent = |bound: Duration| -> Currencies {
            let late = self.last.iter().filter(|(_, at)| now.saturating_duration_since(**at) > bound);
            late.map(|(currency, _)| *currency).collect()
        };
        let (stale, down) = (silent(self.stale_after), silent(self.down_after));
        let state = if stale.is_empty() {
            State::Live
        } else if down == self.currencies {
            State::Down
        } else {
            State::Stale
        };
        // Only a price makes the feed better, not a new leader that does not know of any.
        if state == self.state || state < self.state && poll.tick.is_none() {
            return None;
        }
        self.state = state;
        let oldest = self.last.iter().filter(|(currency, _)| stale.contains(**currency)).map(|(_, at)| *at).min();
        let since = TickId::now().minus(oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)));
        let reason = match state {
            State::Live => "prices are back".to_owned(),
            _ => format!(
                "no price in {}: {}",
                listed(&stale.iter().map(Currency::code).collect::<Vec<_>>(), "and"),
                poll.reason(stale)
            ),
        };
        Some(Status { state, since, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Tick;

    fn health(now: Instant) -> Health {
        let last = Currency::ALL.map(|currency| (currency, now)).into();
        let (stale_after, down_after) = (Duration::from_secs(15), Duration::from_secs(60));
        Health { state: State::Live, currencies: Currencies::all(), stale_after, down_after, last }
    }

    fn prices(currencies: &[Currency]) -> Poll {
        let prices = currencies.iter().map(|currency| (*currency, "1".parse().unwrap())).collect();
        Poll { tick: Some(Tick { prices, sources: BTreeMap::new() }), problems: vec![] }
    }

    #[test]
    fn silence_makes_the_feed_stale_then_down_and_a_price_live_again() {
        let now = Instant::now();
        let mut health = health(now);
        let mut judge = |after_s, poll: &Poll| {
            let status = health.judge(poll, now + Duration::from_secs(after_s));
            status.map(|status| (status.state, status.reason))
        };
        assert_eq!(judge(15, &Poll::default()), None);
        let (state, reason) = judge(16, &Poll::default()).unwrap();
        assert_eq!((state, reason.as_str()), (State::Stale, "no price in USD and EUR: no source was asked"));
        assert_eq!(judge(60, &Poll::default()), None);
        assert_eq!(judge(61, &Poll::default()).unwrap().0, State::Down);
        assert_eq!(judge(70, &prices(&Currency::ALL)), Some((State::Live, "prices are back".into())));
    }

    #[test]
    fn a_leader_that_knows_of_no_price_does_not_say_that_prices_are_back() {
        let now = Instant::now();
        let mut health = Health { state: State::Down, ..health(now) };
        assert_eq!(health.judge(&Poll::default(), now), None);
        assert_eq!(health.judge(&prices(&Currency::ALL), now).unwrap().state, State::Live);
    }

    #[test]
    fn one_silent_currency_makes_the_feed_stale_and_never_down() {
        let now = Instant::now();
        let mut health = health(now);
        let mut judge = |after_s| health.judge(&prices(&[Currency::Usd]), now + Duration::from_secs(after_s));
        assert_eq!(judge(10), None);
        let status = judge(20).unwrap();
        assert_eq!(status.state, State::Stale);
        assert!(status.reason.starts_with("no price in EUR:"), "{}", status.reason);
        assert_eq!(judge(100), None);
    }
}
