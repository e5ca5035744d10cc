//! The table of the audits. It has a row for each entry that has an audit.

use crate::feed::EntryAudit;
use crate::store::entry::{audit_with_id, decode_audit};
use crate::tick::TickId;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableError, WriteTransaction};
use std::sync::Arc;

/// The audits by the id of their entry, as JSON.
const AUDITS: TableDefinition<'_, u64, &str> = TableDefinition::new("audits");

/// Creates the table, which a file of an older version may lack. Such a version ignores the table.
pub(super) fn create(writing: &WriteTransaction) -> Result<(), TableError> {
    writing.open_table(AUDITS).map(drop)
}

/// Returns true if the file has the table.
pub(super) fn exists(reading: &ReadTransaction) -> Result<bool, TableError> {
    match reading.open_table(AUDITS) {
        Ok(_) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes audits. An entry that already has one keeps it.
pub(super) fn save(writing: &WriteTransaction, audits: &[(TickId, Arc<str>)]) -> anyhow::Result<()> {
    let mut table = writing.open_table(AUDITS)?;
    for (id, text) in audits {
        if table.get(id.ms())?.is_none() {
            table.insert(id.ms(), &**text)?;
        }
    }
    Ok(())
}

/// Deletes at most `limit` audits before `floor`.
pub(super) fn trim(writing: &WriteTransaction, floor: TickId, limit: usize) -> anyhow::Result<()> {
    let mut table = writing.open_table(AUDITS)?;
    for _ in 0..limit {
        if table.first()?.is_none_or(|(id, _)| id.value() >= floor.ms()) {
            break;
        }
        table.pop_first()?;
    }
    Ok(())
}

/// Deletes the audits of these entries.
pub(super) fn remove(writing: &WriteTransaction, ids: &[TickId]) -> anyhow::Result<()> {
    let mut table = writing.open_table(AUDITS)?;
    for id in ids {
        table.remove(id.ms())?;
    }
    Ok(())
}

/// Returns the oldest `limit` audits with `after < id <= until`, oldest first.
pub(super) fn range(
    reading: &ReadTransaction,
    after: TickId,
    until: TickId,
    limit: usize,
) -> anyhow::Result<Vec<EntryAudit>> {
    if after >= until {
        return Ok(Vec::new());
    }
    let table = reading.open_table(AUDITS)?;
    let mut found = Vec::new();
    for row in table.range(after.next().ms()..=until.ms())? {
        if found.len() == limit {
            break;
        }
        let (id, text) = row?;
        found.extend(decode_audit(&audit_with_id(TickId::from_ms(id.value()), text.value())));
    }
    Ok(found)
}

/// Returns the number of audits.
pub(super) fn len(reading: &ReadTransaction) -> anyhow::Result<u64> {
    Ok(reading.open_table(AUDITS)?.len()?)
}

/// Deletes all audits.
pub(super) fn clear(writing: &WriteTransaction) -> Result<(), TableError> {
    writing.delete_table(AUDITS)?;
    create(writing)
}
