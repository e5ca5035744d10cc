//! What a client asks for, over any transport, and the session that it gets.

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

/// Returns the range of [`EVERY`] as text.
pub fn every_range() -> String {
    format!("a duration from {} to {}", format_duration(*EVERY.start()), format_duration(*EVERY.end()))
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Currencies of the updates.
    pub currencies: Currencies,
    /// Format of the updates.
    pub format: Format,
    /// Start of the replay.
    pub start: Start,
    /// Most ticks to replay: the newest ones.
    pub limit: Option<usize>,
    /// Which ticks the client wants.
    pub throttle: ThrottleOptions,
    /// Name of the client's bookmark.
    pub client: Option<ClientId>,
    /// Whether the client wants a `hello` first.
    pub hello: bool,
}

impl Subscription {
    /// Subscribes to every tick in `currencies`, beginning at `start`.
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

    /// Returns the view in which the client sees the feed.
    pub fn view(&self, framing: Framing) -> View {
        View { format: self.format, currencies: self.currencies, framing }
    }
}

/// Factory of sessions.
pub struct Sessions {
    /// The feed of this replica.
    pub hub: Arc<Hub>,
    /// Limits of each session.
    pub limits: Limits,
    /// Bookmarks of clients with a name.
    pub bookmarks: Arc<Bookmarks>,
    /// Answer to `hello`.
    pub hello: Hello,
}

impl Sessions {
    /// Saves the bookmark of a session that ends. Call it before the close is sent: afterwards the client may be on another
    /// replica at once.
    pub async fn close(&self, session: &mut Session) {
        if let Some(bookmark) = session.take_bookmark() {
            self.bookmarks.close(bookmark).await;
        }
    }

    fn greeting(&self, view: View) -> Option<Bytes> {
        let newest = self.hub.status();
        view.hello(&self.hello, newest.as_ref().and_then(|entry| entry.status()))
    }

    /// Opens a session.
    ///
    /// # Errors
    /// If the store has to be asked where to begin and is unavailable.
    pub async fn open(&self, asked: &Subscription, framing: Framing) -> Result<Session> {
        let (view, mut start, mut recalled) = (asked.view(framing), asked.start, None);
        // The client's own cursor is exact. The bookmark only knows what was sent, which may not have arrived.
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
            // A client whose replay was cut does not have the tick before the cut.
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
