//! The tables of the bookmarks of clients: by client, and by the time of the write.

use crate::store::local::MAX_CLIENTS;
use crate::tick::TickId;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableError, WriteTransaction};

/// The bookmarks by client: the last id that the client was sent, and the time of the write.
const CLIENTS: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("clients");
/// The clients by the time of the write.
const CLIENT_TIMES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("client_times");

/// Creates the tables.
pub(super) fn create(writing: &WriteTransaction) -> Result<(), TableError> {
    writing.open_table(CLIENTS)?;
    writing.open_table(CLIENT_TIMES).map(drop)
}

/// Deletes all bookmarks.
pub(super) fn clear(writing: &WriteTransaction) -> Result<(), TableError> {
    writing.delete_table(CLIENTS)?;
    writing.delete_table(CLIENT_TIMES)?;
    create(writing)
}

/// Writes bookmarks with the time `now`. Then deletes bookmarks that were written before `floor`, and the oldest ones
/// while there are more than [`MAX_CLIENTS`]. Deletes at most `bookmarks.len() + limit`.
pub(super) fn save(
    writing: &WriteTransaction,
    bookmarks: &[(String, TickId)],
    now: TickId,
    floor: TickId,
    limit: usize,
) -> anyhow::Result<()> {
    let mut clients = writing.open_table(CLIENTS)?;
    let mut times = writing.open_table(CLIENT_TIMES)?;
    for (client, id) in bookmarks {
        let before = clients.insert(client.as_str(), (id.ms(), now.ms()))?.map(|before| before.value().1);
        if let Some(before) = before {
            times.remove((before, client.as_str()))?;
        }
        times.insert((now.ms(), client.as_str()), ())?;
    }
    for _ in 0..limit + bookmarks.len() {
        let too_many = times.len()? > MAX_CLIENTS as u64;
        let Some((oldest, _)) = times.first()? else { break };
        let (at, client) = oldest.value();
        if at >= floor.ms() && !too_many {
            break;
        }
        let client = client.to_owned();
        drop(oldest);
        clients.remove(client.as_str())?;
        times.remove((at, client.as_str()))?;
    }
    Ok(())
}

/// Returns all bookmarks.
pub(super) fn all(reading: &ReadTransaction) -> anyhow::Result<Vec<(String, TickId)>> {
    let mut found = Vec::new();
    for row in reading.open_table(CLIENTS)?.iter()? {
        let (client, saved) = row?;
        found.push((client.value().to_owned(), TickId::from_ms(saved.value().0)));
    }
    Ok(found)
}

/// Returns a client's bookmark, if it was written at `floor` or later.
pub(super) fn find(reading: &ReadTransaction, client: &str, floor: TickId) -> anyhow::Result<Option<TickId>> {
    let saved = reading.open_table(CLIENTS)?.get(client)?.map(|saved| saved.value());
    Ok(saved.filter(|(_, at)| *at >= floor.ms()).map(|(id, _)| TickId::from_ms(id)))
}
