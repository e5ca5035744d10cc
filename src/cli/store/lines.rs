//! The lines of an export. Each line is a JSON object: an entry, an audit, the candles of an hour or a bookmark. The
//! entries come first, and the audits follow, both in the order of their ids. Then come the candles, first those of
//! minutes and then those of hours, with one line for each hour, in the order of time. The bookmarks are last.

use super::transfer::{AuditPages, Copied, HourPages, PAGE, Pages, Writable, check_count, while_renewing};
use crate::candle::{Detail, KeptHour, PAGE_HOURS};
use crate::feed::{Entry, EntryAudit};
use crate::store::{MAX_AHEAD, Portable};
use crate::tick::TickId;
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::thread;
use tokio::sync::mpsc;

/// A bookmark: the last id that was sent to a client.
#[derive(Serialize, Deserialize)]
struct Bookmark {
    #[serde(rename = "type")]
    kind: BookmarkKind,
    client: String,
    id: TickId,
}

#[derive(Serialize, Deserialize)]
enum BookmarkKind {
    #[serde(rename = "bookmark")]
    Bookmark,
}

/// The audit of an entry: the inputs of its prices, and the numbers of the method.
#[derive(Serialize, Deserialize)]
struct AuditLine {
    #[serde(rename = "type")]
    kind: AuditKind,
    #[serde(flatten)]
    audit: EntryAudit,
}

#[derive(Serialize, Deserialize)]
enum AuditKind {
    #[serde(rename = "audit")]
    Audit,
}

/// The candles of an hour.
#[derive(Serialize, Deserialize)]
struct HourLine {
    #[serde(rename = "type")]
    kind: HourKind,
    #[serde(flatten)]
    hour: KeptHour,
}

#[derive(Serialize, Deserialize)]
enum HourKind {
    #[serde(rename = "candles")]
    Candles,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Bookmark(Bookmark),
    Hour(Box<HourLine>),
    Audit(AuditLine),
    Entry(Box<Entry>),
}

/// Writes all entries, audits, candles and bookmarks of a store.
///
/// # Errors
/// If the store or the output fails, if an entry cannot be decoded, or if the entries change meanwhile.
pub(super) async fn export(store: &dyn Portable, out: &mut impl Write) -> anyhow::Result<Copied> {
    let mut copied = Copied::default();
    let before = store.summary().await?;
    let mut pages = Pages::of(store);
    while let Some(page) = pages.next().await? {
        for entry in &page {
            writeln!(out, "{}", serde_json::to_string(&**entry)?)?;
        }
        copied.entries += page.len() as u64;
    }
    let after = store.summary().await?;
    let has_changed = (before.oldest, before.newest) != (after.oldest, after.newest);
    ensure!(!has_changed, "the entries changed while they were read: stop all replicas first");
    copied.skipped = check_count(store, copied.entries).await?;
    let mut pages = AuditPages::of(store);
    while let Some(page) = pages.next().await? {
        copied.audits += page.len() as u64;
        for audit in page {
            writeln!(out, "{}", serde_json::to_string(&AuditLine { kind: AuditKind::Audit, audit })?)?;
        }
    }
    let (mut hours, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for detail in Detail::ALL {
        let mut pages = HourPages::of(store, detail).await?;
        while let Some(page) = pages.next().await? {
            for (start, text) in page {
                let Some(hour) = KeptHour::decode(detail, start, &text) else {
                    unknown.insert(start);
                    continue;
                };
                hours.insert(start);
                writeln!(out, "{}", serde_json::to_string(&HourLine { kind: HourKind::Candles, hour })?)?;
            }
        }
    }
    (copied.hours, copied.unknown_hours) = (hours.len(), unknown.len());
    for (client, id) in store.bookmarks().await? {
        let line = Bookmark { kind: BookmarkKind::Bookmark, client, id };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        copied.bookmarks += 1;
    }
    out.flush()?;
    Ok(copied)
}

/// Reads lines on a thread of its own.
fn read_lines(lines: Box<dyn BufRead + Send>) -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(PAGE);
    // A read that waits for input cannot be ended, so the program does not wait for this thread.
    thread::spawn(move || lines.lines().try_for_each(|line| sender.blocking_send(line)));
    receiver
}

/// Writes the lines of an export into a store.
///
/// # Errors
/// If the store or the input fails, or if a line is invalid. The error names the line. Entries, audits and candles
/// before it may have been written.
pub(super) async fn import(target: &Writable<'_>, lines: Box<dyn BufRead + Send>) -> anyhow::Result<Copied> {
    // Another program may write the lines slowly, so the lease is renewed meanwhile.
    while_renewing(&[target], write_lines(target, read_lines(lines))).await
}

async fn write_lines(target: &Writable<'_>, mut lines: mpsc::Receiver<io::Result<String>>) -> anyhow::Result<Copied> {
    let (mut count, mut newest) = (0, TickId::ZERO);
    let (mut entries, mut audits, mut bookmarks) = (Vec::new(), Vec::new(), Vec::new());
    let mut hours = Detail::ALL.map(|detail| (detail, Vec::new()));
    let (mut audit_count, mut starts) = (0, BTreeSet::new());
    let latest = TickId::now().plus(MAX_AHEAD);
    let mut number = 0;
    while let Some(line) = lines.recv().await {
        number += 1;
        let line = line.with_context(|| format!("cannot read line {number}"))?;
        let expected = || {
            format!(
                "invalid line {number}: expected an entry, an audit, candles or a bookmark, as `btcfeed store export` \
                 writes it"
            )
        };
        match serde_json::from_str(&line).with_context(expected)? {
            Line::Bookmark(Bookmark { client, id, .. }) => bookmarks.push((client, id)),
            Line::Audit(AuditLine { audit, .. }) => {
                audit_count += 1;
                audits.push(audit);
            }
            Line::Hour(line) => {
                let HourLine { hour, .. } = *line;
                ensure!(hour.is_consistent(), "invalid line {number}: its candles are not those of one hour");
                starts.insert(hour.start());
                hours[hour.detail() as usize].1.push((hour.start(), hour.encode()));
            }
            Line::Entry(entry) => {
                ensure!(
                    entry.id > newest,
                    "invalid line {number}: its id is not greater than that of the entry before it"
                );
                ensure!(
                    entry.id <= latest,
                    "invalid line {number}: its id is more than a day ahead of the clock of this machine"
                );
                newest = entry.id;
                count += 1;
                entries.push(Arc::from(entry));
            }
        }
        if entries.len() == PAGE {
            target.restore(&entries).await?;
            entries.clear();
        }
        if audits.len() == PAGE {
            target.restore_audits(&audits).await?;
            audits.clear();
        }
        for (detail, hours) in hours.iter_mut().filter(|(_, hours)| hours.len() == PAGE_HOURS) {
            target.restore_hours(*detail, hours).await?;
            hours.clear();
        }
    }
    target.restore(&entries).await?;
    target.restore_audits(&audits).await?;
    for (detail, hours) in hours.iter().filter(|(_, hours)| !hours.is_empty()) {
        target.restore_hours(*detail, hours).await?;
    }
    let copied = target.restore_bookmarks(bookmarks, None).await?;
    Ok(Copied { entries: count, audits: audit_count, hours: starts.len(), ..copied })
}
