//! The line at the bottom of the screen. It shows the connection, the state of the feed, and the number of ticks and
//! gaps.

use super::paint::Paint;
use crate::cli::format::{counted, printable};
use crate::client::{Connected, TickUpdate, Update};
use crate::feed::FeedState;
use crate::source;
use crate::tick::TickId;
use std::time::Duration;
use tokio::time::Instant;

/// The content of the line.
#[derive(Debug)]
pub(super) struct StatusLine {
    connection: ConnectionState,
    replica: Option<String>,
    /// `None` until it is known.
    feed: Option<FeedState>,
    sources: Vec<String>,
    ticks: u64,
    gaps: u64,
    last: Option<TickId>,
    /// The maximum time between two ticks of a healthy feed, if it is known.
    patience: Option<Duration>,
    /// True if the server sends every tick, so that silence means that there is no new price.
    gets_every_tick: bool,
    /// The moment at which the last tick arrived, or at which the stream became live.
    heard: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum ConnectionState {
    Connecting,
    /// Connected, but not at the newest update yet.
    CatchingUp,
    Live,
    RetryAt(Instant),
}

/// The separator between two parts of the line.
const SEPARATOR: &str = " · ";

impl StatusLine {
    pub(super) fn new(gets_every_tick: bool) -> StatusLine {
        StatusLine {
            connection: ConnectionState::Connecting,
            replica: None,
            feed: None,
            sources: Vec::new(),
            ticks: 0,
            gaps: 0,
            last: None,
            patience: None,
            gets_every_tick,
            heard: Instant::now(),
        }
    }

    /// Changes the content according to an update.
    pub(super) fn update(&mut self, update: &Update) {
        match update {
            Update::Connected(Connected { replica, state, interval, .. }) => {
                self.connection = ConnectionState::CatchingUp;
                self.patience = interval.map(|interval| 3 * interval + Duration::from_secs(1));
                self.feed = *state;
                self.replica = replica.as_deref().map(printable);
            }
            Update::Tick(tick) => self.tick(tick),
            Update::Status(status) => self.feed = Some(status.state),
            Update::Gap(_) => self.gaps += 1,
            Update::Synced { .. } => (self.connection, self.heard) = (ConnectionState::Live, Instant::now()),
            Update::Disconnected { retry_in, .. } => {
                self.connection = ConnectionState::RetryAt(Instant::now() + *retry_in);
            }
        }
    }

    fn tick(&mut self, tick: &TickUpdate) {
        if !tick.prices.is_empty() {
            // A tick without prices has no row, so it is not counted.
            self.ticks += 1;
            // A feed that never had a status is live if it has prices.
            self.feed.get_or_insert(FeedState::Live);
        }
        (self.last, self.heard) = (Some(tick.id), Instant::now());
        let mut sources: Vec<_> = tick.sources.values().flatten().map(|name| printable(name)).collect();
        sources.sort();
        sources.dedup();
        if !sources.is_empty() {
            self.sources = sources;
        }
    }

    /// Returns the line without and with colours. If it is longer than `width` characters, the least important parts,
    /// those with the greatest rank, are left out, but never the first part.
    pub(super) fn text(&self, width: usize, paint: Paint) -> (String, String) {
        let (mark, words, good) = match self.connection {
            ConnectionState::Connecting => ("○", "connecting".to_owned(), None),
            ConnectionState::CatchingUp => ("◌", "catching up".to_owned(), None),
            ConnectionState::RetryAt(at) => match at.saturating_duration_since(Instant::now()) {
                Duration::ZERO => ("○", "reconnecting".to_owned(), Some(false)),
                // Whole seconds, so that the line does not change too often.
                left => ("○", format!("reconnecting in {} s", left.as_secs() + 1), Some(false)),
            },
            ConnectionState::Live => match self.feed {
                // If no replica writes, no status reports that prices are missing.
                Some(FeedState::Live | FeedState::Degraded) if self.is_silent() => {
                    ("●", "no new price".to_owned(), Some(false))
                }
                Some(FeedState::Degraded) => ("●", FeedState::Degraded.as_str().to_owned(), None),
                Some(state) => ("●", state.as_str().to_owned(), Some(state == FeedState::Live)),
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
        let length = |pieces: &[(u8, String)]| {
            pieces.iter().map(|(_, text)| text.chars().count() + SEPARATOR.chars().count()).sum::<usize>()
        };
        while length(&pieces) > width && pieces.len() > 1 {
            let last = pieces.iter().map(|(rank, _)| *rank).max();
            pieces.retain(|(rank, _)| Some(*rank) != last);
        }
        let painted = |(rank, text): &(u8, String)| match (rank, good) {
            (0, Some(true)) => paint.good(text),
            (0, Some(false)) => paint.bad(text),
            (1, _) => paint.warning(text),
            (2, _) if self.gaps > 0 => paint.warning(text),
            (0, None) if self.feed == Some(FeedState::Degraded) => paint.warning(text),
            (0, None) => text.clone(),
            _ => paint.dim(text),
        };
        let plain: Vec<_> = pieces.iter().map(|(_, text)| text.as_str()).collect();
        let painted: Vec<_> = pieces.iter().map(painted).collect();
        (format!(" {}", plain.join(SEPARATOR)), format!(" {}", painted.join(&paint.dim(SEPARATOR))))
    }

    fn is_silent(&self) -> bool {
        self.gets_every_tick && self.patience.is_some_and(|patience| self.heard.elapsed() > patience)
    }

    /// Returns the text that is printed when the command ends. A no-break space keeps `--after ID` on one line when the
    /// caller wraps the text. After that, the caller replaces it with a plain space.
    pub(super) fn summary(&self) -> String {
        let gaps = if self.gaps == 0 { "no gaps".to_owned() } else { counted(self.gaps, "gap") };
        let on = self.last.map(|id| format!("; resume with --after\u{a0}{id}")).unwrap_or_default();
        format!("{}, {gaps}{on}", counted(self.ticks, "tick"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feed_state_is_shown_as_the_replica_says() {
        let mut line = StatusLine::new(true);
        for (state, shown) in [
            (Some(FeedState::Degraded), " ● degraded"),
            (Some(FeedState::Stale), " ● stale"),
            (Some(FeedState::Live), " ● live"),
            (None, " ○ no price"),
        ] {
            line.update(&Update::Connected(Connected { state, ..Connected::default() }));
            line.update(&Update::Synced { id: TickId::ZERO });
            assert!(line.text(80, Paint::NONE).0.starts_with(shown), "{state:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_shown_without_a_status() {
        for (gets_every_tick, shown) in [(true, " ● no new price"), (false, " ● live")] {
            let mut line = StatusLine::new(gets_every_tick);
            let (state, interval) = (Some(FeedState::Live), Some(Duration::from_secs(5)));
            line.update(&Update::Connected(Connected { interval, state, ..Connected::default() }));
            line.update(&Update::Synced { id: TickId::ZERO });
            tokio::time::advance(Duration::from_secs(16)).await;
            assert!(line.text(80, Paint::NONE).0.starts_with(" ● live"));
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(line.text(80, Paint::NONE).0.starts_with(shown), "{gets_every_tick}");
            line.update(&Update::Tick(TickUpdate::default()));
            assert!(line.text(80, Paint::NONE).0.starts_with(" ● live"));
        }
    }

    #[test]
    fn narrow_line_keeps_the_most_important_parts() {
        let mut line = StatusLine::new(true);
        line.update(&Update::Connected(Connected::default()));
        line.feed = Some(FeedState::Live);
        line.replica = Some("replica-1".to_owned());
        line.sources = vec!["coinbase".to_owned(), "kraken".to_owned()];
        (line.ticks, line.gaps) = (1234, 1);
        line.update(&Update::Synced { id: TickId::ZERO });
        let text = |line: &StatusLine, width| line.text(width, Paint::NONE).0;
        assert_eq!(text(&line, 100), " ● live · coinbase, kraken · replica-1 · 1,234 ticks · 1 gap");
        assert_eq!(text(&line, 50), " ● live · replica-1 · 1,234 ticks · 1 gap");
        assert_eq!(text(&line, 20), " ● live · 1 gap");
        assert_eq!(text(&line, 5), " ● live");
        line.sources = vec![source::SIMULATED.to_owned()];
        assert!(line.text(40, Paint::NONE).0.starts_with(" ● live · SIMULATED · "));
    }
}
