//! The phase of a connection, and its requests to the shard.

use super::closing::Closing;
use crate::feed::Entry;
use crate::session::Bookmark;
use crate::tick::TickId;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Request of a connection to its shard.
pub(super) enum Action {
    /// Wait for the socket, the feed or a deadline.
    Wait,
    /// Run the connection again after the others.
    RunAgain,
    /// Load a part of the history and send it to `to`.
    LoadHistory { after: TickId, until: TickId, audits: bool, to: oneshot::Sender<Vec<Arc<Entry>>> },
    /// Save the bookmark and notify `saved`.
    SaveBookmark { bookmark: Bookmark, saved: oneshot::Sender<()> },
    /// Count the memory that the connection holds.
    CountMemory,
    /// Drop the connection.
    Remove,
}

/// Phase of a connection.
pub(super) enum Phase {
    /// The connection follows the feed.
    Following,
    /// A part of the history is being loaded.
    Loading(oneshot::Receiver<Vec<Arc<Entry>>>),
    /// The connection is being closed.
    Closing(Box<Closing>),
}
