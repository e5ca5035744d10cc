//! What a connection asks of its shard.

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
    LoadHistory { after: TickId, until: TickId, to: oneshot::Sender<Vec<Arc<Entry>>> },
    /// Save the bookmark and notify `saved`.
    SaveBookmark { bookmark: Bookmark, saved: oneshot::Sender<()> },
    /// Drop the connection.
    Remove,
}
