//! Judges the feed's health: live, degraded, stale or down, with the reason.

use super::clock::{CLOCKS_AGREE, clock_is_wrong};
use super::options::Options;
use super::outbox::Outbox;
use super::term::LastPrice;
use crate::aggregate::Poll;
use crate::feed::{Feed, FeedState, Status};
use crate::tick::{Currencies, Currency, TickId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The feed's health. A new leader continues from the state that its predecessor left.
pub(super) struct HealthMonitor {
    state: FeedState,
    /// True if the newest status about clocks says that they contradict each other.
    is_clock_wrong: bool,
    currencies: Currencies,
    stale_after: Duration,
    down_after: Duration,
    /// The moment of each currency's last price. If the feed has none, it is the start of the term.
    last: BTreeMap<Currency, Instant>,
    /// The moment of each currency's last price from enough sources. At the start of a term, it is a copy of `last`, or
    /// long ago if the feed is degraded.
    checked: BTreeMap<Currency, Instant>,
    /// The newest description of each price that comes from few sources.
    thin: BTreeMap<Currency, String>,
}

impl HealthMonitor {
    pub(super) fn new(
        options: &Options,
        feed: &dyn Feed,
        outbox: &Outbox,
        last_prices: &BTreeMap<Currency, LastPrice>,
    ) -> HealthMonitor {
        let Options { currencies, stale_after, down_after, .. } = *options;
        let now = Instant::now();
        let last = |currency| (currency, last_prices.get(&currency).map_or(now, |last| last.at));
        let newest = |wanted: &dyn Fn(&Status) -> bool| {
            let written = || feed.newest(&|entry| entry.status().is_some_and(wanted));
            outbox.newest_status(wanted).or_else(|| written()?.status().cloned())
        };
        let state = newest(&|_| true).map_or(FeedState::Live, |status| status.state);
        let about_clocks = newest(&|status| clock_is_wrong(&status.reason).is_some());
        let last: BTreeMap<_, _> = currencies.iter().map(last).collect();
        // A degraded feed stays degraded until a price in each currency comes from enough sources.
        let long_ago = now.checked_sub(stale_after + Duration::from_millis(1)).unwrap_or(now);
        let is_degraded = state == FeedState::Degraded;
        let all = if is_degraded { currencies } else { Currencies::NONE };
        let thin = all.iter().map(|currency| (currency, format!("{currency} from few sources"))).collect();
        let checked = last.iter().map(|(currency, at)| (*currency, if is_degraded { long_ago } else { *at })).collect();
        HealthMonitor {
            state,
            // If the clocks agree again, the first poll reports that.
            is_clock_wrong: about_clocks.and_then(|status| clock_is_wrong(&status.reason)).unwrap_or(false),
            currencies,
            stale_after,
            down_after,
            checked,
            last,
            thin,
        }
    }

    /// Returns true if the feed is down.
    pub(super) fn is_down(&self) -> bool {
        self.state == FeedState::Down
    }

    /// Returns a status if the clocks begin or cease to contradict each other. The state of the prices stays the same.
    pub(super) fn clock_status(&mut self, fault: Option<String>, now: TickId) -> Option<Status> {
        if self.is_clock_wrong == fault.is_some() {
            return None;
        }
        self.is_clock_wrong = fault.is_some();
        Some(Status { state: self.state, since: now, reason: fault.unwrap_or_else(|| CLOCKS_AGREE.to_owned()) })
    }

    /// Updates the health with the result of a poll. Returns the new status if the state changes. `time` is the time of
    /// the feed.
    pub(super) fn update(&mut self, poll: &Poll, now: Instant, time: TickId) -> Option<Status> {
        for currency in poll.tick.iter().flat_map(|tick| tick.prices.keys()) {
            self.last.insert(*currency, now);
            if let Some(text) = poll.thin.get(currency) {
                self.thin.insert(*currency, text.clone());
            } else {
                self.thin.remove(currency);
                self.checked.insert(*currency, now);
            }
        }
        let late = |moments: &BTreeMap<Currency, Instant>, bound: Duration| -> Currencies {
            let late = moments.iter().filter(|(_, at)| now.saturating_duration_since(**at) > bound);
            late.map(|(currency, _)| *currency).collect()
        };
        let (stale, down) = (late(&self.last, self.stale_after), late(&self.last, self.down_after));
        let thin: Currencies = self.thin.keys().copied().collect();
        let degraded = late(&self.checked, self.stale_after).and(thin);
        let state = if stale.is_empty() && degraded.is_empty() {
            FeedState::Live
        } else if stale.is_empty() {
            FeedState::Degraded
        } else if down == self.currencies {
            FeedState::Down
        } else {
            FeedState::Stale
        };
        // Only a price improves the state. A new leader must not report the feed as live before it has one.
        if state == self.state || state < self.state && poll.tick.is_none() {
            return None;
        }
        let (moments, affected) =
            if state == FeedState::Degraded { (&self.checked, degraded) } else { (&self.last, stale) };
        let oldest = moments.iter().filter(|(currency, _)| affected.contains(**currency)).map(|(_, at)| *at).min();
        let since = time.minus(oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)));
        let reason = match state {
            FeedState::Live if self.state == FeedState::Degraded => "prices come from enough sources again".to_owned(),
            FeedState::Live => "prices are back".to_owned(),
            FeedState::Degraded => {
                let texts = self.thin.iter().filter(|(currency, _)| degraded.contains(**currency));
                texts.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ")
            }
            FeedState::Stale | FeedState::Down => {
                format!("no price in {}: {}", stale.joined("and"), poll.reason(stale))
            }
        };
        self.state = state;
        Some(Status { state, since, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{EmptyFeed, Event};
    use crate::store::Record;
    use crate::tick::Tick;

    const TIME: TickId = TickId::from_ms(1_795_166_431_075);

    fn health(now: Instant) -> HealthMonitor {
        let last = BTreeMap::from([Currency::Usd, Currency::Eur].map(|currency| (currency, now)));
        let (checked, thin) = (last.clone(), BTreeMap::new());
        let (stale_after, down_after) = (Duration::from_secs(15), Duration::from_secs(60));
        HealthMonitor {
            state: FeedState::Live,
            is_clock_wrong: false,
            currencies: Currencies::USD_EUR,
            stale_after,
            down_after,
            last,
            checked,
            thin,
        }
    }

    fn prices(currencies: &[Currency]) -> Poll {
        let prices = currencies.iter().map(|currency| (*currency, "1".parse().unwrap())).collect();
        Poll { tick: Some(Tick { prices, ..Tick::default() }), ..Poll::default() }
    }

    #[test]
    fn silence_leads_to_stale_then_down() {
        let now = Instant::now();
        let mut health = health(now);
        let mut update = |after_s, poll: &Poll| {
            let status = health.update(poll, now + Duration::from_secs(after_s), TIME);
            status.map(|status| (status.state, status.reason))
        };
        assert_eq!(update(15, &Poll::default()), None);
        let (state, reason) = update(16, &Poll::default()).unwrap();
        assert_eq!((state, reason.as_str()), (FeedState::Stale, "no price in USD and EUR: no source was asked"));
        assert_eq!(update(60, &Poll::default()), None);
        assert_eq!(update(61, &Poll::default()).unwrap().0, FeedState::Down);
        assert_eq!(
            update(70, &prices(&[Currency::Usd, Currency::Eur])),
            Some((FeedState::Live, "prices are back".into()))
        );
    }

    fn options() -> Options {
        Options {
            replica: "r1".to_owned(),
            interval: Duration::from_secs(5),
            currencies: Currencies::USD_EUR,
            lease_ttl: Duration::from_secs(3),
            stale_after: Duration::from_secs(15),
            down_after: Duration::from_secs(60),
        }
    }

    #[test]
    fn new_leader_ends_the_status_about_clocks() {
        let options = options();
        let outbox = Outbox::new(options.interval);
        let left = |reason: &str| {
            let status = Status { state: FeedState::Live, since: TickId::ZERO, reason: reason.to_owned() };
            outbox.push(Record::now(Event::Status(status)));
            let mut health = HealthMonitor::new(&options, &EmptyFeed, &outbox, &BTreeMap::new());
            health.clock_status(None, TickId::ZERO).map(|status| (status.state, status.reason))
        };
        assert_eq!(left("prices are back"), None);
        let live = Some((FeedState::Live, CLOCKS_AGREE.to_owned()));
        assert_eq!(left("the clock of the store is 2h ahead of the time of the feed"), live);
        assert_eq!(left("the feed is 2h ahead of the time, so it runs at half speed until its time is right"), live);
        assert_eq!(left("no price in USD: no source was asked"), live, "it is not about clocks");
        assert_eq!(left(CLOCKS_AGREE), None);
    }

    #[test]
    fn new_leader_of_a_degraded_feed_knows_it() {
        let (options, now) = (options(), Instant::now());
        let outbox = Outbox::new(options.interval);
        let status = Status { state: FeedState::Degraded, since: TickId::ZERO, reason: String::new() };
        outbox.push(Record::now(Event::Status(status)));
        let last = |currency| (currency, LastPrice { id: TIME, at: now });
        let last = options.currencies.iter().map(last).collect();
        let mut health = HealthMonitor::new(&options, &EmptyFeed, &outbox, &last);
        let few =
            Poll { thin: [(Currency::Eur, "EUR from 1 of 3 sources (a)".to_owned())].into(), ..prices(&Currency::ALL) };
        assert_eq!(health.update(&few, now + Duration::from_secs(1), TIME), None);
        let other = prices(&[Currency::Usd]);
        assert_eq!(health.update(&other, now + Duration::from_secs(2), TIME), None, "euros came from few sources");
        let enough = health.update(&prices(&Currency::ALL), now + Duration::from_secs(6), TIME);
        assert_eq!(enough.map(|status| status.state), Some(FeedState::Live));
    }

    #[test]
    fn only_a_price_ends_an_outage() {
        let now = Instant::now();
        let mut health = HealthMonitor { state: FeedState::Down, ..health(now) };
        assert_eq!(health.update(&Poll::default(), now, TIME), None);
        assert_eq!(health.update(&prices(&[Currency::Usd, Currency::Eur]), now, TIME).unwrap().state, FeedState::Live);
    }

    #[test]
    fn one_silent_currency_is_stale_never_down() {
        let now = Instant::now();
        let mut health = health(now);
        let mut update = |after_s| health.update(&prices(&[Currency::Usd]), now + Duration::from_secs(after_s), TIME);
        assert_eq!(update(10), None);
        let status = update(20).unwrap();
        // The last price in EUR came 20 s ago, by the time of the feed.
        assert_eq!((status.state, status.since), (FeedState::Stale, TIME.minus(Duration::from_secs(20))));
        assert!(status.reason.starts_with("no price in EUR:"), "{}", status.reason);
        assert_eq!(update(100), None);
    }

    #[test]
    fn few_sources_for_a_while_are_degraded() {
        let now = Instant::now();
        let mut health = health(now);
        let few = || Poll {
            thin: [(Currency::Eur, "EUR from 1 of 3 sources (a)".to_owned())].into(),
            ..prices(&Currency::ALL)
        };
        let mut update = |after_s, poll: &Poll| {
            let status = health.update(poll, now + Duration::from_secs(after_s), TIME);
            status.map(|status| (status.state, status.reason))
        };
        assert_eq!(update(15, &few()), None);
        let degraded = Some((FeedState::Degraded, "EUR from 1 of 3 sources (a)".to_owned()));
        assert_eq!(update(16, &few()), degraded);
        assert_eq!(update(17, &few()), None);
        assert_eq!(update(33, &Poll::default()).unwrap().0, FeedState::Stale);
        assert_eq!(update(34, &few()), degraded, "prices are back, but from few sources");
        let live = Some((FeedState::Live, "prices come from enough sources again".to_owned()));
        assert_eq!(update(35, &prices(&Currency::ALL)), live);
    }
}
