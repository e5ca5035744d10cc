//! Faults of a disk: full, read-only, damaged.

use crate::support::data_directory;
use crate::support::store_contract::{EVERYTHING, OPTIONS, append, ids, lease};
use crate::support::until;
use btcfeed::store::{Disk, Store};
use btcfeed::tick::TickId;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A small disk in memory. Only root can mount one.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts a disk of this size, or says why the test is skipped.
    fn mount(size: &str) -> Option<SmallDisk> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path()).output();
        match mounted {
            Ok(output) if output.status.success() => return Some(SmallDisk(directory)),
            Ok(output) => eprintln!("SKIPPED: cannot mount a small disk: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("SKIPPED: cannot mount a small disk: {error}"),
        }
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.path()).status().unwrap();
        assert!(done.success(), "cannot remount {mode}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.path()).status().ok();
    }
}

/// Asserts that the store has exactly these entries.
async fn has(store: &dyn Store, expected: &[TickId]) {
    assert_eq!(ids(store, TickId::ZERO, EVERYTHING, 1_000_000).await, expected);
    assert_eq!(store.newest(1).await.unwrap()[0].id, expected[expected.len() - 1]);
}

#[tokio::test]
async fn feed_goes_on_while_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount("2m") else { return };
    let store = Disk::open(disk.path(), OPTIONS).unwrap();
    let lease = lease(&store).await;
    let mut all = vec![append(&store, &lease, "1").await.id];
    let ballast = disk.path().join("ballast");
    // This write fails when the disk is full.
    fs::write(&ballast, vec![0; 2 << 20]).unwrap_err();
    until("the disk to be full", async || {
        store.renew(&lease).await.unwrap();
        all.push(append(&store, &lease, "1").await.id);
        store.fault().is_some()
    })
    .await;
    assert_eq!(store.fault().unwrap(), "No space left on device (os error 28)");
    for _ in 0..10 {
        all.push(append(&store, &lease, "1").await.id);
    }
    has(&store, &all).await;
    // Twice, the space is free only until the feed is saved.
    for _ in 0..2 {
        fs::remove_file(&ballast).unwrap();
        until("the feed to be saved", async || store.fault().is_none()).await;
        has(&store, &all).await;
        fs::write(&ballast, vec![0; 2 << 20]).unwrap_err();
    }
    fs::remove_file(&ballast).unwrap();
    store.renew(&lease).await.ok();
    drop(store);
    has(&Disk::open(disk.path(), OPTIONS).unwrap(), &all).await;
}

#[tokio::test]
async fn read_only_disk_keeps_the_feed_in_memory() {
    let Some(disk) = SmallDisk::mount("4m") else { return };
    let before = {
        let store = Disk::open(disk.path(), OPTIONS).unwrap();
        append(&store, &lease(&store).await, "1").await.id
    };
    disk.remount("ro");
    let store = Disk::open(disk.path(), OPTIONS).unwrap();
    assert_eq!(store.fault().unwrap(), "Read-only file system (os error 30)");
    let during = append(&store, &lease(&store).await, "2").await.id;
    has(&store, &[during]).await;
    disk.remount("rw");
    until("the feed to be saved", async || store.fault().is_none()).await;
    has(&store, &[before, during]).await;
}

#[tokio::test]
async fn damaged_file_is_named_and_left_alone() {
    let directory = data_directory();
    let file = directory.path().join("feed.redb");
    let mut last = TickId::ZERO;
    {
        let store = Disk::open(directory.path(), OPTIONS).unwrap();
        let lease = lease(&store).await;
        for _ in 0..50 {
            last = append(&store, &lease, "1").await.id;
        }
    }
    // Without this wait, an entry that is appended while the file cannot be read could get the id of an entry in it.
    until("the time of the last entry", async || TickId::now() > last).await;
    let whole = fs::read(&file).unwrap();
    for length in [1, 100, 5000, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        let error = format!("{:#}", Disk::open_file(directory.path(), OPTIONS).err().unwrap());
        assert!(error.contains("feed.redb, restore a backup of it or move it away"), "{length}: {error}");
        let store = Disk::open(directory.path(), OPTIONS).unwrap();
        assert!(store.fault().unwrap().contains("damaged"), "{length}: {:?}", store.fault());
        let during = append(&store, &lease(&store).await, "2").await.id;
        has(&store, &[during]).await;
        assert_eq!(fs::read(&file).unwrap().len(), length, "the file is left alone");
        // The operator restores a backup, in one step: an empty file would be taken for a new feed.
        let backup = directory.path().join("backup");
        fs::write(&backup, &whole).unwrap();
        fs::rename(&backup, &file).unwrap();
        until("the feed to be saved", async || store.fault().is_none()).await;
        assert_eq!(ids(&store, TickId::ZERO, EVERYTHING, 100).await.len(), 51);
    }
}
