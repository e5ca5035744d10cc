//! The store on disk: restarts, and a directory that cannot be used.

mod faults;

use crate::support::crashes::CrashTest;
use crate::support::exchange::Exchange;
use crate::support::replica::serve_command;
use crate::support::store_contract::{EVERYTHING, OPTIONS, append, ids, lease, tick};
use crate::support::{data_directory, embedded, entries, replica_settings, soon, until};
use btcfeed::feed::Entry;
use btcfeed::store::{Disk, Options, PriceKind, Store};
use btcfeed::tick::TickId;
use futures_util::StreamExt;
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn feed_goes_on_after_a_restart() {
    let directory = data_directory();
    let (mut all, client) = (Vec::new(), ("a".to_owned(), TickId::from_ms(7)));
    for _ in 0..3 {
        let store = Disk::open(directory.path(), OPTIONS).unwrap();
        assert_eq!(ids(&store, TickId::ZERO, EVERYTHING, 10).await, all);
        let lease = lease(&store).await;
        for _ in 0..2 {
            let entry = append(&store, &lease, "1").await;
            assert_eq!(entry.prev, all.last().copied().unwrap_or_default());
            all.push(entry.id);
        }
        store.remember(std::slice::from_ref(&client)).await.unwrap();
    }
    let store = Disk::open(directory.path(), OPTIONS).unwrap();
    assert_eq!(store.head().await.unwrap(), all[5]);
    assert_eq!(store.recall("a").await.unwrap(), Some(client.1));
}

#[tokio::test]
async fn second_store_in_a_directory_is_refused() {
    let directory = data_directory();
    let _first = Disk::open(directory.path(), OPTIONS).unwrap();
    let refused = Disk::open(directory.path(), OPTIONS).err().unwrap().to_string();
    let (path, pid) = (directory.path().display(), std::process::id());
    assert_eq!(
        refused,
        format!("the data directory {path} is in use by process {pid}: stop it, or choose another BTCFEED_DATA")
    );
}

#[tokio::test]
async fn feed_stays_in_memory_until_disk_is_usable() {
    let parent = data_directory();
    let path = parent.path().join("data");
    fs::write(&path, "a file instead of a directory").unwrap();
    let store = Disk::open(&path, OPTIONS).unwrap();
    assert_eq!(store.fault().unwrap(), "File exists (os error 17)");
    let (lease, mut live) = (lease(&store).await, store.subscribe().await.unwrap());
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(append(&store, &lease, "1").await.id);
        assert_eq!(live.next().await.unwrap().unwrap().id, all[all.len() - 1]);
    }
    assert_eq!(ids(&store, all[0], EVERYTHING, 10).await, all[1..]);
    assert_eq!(store.newest(2).await.unwrap().len(), 2);
    assert_eq!(store.nth(TickId::ZERO, EVERYTHING, 2).await.unwrap(), Some(all[1]));
    store.remember(&[("a".to_owned(), all[0])]).await.unwrap();
    fs::remove_file(&path).unwrap();
    until("the feed to be saved", async || store.fault().is_none()).await;
    assert_eq!(ids(&store, TickId::ZERO, EVERYTHING, 10).await, all);
    store.renew(&lease).await.ok();
    drop(store);
    let again = Disk::open(&path, OPTIONS).unwrap();
    assert_eq!(ids(&again, TickId::ZERO, EVERYTHING, 10).await, all);
    assert_eq!(again.recall("a").await.unwrap(), Some(all[0]));
}

/// Writes the file of a feed with one entry in the directory `hidden`, and a plain file at the path `data`. Returns
/// that path and the id of the entry.
async fn hidden_file(parent: &Path) -> (PathBuf, TickId) {
    let (path, hidden) = (parent.join("data"), parent.join("hidden"));
    let store = Disk::open(&hidden, OPTIONS).unwrap();
    let lease = lease(&store).await;
    let id = append(&store, &lease, "1").await.id;
    drop(store);
    fs::write(&path, "a file instead of a directory").unwrap();
    (path, id)
}

/// Moves the directory `hidden` to `path`.
fn show(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::rename(path.with_file_name("hidden"), path).unwrap();
}

#[tokio::test]
async fn file_that_opens_late_keeps_its_history() {
    let parent = data_directory();
    let (path, old) = hidden_file(parent.path()).await;
    let store = Disk::open(&path, OPTIONS).unwrap();
    let lease = lease(&store).await;
    // The new ids are two days ahead, as after a start with a wrong clock. The old entry must not expire because of it.
    let moment = TickId::now().plus(OPTIONS.retention * 48);
    let ahead = || tick("2").reckoned_at(moment, Some(Duration::ZERO));
    let new = store.append(&lease, &ahead(), TickId::ZERO).await.unwrap().id;
    show(&path);
    until("the feed to be saved", async || store.fault().is_none()).await;
    assert_eq!(ids(&store, TickId::ZERO, EVERYTHING, 9).await, [old, new]);
    let next = store.append(&lease, &ahead(), TickId::ZERO).await.unwrap().id;
    drop(store);
    let again = Disk::open(&path, OPTIONS).unwrap();
    assert_eq!(ids(&again, TickId::ZERO, EVERYTHING, 9).await, [old, new, next]);
}

#[tokio::test]
async fn file_that_opens_late_is_not_mixed() {
    for has_entries in [true, false] {
        let parent = data_directory();
        let (path, old) = hidden_file(parent.path()).await;
        let store = Disk::open(&path, OPTIONS).unwrap().for_prices(PriceKind::Simulated);
        let lease = lease(&store).await;
        if has_entries {
            append(&store, &lease, "2").await;
        }
        store.renew(&lease).await.unwrap();
        show(&path);
        let is_refused = async || store.fault().is_some_and(|fault| fault.contains("the feed has real prices"));
        until("the reason", is_refused).await;
        // The lease may have expired meanwhile.
        store.append(&lease, &tick("3"), TickId::ZERO).await.ok();
        drop(store);
        assert_eq!(ids(&Disk::open(&path, OPTIONS).unwrap(), TickId::ZERO, EVERYTHING, 9).await, [old]);
    }
}

#[tokio::test]
async fn shortened_retention_shortens_the_file() {
    let directory = data_directory();
    let minutes = |ago: u64| TickId::now().minus(Duration::from_secs(60 * ago));
    let entry = |id, prev| Arc::new(Entry { id, prev, event: tick("1").event });
    let old = [minutes(90), minutes(30)];
    let write = async |store: &Disk| {
        let lease = lease(store).await;
        let record = tick("1").reckoned_at(TickId::now(), Some(Duration::ZERO));
        store.append(&lease, &record, TickId::ZERO).await.unwrap();
        store.release(&lease).await.unwrap();
        ids(store, TickId::ZERO, EVERYTHING, 9).await
    };
    let long = Disk::open(directory.path(), Options { retention: OPTIONS.retention * 2, ..OPTIONS }).unwrap();
    let held = lease(&long).await;
    long.restore(&held, &[entry(old[0], TickId::ZERO), entry(old[1], old[0])]).await.unwrap();
    long.release(&held).await.unwrap();
    assert_eq!(write(&long).await[..2], old);
    drop(long);
    let short = Disk::open(directory.path(), OPTIONS).unwrap();
    assert_eq!(write(&short).await[0], old[1]);
}

#[tokio::test]
async fn retried_append_is_published_once() {
    let directory = data_directory();
    let store = Disk::open(directory.path(), OPTIONS).unwrap();
    let (lease, mut live) = (lease(&store).await, store.subscribe().await.unwrap());
    for _ in 0..20 {
        let record = tick("1");
        // The caller gives up, in most cases before the entry is on the disk.
        let mut attempt = Box::pin(store.append(&lease, &record, TickId::ZERO));
        drop(futures_util::poll!(&mut attempt));
        drop(attempt);
        let done = store.append(&lease, &record, TickId::ZERO).await.unwrap();
        let next = append(&store, &lease, "2").await;
        assert_eq!(live.next().await.unwrap().unwrap(), done);
        assert_eq!(live.next().await.unwrap().unwrap(), next);
        assert_eq!(next.prev, done.id);
    }
}

#[tokio::test]
async fn killed_replica_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut test = CrashTest::new(directory.path());
    for _ in 0..10 {
        test.crash().await;
    }
    test.check().await;
}

#[tokio::test]
async fn second_replica_with_the_same_directory_ends() {
    let (exchange, directory) = (Exchange::start().await, data_directory());
    let data = ("BTCFEED_DATA", directory.path().to_str().unwrap());
    let first = embedded(&exchange, &[data]).await;
    first.priced().await;
    let status = first.json("/v1/status").await;
    assert_eq!(status["store"], serde_json::json!({"kind": "disk", "up": true}));
    let settings = replica_settings(&exchange, "r2", &[data, ("BTCFEED_LISTEN", "127.0.0.1:0")]);
    let mut second = serve_command(&settings);
    let output = soon("the end of the second replica", second.output()).await.unwrap();
    let expected = format!("is in use by process {}: stop it", first.pid());
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && printed.contains(&expected), "{printed}");
    assert_eq!(first.get("/v1/prices/latest").await.0, 200);
}

#[tokio::test]
async fn status_and_metrics_name_a_fault_of_the_disk() {
    let (exchange, directory) = (Exchange::start().await, data_directory());
    let path = directory.path().join("data");
    std::os::unix::fs::symlink("/proc/nowhere/data", &path).unwrap();
    let settings = [("BTCFEED_DATA", path.to_str().unwrap()), ("BTCFEED_LOG_FORMAT", "json")];
    let replica = embedded(&exchange, &settings).await;
    let unsaved = async || replica.metric("btcfeed_store_unsaved_entries").await;
    let mut client = replica.connect("format=full&since=0").await;
    let seen = entries(&mut client, 5).await;
    until("the metric", async || unsaved().await >= 5.0).await;
    let report = replica.get("/v1/status").await.1;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["store"]["up"], false);
    assert!(report["store"]["fault"].as_str().unwrap().contains("(os error "), "{report}");
    assert_eq!(
        replica.logged("cannot save the feed to the disk, keeping it in memory and retrying every second").len(),
        1
    );
    fs::remove_file(&path).unwrap();
    until("the feed to be saved", async || replica.json("/v1/status").await["store"]["up"] == true).await;
    assert_eq!(unsaved().await, 0.0);
    replica.signal(Signal::KILL);
    drop(replica);
    let again = embedded(&exchange, &settings).await;
    let mut client = again.connect(&format!("format=full&after={}", seen[0]["id"])).await;
    assert_eq!(entries(&mut client, 4).await, seen[1..]);
}
