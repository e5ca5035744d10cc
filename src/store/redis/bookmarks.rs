//! The bookmarks of clients, one key for each.

use super::connection::RedisRequest;
use super::{Redis, ms};
use crate::store::contract::{Result, StoreError};
use crate::tick::TickId;

/// The id that replaces an invalid bookmark: before all entries, so that the client gets a gap and then everything that
/// is kept.
const UNKNOWN_PLACE: TickId = TickId::FIRST_DAY;

impl Redis {
    /// Writes the bookmarks of clients. They expire with the entries.
    pub(super) async fn write_bookmarks(&self, sent: &[(String, TickId)]) -> Result<()> {
        self.send_bookmarks(sent, false).await.map(drop)
    }

    /// Writes the bookmarks of those clients that have none. Returns the number of bookmarks that were written.
    pub(super) async fn write_missing_bookmarks(&self, sent: &[(String, TickId)]) -> Result<usize> {
        Ok(self.send_bookmarks(sent, true).await?.into_iter().flatten().count())
    }

    /// Writes bookmarks. If `only_missing` is true, a client that has a bookmark keeps it. Returns `OK` for each
    /// bookmark that was written, and `None` for the others.
    async fn send_bookmarks(&self, sent: &[(String, TickId)], only_missing: bool) -> Result<Vec<Option<String>>> {
        if sent.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = ::redis::pipe();
        for (client, id) in sent {
            let key = format!("{}{client}", self.keys.client);
            let set = commands.cmd("SET").arg(key).arg(id.ms()).arg("PX").arg(ms(self.options.retention));
            if only_missing {
                set.arg("NX");
            }
        }
        self.clients.send(RedisRequest::Pipeline(&commands)).await
    }

    /// Reads the bookmark of a client. If the bookmark cannot be parsed, returns an id before everything that is kept.
    pub(super) async fn read_bookmark(&self, client: &str) -> Result<Option<TickId>> {
        let mut command = ::redis::cmd("GET");
        command.arg(format!("{}{client}", self.keys.client));
        match self.clients.query::<Option<Vec<u8>>>(&command).await {
            Ok(text) => Ok(text.map(|text| place(&text))),
            Err(StoreError::Unavailable(error)) if error.contains("WRONGTYPE") => Ok(Some(UNKNOWN_PLACE)),
            Err(error) => Err(error),
        }
    }
}

/// Returns the place that a bookmark names.
pub(super) fn place(text: &[u8]) -> TickId {
    let id = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    id.map_or(UNKNOWN_PLACE, TickId::from_ms)
}
