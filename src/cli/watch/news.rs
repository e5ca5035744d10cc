//! What happens besides prices, in plain words: each thing once, however often it is tried.

use crate::cli::words::{brief, clock, plain};
use crate::client::{Connected, Gap, GapReason, Tick, Update};
use crate::feed::FeedState;
use crate::source;
use crate::text::join_list;
use crate::tick::{Currency, TickId};
use std::collections::VecDeque;
use tokio::time::Instant;

/// The most reasons that are remembered: a server may make up a new one each time.
const REASONS: usize = 32;

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Since when there has been no connection, and each reason for it that was told.
    lost: Option<(Instant, VecDeque<String>)>,
    simulated: bool,
}

impl News {
    /// What an update is, and when it was, if it is worth telling and no price.
    pub(super) fn of(&mut self, update: &Update) -> Option<(TickId, String)> {
        let now = TickId::now();
        Some(match update {
            Update::Connected(connected) => (now, self.connected(connected)),
            Update::Disconnected { why, .. } => (now, self.lost(why)?),
            Update::Status(status) => {
                let since = match status.state {
                    FeedState::Live => String::new(),
                    _ => format!(" since {}", clock(status.since)),
                };
                (status.id, format!("the feed is {}{since}{}", status.state.as_str(), because(&status.reason)))
            }
            Update::Gap(gap) => (gap.before, self::gap(gap)),
            Update::Tick(tick) => (tick.id, self.simulated(tick)?),
            _ => return None,
        })
    }

    fn connected(&mut self, Connected { replica, state, reason, .. }: &Connected) -> String {
        let health = state
            .filter(|state| *state != FeedState::Live)
            .map(|state| format!("; the feed is {}{}", state.as_str(), because(reason.as_deref().unwrap_or_default())));
        let health = health.unwrap_or_default();
        let to = replica.as_deref().map(|replica| format!(" to {}", plain(replica))).unwrap_or_default();
        match self.lost.take() {
            Some((since, _)) => format!("connected again{to} after {}{health}", brief(since.elapsed())),
            None => format!("connected{to}{health}"),
        }
    }

    fn lost(&mut self, why: &str) -> Option<String> {
        let (_, told) = self.lost.get_or_insert_with(|| (Instant::now(), VecDeque::new()));
        if told.iter().any(|known| known == why) {
            return None;
        }
        if told.len() == REASONS {
            told.pop_front();
        }
        told.push_back(why.to_owned());
        Some(format!("not connected: {why}"))
    }

    fn simulated(&mut self, tick: &Tick) -> Option<String> {
        let simulated = tick.sources.values().flatten().any(|name| name == source::SIMULATED);
        let news = std::mem::replace(&mut self.simulated, simulated) != simulated;
        news.then(|| if simulated { "SIMULATED: these prices are made up" } else { "these prices are real" }.to_owned())
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {}", plain(reason)) }
}

fn gap(gap: &Gap) -> String {
    let Gap { after, before, reason, currencies, .. } = gap;
    let only = currencies.map(|currencies| {
        let codes: Vec<_> = currencies.iter().map(Currency::code).collect();
        format!(" in {}", join_list(&codes, "and"))
    });
    let only = only.unwrap_or_default();
    let between = match after {
        &TickId::ZERO => format!("before {}", clock(*before)),
        after => format!("from {} to {} ({})", clock(*after), clock(*before), brief(before.since(*after))),
    };
    match reason {
        GapReason::SourceOutage => format!("no price{only} {between}: the exchanges gave none"),
        GapReason::HistoryExpired => format!("updates{only} are missing {between}: older than what the feed keeps"),
        GapReason::HistoryLost => format!("updates{only} are missing {between}: the feed has lost them"),
        GapReason::ReplayLimit => format!("updates{only} are left out {between}: more than was asked for"),
        GapReason::Unexplained => format!("updates{only} are missing {between}, and the server did not say why"),
        other => format!("updates{only} are missing {between}: {}", plain(other.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_server_that_is_away_is_told_once_for_each_reason() {
        let mut news = News::default();
        let mut lost = |why: &str| {
            let update = Update::Disconnected { why: why.to_owned(), retry_in: Duration::ZERO };
            news.of(&update).map(|(_, text)| text)
        };
        assert_eq!(lost("cut").as_deref(), Some("not connected: cut"));
        assert_eq!(lost("refused").as_deref(), Some("not connected: refused"));
        assert_eq!(lost("refused"), None);
        assert_eq!((lost("cut"), lost("refused")), (None, None), "also where two alternate");
        let new = (0..99).filter(|new| lost(&format!("new {new}")).is_some()).count();
        assert_eq!(new, 99);
        assert_eq!(news.lost.as_ref().unwrap().1.len(), REASONS, "it is bounded");
        let (_, back) = news.of(&Update::Connected(Connected::default())).unwrap();
        assert!(back.starts_with("connected again after 0"), "{back}");
    }
}
