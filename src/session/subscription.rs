//! Options of a client, which are the same over every transport, and the factory that makes a session from them.

use super::bookmarks::{Bookmarks, ClientId};
use super::cursor::Session;
use super::limits::Limits;
use super::thinned_pages::ThinnedPages;
use super::throttle::ThrottleOptions;
use crate::encode::{Format, Framing, ReplicaInfo, View};
use crate::feed::{FeedState, GapReason, Start};
use crate::hub::Hub;
use crate::store::StoreError;
use crate::text::format_duration;
use crate::tick::{Currencies, TickId};
use bytes::Bytes;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Range of the replay limit, in ticks.
pub const REPLAY_LIMIT: RangeInclusive<usize> = 1..=10_000;
/// Range of the throttle period.
pub const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// Returns the range of [`EVERY`] as text.
pub fn every_range() -> String {
    format!("a duration from {} to {}", format_duration(*EVERY.start()), format_duration(*EVERY.end()))
}

/// Options of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Currencies of the updates.
    pub currencies: Currencies,
    /// Format of the updates.
    pub format: Format,
    /// Start of the replay.
    pub start: Start,
    /// Maximum number of ticks to replay. Older ones are skipped.
    pub limit: Option<usize>,
    /// Selection of the ticks that the client wants.
    pub throttle: ThrottleOptions,
    /// Secret name of the client, if it wants a bookmark.
    pub client: Option<ClientId>,
    /// True if the client wants a `hello` first.
    pub hello: bool,
    /// True if statuses, gaps, `synced` and a wanted `hello` are shown even in formats that would leave them out.
    pub notices: bool,
}

impl Subscription {
    /// Creates the options for every tick in `currencies`, beginning at `start`.
    pub fn new(currencies: Currencies, format: Format, start: Start) -> Subscription {
        Subscription {
            currencies,
            format,
            start,
            limit: None,
            throttle: ThrottleOptions::default(),
            client: None,
            hello: false,
            notices: false,
        }
    }

    /// Returns the view in which the client sees the feed.
    pub fn view(&self, framing: Framing) -> View {
        View::new(self.format, self.currencies, framing).with_notices(self.notices)
    }
}

/// Error when a session is opened.
#[derive(Debug)]
pub enum OpenError<E> {
    /// The store is unavailable.
    Store(StoreError),
    /// A new client is not admitted.
    Refused(E),
}

/// Factory of sessions.
pub struct Sessions {
    /// The feed of this replica.
    pub hub: Arc<Hub>,
    /// Limits of each session.
    pub limits: Limits,
    /// Bookmarks of clients with a `client_id`.
    pub bookmarks: Arc<Bookmarks>,
    /// Content of the `hello` message, without the feed's status.
    pub hello: ReplicaInfo,
    /// Pages of the store's history that throttled clients share.
    pages: Arc<ThinnedPages>,
}

impl Sessions {
    /// Creates a factory of sessions over this replica's feed.
    pub fn new(hub: Arc<Hub>, limits: Limits, bookmarks: Arc<Bookmarks>, hello: ReplicaInfo) -> Sessions {
        Sessions { hub, limits, bookmarks, hello, pages: Arc::default() }
    }

    /// Saves the bookmark of a session that ends. Call it before the close is sent, because a client that gets the
    /// close may reconnect to another replica at once.
    pub async fn close(&self, session: &mut Session) {
        if let Some(bookmark) = session.take_bookmark() {
            self.bookmarks.close(bookmark).await;
        }
    }

    /// Returns the message `hello`, with the state of the feed's newest status. A client shows this state until a
    /// status comes on the stream. So the state must not be one that only this replica sees: perhaps no status would
    /// ever replace it. If there is no status, the feed has been live since its first tick.
    fn hello_message(&self, view: View) -> Option<Bytes> {
        let newest = self.hub.status();
        let health = match newest.as_ref().and_then(|entry| entry.status()) {
            Some(status) => Some((status.state, status.reason.as_str())),
            None => self.hub.newest_tick().map(|_| (FeedState::Live, "no outage is known")),
        };
        view.hello(&self.hello, health)
    }

    /// Opens a session. `admit_new` is called if the client has a `client_id`, but no bookmark yet.
    ///
    /// # Errors
    /// If the start has to be read from the store, and the store is unavailable, or if the client is not admitted.
    pub async fn open<E>(
        &self,
        options: &Subscription,
        framing: Framing,
        admit_new: impl FnOnce() -> Result<(), E>,
    ) -> Result<Session, OpenError<E>> {
        let (view, mut start, mut recalled) = (options.view(framing), options.start, None);
        if let Some(client) = &options.client {
            match self.bookmarks.recall(client).await {
                Ok(None) => admit_new().map_err(OpenError::Refused)?,
                Ok(known) => recalled = known,
                // The client sent no cursor, so only its bookmark could tell where to continue.
                Err(error) if start == Start::Latest => return Err(OpenError::Store(error)),
                Err(_) => {}
            }
            // A cursor of the client is exact. A bookmark is used only without a cursor, because updates that were sent
            // may not have arrived.
            if start == Start::Latest {
                start = recalled.map_or(Start::Latest, Start::After);
            }
        }
        // Nobody can tell a new client from one whose bookmark was lost, so both get a gap.
        let is_unknown = options.client.is_some() && start == Start::Latest;
        let mut skipped = is_unknown.then_some((TickId::ZERO, GapReason::UnknownClientId));
        let replay_after = match start {
            Start::Latest => None,
            Start::Since(moment) => Some(moment.before()),
            Start::After(id) => Some(id),
        };
        if let Some((limit, replay_after)) = options.limit.zip(replay_after) {
            let begin = self.hub.before_newest_ticks(limit, options.currencies).await.map_err(OpenError::Store)?;
            if replay_after < begin {
                (skipped, start) = (Some((replay_after, GapReason::ReplayLimit)), Start::After(begin));
            }
        }
        let mut session = Session::new(view, start, &self.limits, &self.hub);
        if !options.throttle.is_full() {
            // If entries were skipped, the client does not have the tick before its replay.
            session = session.throttled(options.throttle, skipped.is_none());
            session.extras().pages = Some(self.pages.clone());
        }
        if skipped.is_some() {
            session.extras().skipped = skipped;
        }
        if options.hello {
            session.extras().hello = self.hello_message(view);
        }
        if let Some(client) = &options.client {
            let bookmark = self.bookmarks.open_at(client, session.resume_id(), recalled);
            session.extras().bookmark = Some(bookmark);
        }
        Ok(session)
    }
}
