//! Notices about the connection, gaps and the state of the feed. While there is no connection, each reason for it is
//! printed only once.

use crate::cli::format::{brief_duration, local_time, printable};
use crate::client::{Connected, GapCause, GapUpdate, TickUpdate, Update};
use crate::feed::FeedState;
use crate::source;
use crate::tick::TickId;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The maximum number of reasons that are remembered. Without a maximum, a server that sends a new one each time would
/// fill the memory.
const MAX_REASONS: usize = 32;

/// Makes notices. Remembers what it has reported, so that it reports only what is new.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// The time since when there is no connection, and the printed reasons why it was lost or could not be opened.
    lost: Option<(Instant, VecDeque<String>)>,
    was_connected: bool,
    simulated: bool,
}

impl Notices {
    /// Returns the time of an update and the notice about it, if it needs one.
    pub(super) fn of(&mut self, update: &Update) -> Option<(TickId, String)> {
        let now = TickId::now();
        Some(match update {
            Update::Connected(connected) => (now, self.connected(connected)),
            Update::Disconnected { why, retry_in } => (now, self.lost(why, *retry_in)?),
            Update::Status(status) => {
                let since = match status.state {
                    FeedState::Live => String::new(),
                    _ => format!(" since {}", local_time(status.since)),
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
        let to = replica.as_deref().map(|replica| format!(" to {}", printable(replica))).unwrap_or_default();
        let again = if std::mem::replace(&mut self.was_connected, true) { " again" } else { "" };
        match self.lost.take() {
            Some((since, _)) => format!("connected{again}{to} after {}{health}", brief_duration(since.elapsed())),
            None => format!("connected{to}{health}"),
        }
    }

    fn lost(&mut self, why: &str, retry_in: Duration) -> Option<String> {
        let (_, reported) = self.lost.get_or_insert_with(|| (Instant::now(), VecDeque::new()));
        if reported.iter().any(|known| known == why) {
            return None;
        }
        if reported.len() == MAX_REASONS {
            reported.pop_front();
        }
        reported.push_back(why.to_owned());
        Some(format!("not connected: {why}; trying again in {}", brief_duration(retry_in)))
    }

    fn simulated(&mut self, tick: &TickUpdate) -> Option<String> {
        let simulated = tick.sources.values().flatten().any(|name| name == source::SIMULATED);
        let changed = std::mem::replace(&mut self.simulated, simulated) != simulated;
        changed.then(|| if simulated { "the prices are SIMULATED" } else { "the prices are real" }.to_owned())
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {}", printable(reason)) }
}

fn gap(gap: &GapUpdate) -> String {
    let GapUpdate { after, before, reason, currencies, .. } = gap;
    let only = currencies.map(|currencies| format!(" in {}", currencies.joined("and")));
    let only = only.unwrap_or_default();
    let between = match after {
        after if after.is_before_bitcoin() => format!("before {}", local_time(*before)),
        after => {
            let length = brief_duration(before.since(*after));
            format!("from {} to {} ({length})", local_time(*after), local_time(*before))
        }
    };
    match reason {
        GapCause::SourceOutage => format!("no price{only} {between}: no exchange gave one"),
        GapCause::HistoryExpired => format!("updates{only} are missing {between}: older than what the feed keeps"),
        GapCause::HistoryLost => format!("updates{only} are missing {between}: the feed lost them"),
        GapCause::ReplayLimit => format!("updates{only} are left out {between}: more than the limit"),
        GapCause::HeldTooLong => format!("updates{only} are missing {between}: the store could not be written"),
        GapCause::UnknownClientId => format!("updates{only} may be missing {between}: the client_id is not known"),
        GapCause::Unexplained => format!("updates{only} are missing {between}: the server gave no reason"),
        other => format!("updates{only} are missing {between}: {}", printable(other.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_a_loss_is_reported_once() {
        let mut notices = Notices::default();
        let mut lost = |why: &str| {
            let update = Update::Disconnected { why: why.to_owned(), retry_in: Duration::ZERO };
            notices.of(&update).map(|(_, text)| text)
        };
        assert_eq!(lost("cut").as_deref(), Some("not connected: cut; trying again in 0 s"));
        assert_eq!(lost("refused").as_deref(), Some("not connected: refused; trying again in 0 s"));
        assert_eq!(lost("refused"), None);
        assert_eq!((lost("cut"), lost("refused")), (None, None), "also if two alternate");
        let new = (0..99).filter(|new| lost(&format!("new {new}")).is_some()).count();
        assert_eq!(new, 99);
        assert_eq!(notices.lost.as_ref().unwrap().1.len(), MAX_REASONS, "it is bounded");
        let (_, first) = notices.of(&Update::Connected(Connected::default())).unwrap();
        assert!(first.starts_with("connected after 0"), "{first}");
        notices.of(&Update::Disconnected { why: "cut".to_owned(), retry_in: Duration::ZERO }).unwrap();
        let (_, back) = notices.of(&Update::Connected(Connected::default())).unwrap();
        assert!(back.starts_with("connected again after 0"), "{back}");
    }
}
