//! What a client asks for, whichever door it comes through, and the session that it gets.

use super::bookmarks::{Bookmarks, ClientId};
use super::cursor::{Session, Start};
use super::limits::Limits;
use super::throttle::ThrottleOptions;
use crate::encode::{Format, Framing, Hello, View};
use crate::hub::Hub;
use crate::store::Result;
use crate::text::format_duration;
use crate::tick::Currencies;
use bytes::Bytes;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Most ticks that a stream replays for a client that sets a limit.
pub const REPLAY_LIMIT: RangeInclusive<usize> = 1..=10_000;
/// Periods that a client can ask updates to be apart.
pub const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// Returns the range of [`EVERY`] in words.
pub fn every_range() -> String {
    format!("a time from {} to {}", format_duration(*EVERY.start()), format_duration(*EVERY.end()))
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The currencies to see.
    pub currencies: Currencies,
    /// What an update looks like.
    pub format: Format,
    /// Where to begin.
    pub start: Start,
    /// The most ticks to replay: the newest of them.
    pub limit: Option<usize>,
    /// Which ticks are wanted.
    pub throttle: ThrottleOptions,
    /// The name under which the client is remembered.
    pub client: Option<ClientId>,
    /// Whether the client wants to know who serves it.
    pub hello: bool,
}

impl Subscription {
    /// Every tick in `currencies`, beginning at `start`.
    pub fn new(currencies: Currencies, format: Format, start: Start) -> Subscription {
        Subscription {
            currencies,
            format,
            start,
            limit: None,
            throttle: ThrottleOptions::default(),
            client: None,
            hello: false,
        }
    }

    /// How a client that asks for this sees the feed.
    pub fn view(&self, framing: Framing) -> View {
        View { format: self.format, currencies: self.currencies, framing }
    }
}

/// What sessions are made of.
pub struct Sessions {
    /// The feed.
    pub hub: Arc<Hub>,
    /// What clients are allowed.
    pub limits: Limits,
    /// Where clients are remembered.
    pub bookmarks: Arc<Bookmarks>,
    /// Who this is.
    pub hello: Hello,
}

impl Sessions {
    /// Writes down how far the client of a session is that ends. Before the goodbye, after which it may be on another replica
    /// at once.
    pub async fn close(&self, session: &mut Session) {
        if let Some(bookmark) = session.take_bookmark() {
            self.bookmarks.close(bookmark).await;
        }
    }

    fn greeting(&self, view: View) -> Option<Bytes> {
        let newest = self.hub.status();
        view.hello(&self.hello, newest.as_ref().and_then(|entry| entry.status()))
    }

    /// A session for a client that asks for this.
    ///
    /// # Errors
    /// If the store has to be asked where to begin, and is away.
    pub async fn open(&self, asked: &Subscription, framing: Framing) -> Result<Session> {
        let (view, mut start, mut recalled) = (asked.view(framing), asked.start, None);
        // A cursor that the client has itself is exact; what was sent may not have arrived.
        if let (Start::Latest, Some(client)) = (start, &asked.client) {
            recalled = self.bookmarks.recall(client).await?;
            start = recalled.map_or(Start::Latest, Start::After);
        }
        let mut left_out_after = None;
        let replay_after = match start {
            Start::Latest => None,
            Start::Since(moment) => Some(moment.before()),
            Start::After(id) => Some(id),
        };
        if let Some((limit, replay_after)) = asked.limit.zip(replay_after) {
            let begin = self.hub.before_newest_ticks(limit, asked.currencies).await?;
            if replay_after < begin {
                (left_out_after, start) = (Some(replay_after), Start::After(begin));
            }
        }
        let mut session = Session::new(view, start, &self.limits, &self.hub);
        if !asked.throttle.is_full() {
            // A client whose replay was cut does not have the tick before it.
            session = session.throttled(asked.throttle, left_out_after.is_none());
        }
        if let Some(after) = left_out_after {
            session.extras().left_out_after = Some(after);
        }
        if asked.hello {
            session.extras().greeting = self.greeting(view);
        }
        if let Some(client) = &asked.client {
            let bookmark = self.bookmarks.open_at(client, session.settled(), recalled);
            session.extras().bookmark = Some(bookmark);
        }
        Ok(session)
    }
}
