//! What is known besides the rows: the connection, the feed's health, what came and what did not. It stands on the line at
//! the bottom.

use super::screen::Paint;
use crate::cli::words::{counted, plain};
use crate::client::{Connected, Tick, Update};
use crate::feed::FeedState as Health;
use crate::source;
use crate::tick::TickId;
use std::time::Duration;
use tokio::time::Instant;

/// What is known.
#[derive(Debug)]
pub(super) struct State {
    line: Line,
    replica: Option<String>,
    /// None until it is known.
    health: Option<Health>,
    sources: Vec<String>,
    pub(super) ticks: u64,
    pub(super) gaps: u64,
    pub(super) last: Option<TickId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Connecting,
    /// Connected, and not yet at the newest update.
    CatchingUp,
    Live,
    TryAt(Instant),
}

/// Two pieces of the line, and how a piece that is left out where there is no room is chosen: the highest number first.
const BETWEEN: &str = " · ";

impl State {
    pub(super) fn new() -> State {
        let (replica, sources) = (None, Vec::new());
        State { line: Line::Connecting, replica, health: None, sources, ticks: 0, gaps: 0, last: None }
    }

    /// Takes an update in.
    pub(super) fn update(&mut self, update: &Update) {
        match update {
            Update::Connected(Connected { replica, state, .. }) => {
                self.line = Line::CatchingUp;
                self.health = *state;
                self.replica = replica.as_deref().map(plain);
            }
            Update::Tick(tick) => self.tick(tick),
            Update::Status(status) => self.health = Some(status.state),
            Update::Gap(_) => self.gaps += 1,
            Update::Synced { .. } => self.line = Line::Live,
            Update::Disconnected { retry_in, .. } => self.line = Line::TryAt(Instant::now() + *retry_in),
        }
    }

    fn tick(&mut self, tick: &Tick) {
        if !tick.prices.is_empty() {
            // As many as there are rows.
            self.ticks += 1;
            // A feed that has prices and has never had a status.
            self.health.get_or_insert(Health::Live);
        }
        self.last = Some(tick.id);
        let mut sources: Vec<_> = tick.sources.values().flatten().map(|name| plain(name)).collect();
        sources.sort();
        sources.dedup();
        if !sources.is_empty() {
            self.sources = sources;
        }
    }

    /// The line, in `width` characters at most: as it reads, and as it looks.
    pub(super) fn line(&self, width: usize, paint: Paint) -> (String, String) {
        let (mark, words, good) = match self.line {
            Line::Connecting => ("○", "connecting".to_owned(), None),
            Line::CatchingUp => ("◌", "catching up".to_owned(), None),
            Line::TryAt(at) => match at.saturating_duration_since(Instant::now()) {
                Duration::ZERO => ("○", "reconnecting".to_owned(), Some(false)),
                // In whole seconds, or it would flicker.
                left => ("○", format!("reconnecting in {} s", left.as_secs() + 1), Some(false)),
            },
            Line::Live => match self.health {
                Some(health) => ("●", health.as_str().to_owned(), Some(health == Health::Live)),
                None => ("○", "no price yet".to_owned(), None),
            },
        };
        let simulated = self.sources.iter().any(|name| name == source::SIMULATED);
        let mut pieces = vec![(0, format!("{mark} {words}"))];
        let mut piece = |rank, text: String| pieces.push((rank, text));
        if simulated {
            piece(1, "SIMULATED".to_owned());
        } else if !self.sources.is_empty() {
            piece(5, self.sources.join(", "));
        }
        if let Some(replica) = &self.replica {
            piece(3, replica.clone());
        }
        piece(4, counted(self.ticks, "tick"));
        piece(2, if self.gaps == 0 { "no gaps".to_owned() } else { counted(self.gaps, "gap") });
        let long = |pieces: &[(u8, String)]| {
            pieces.iter().map(|(_, text)| text.chars().count() + BETWEEN.chars().count()).sum::<usize>()
        };
        while long(&pieces) > width && pieces.len() > 1 {
            let last = pieces.iter().map(|(rank, _)| *rank).max();
            pieces.retain(|(rank, _)| Some(*rank) != last);
        }
        let painted = |(rank, text): &(u8, String)| match (rank, good) {
            (0, Some(true)) => paint.good(text),
            (0, Some(false)) => paint.bad(text),
            (1, _) => paint.loud(text),
            (2, _) if self.gaps > 0 => paint.loud(text),
            (0, None) => text.clone(),
            _ => paint.dim(text),
        };
        let plain: Vec<_> = pieces.iter().map(|(_, text)| text.as_str()).collect();
        let painted: Vec<_> = pieces.iter().map(painted).collect();
        (format!(" {}", plain.join(BETWEEN)), format!(" {}", painted.join(&paint.dim(BETWEEN))))
    }

    /// What there is to say at the end. What is to be typed has a space in it that no line breaks at.
    pub(super) fn summary(&self) -> String {
        let gaps = if self.gaps == 0 { "no gaps".to_owned() } else { counted(self.gaps, "gap") };
        let on = self.last.map(|id| format!("; to go on from here: --after\u{a0}{id}")).unwrap_or_default();
        format!("{}, {gaps}{on}", counted(self.ticks, "tick"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feed_is_shown_as_the_replica_says_that_it_is_and_nothing_is_guessed() {
        let mut state = State::new();
        for (said, shown) in [(Some(Health::Stale), " ● stale"), (Some(Health::Live), " ● live"), (None, " ○ no price")]
        {
            state.update(&Update::Connected(Connected { state: said, ..Connected::default() }));
            state.update(&Update::Synced { id: TickId::ZERO });
            assert!(state.line(80, Paint::NONE).0.starts_with(shown), "{said:?}");
        }
    }

    #[test]
    fn what_matters_most_is_left_where_there_is_little_room() {
        let mut state = State::new();
        state.update(&Update::Connected(Connected::default()));
        state.health = Some(Health::Live);
        state.replica = Some("replica-1".to_owned());
        state.sources = vec!["coinbase".to_owned(), "kraken".to_owned()];
        (state.ticks, state.gaps) = (1234, 1);
        state.update(&Update::Synced { id: TickId::ZERO });
        let line = |width| state.line(width, Paint::NONE).0;
        assert_eq!(line(100), " ● live · coinbase, kraken · replica-1 · 1,234 ticks · 1 gap");
        assert_eq!(line(50), " ● live · replica-1 · 1,234 ticks · 1 gap");
        assert_eq!(line(20), " ● live · 1 gap");
        assert_eq!(line(5), " ● live");
        state.sources = vec![source::SIMULATED.to_owned()];
        assert!(state.line(40, Paint::NONE).0.starts_with(" ● live · SIMULATED · "));
    }
}
