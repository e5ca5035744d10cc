//! The tables of hours that have ended: one has the minute candles of each hour, the other has one candle of each hour.

use crate::candle::Detail;
use crate::tick::TickId;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

/// The minute candles of each hour that has ended, by the start of the hour.
const MINUTES: TableDefinition<'_, u64, &str> = TableDefinition::new("candles");
/// The candle of each hour that has ended, by the start of the hour.
const HOURS: TableDefinition<'_, u64, &str> = TableDefinition::new("hours");

const fn table(detail: Detail) -> TableDefinition<'static, u64, &'static str> {
    match detail {
        Detail::Minutes => MINUTES,
        Detail::Hour => HOURS,
    }
}

/// Creates the tables that the file lacks. An older version ignores the tables that it does not know.
pub(super) fn create(writing: &WriteTransaction) -> Result<(), TableError> {
    Detail::ALL.into_iter().try_for_each(|detail| writing.open_table(table(detail)).map(drop))
}

/// Returns true if the file has the tables.
pub(super) fn exist(reading: &ReadTransaction) -> Result<bool, TableError> {
    for detail in Detail::ALL {
        match reading.open_table(table(detail)) {
            Ok(_) => {}
            Err(TableError::TableDoesNotExist(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Returns the starts of the hours, oldest first.
pub(super) fn starts(reading: &ReadTransaction, detail: Detail) -> anyhow::Result<Vec<TickId>> {
    let hours = reading.open_table(table(detail))?;
    hours.iter()?.map(|row| Ok(TickId::from_ms(row?.0.value()))).collect()
}

/// Returns the text of each of these hours.
pub(super) fn texts(
    reading: &ReadTransaction,
    detail: Detail,
    starts: &[TickId],
) -> anyhow::Result<Vec<Option<String>>> {
    let hours = reading.open_table(table(detail))?;
    let text = |start: &TickId| Ok(hours.get(start.ms())?.map(|text| text.value().to_owned()));
    starts.iter().map(text).collect()
}

/// Deletes the hours that begin at the times `expired`. Then writes the hours that the table does not have.
pub(super) fn keep(
    writing: &WriteTransaction,
    detail: Detail,
    kept: &[(TickId, String)],
    expired: &[TickId],
) -> anyhow::Result<()> {
    let mut hours = writing.open_table(table(detail))?;
    for start in expired {
        hours.remove(start.ms())?;
    }
    for (start, text) in kept {
        if hours.get(start.ms())?.is_none() {
            hours.insert(start.ms(), text.as_str())?;
        }
    }
    Ok(())
}

/// Deletes all hours.
pub(super) fn clear(writing: &WriteTransaction) -> Result<(), TableError> {
    for detail in Detail::ALL {
        writing.delete_table(table(detail))?;
    }
    create(writing)
}
