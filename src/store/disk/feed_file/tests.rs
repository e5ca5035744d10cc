use super::*;
use crate::feed::{Event, FeedState, Status};
use redb::StorageBackend;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// What a database asks of its storage.
#[derive(Clone)]
enum Operation {
    Write(usize, Vec<u8>),
    SetLength(usize),
    Sync,
}

/// A file in memory that records all operations.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<(Vec<u8>, Vec<Operation>)>>);

impl Recorder {
    fn of(bytes: Vec<u8>) -> Recorder {
        Recorder(Arc::new(Mutex::new((bytes, Vec::new()))))
    }

    fn state(&self) -> MutexGuard<'_, (Vec<u8>, Vec<Operation>)> {
        self.0.lock().unwrap()
    }

    fn apply(&self, operation: Operation) {
        let mut state = self.state();
        operation.apply(&mut state.0);
        state.1.push(operation);
    }
}

impl Operation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Operation::Write(offset, data) => {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
            Operation::SetLength(length) => bytes.resize(*length, 0),
            Operation::Sync => {}
        }
    }

    /// Returns the part of a write that reaches the disk if the power fails during it.
    fn torn(&self) -> Operation {
        match self {
            Operation::Write(offset, data) => {
                Operation::Write(*offset, data[..fastrand::usize(..=data.len())].to_vec())
            }
            other => other.clone(),
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.state().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let state = self.state();
        let found = state.0.get(offset..offset + out.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.apply(Operation::SetLength(usize::try_from(len).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.apply(Operation::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.apply(Operation::Write(usize::try_from(offset).unwrap(), data.to_vec()));
        Ok(())
    }
}

/// Returns a batch with the entry `id`, and with a bookmark of this id.
fn batch(id: u64) -> Batch {
    let reason = "no answer ".repeat(usize::try_from(id % 40).unwrap());
    let event = Event::Status(Status { state: FeedState::Stale, since: TickId::ZERO, reason });
    let entries = vec![Entry { id: TickId::from_ms(id), prev: TickId::from_ms(id - 1), event }];
    let clients = vec![("a".to_owned(), TickId::from_ms(id))];
    let (now, floor) = (TickId::from_ms(id), TickId::from_ms(id.saturating_sub(50)));
    let audits = vec![(TickId::from_ms(id), Arc::from(r#"{"inputs":[]}"#))];
    Batch { entries, audits, clients, now, floor, retention: None }
}

fn ids(file: &FeedFile) -> Vec<u64> {
    let entries = file.range(TickId::ZERO, TickId::from_ms(u64::MAX), usize::MAX).unwrap();
    entries.iter().map(|entry| entry.id.ms()).collect()
}

/// The power fails after each operation of 100 writes. Each operation since the last synchronisation then reaches the
/// disk wholly, in part or not at all. Before each synchronisation, the test also tries every case in which exactly one
/// of these operations is lost.
#[test]
fn power_failure_loses_no_saved_entry() {
    let recorder = Recorder::default();
    let file = FeedFile::open_storage(recorder.clone()).unwrap();
    // The number of operations after which each entry is saved.
    let mut saved = vec![recorder.state().1.len()];
    for id in 1..=100 {
        file.save(&batch(id)).unwrap();
        saved.push(recorder.state().1.len());
    }
    let operations = recorder.state().1.clone();
    assert!(operations[saved[0]..].iter().any(|operation| matches!(operation, Operation::SetLength(_))));
    let seed = fastrand::u64(..);
    fastrand::seed(seed);
    let (mut durable, mut since) = (Vec::new(), 0);
    for (done, operation) in operations.iter().enumerate() {
        let is_sync = matches!(operation, Operation::Sync);
        let pending = &operations[since..done];
        if done >= saved[0] {
            let newest = u64::try_from(saved.iter().take_while(|end| **end <= done).count()).unwrap() - 1;
            let mut image = durable.clone();
            for operation in pending {
                match fastrand::u8(..4) {
                    0 => {}
                    1 => operation.torn().apply(&mut image),
                    _ => operation.apply(&mut image),
                }
            }
            check_saved(image, newest, &format!("seed {seed}, operation {done}"));
            for lost in (0..pending.len()).filter(|_| is_sync) {
                let mut image = durable.clone();
                let (before, after) = (&pending[..lost], &pending[lost + 1..]);
                before.iter().chain(after).for_each(|operation| operation.apply(&mut image));
                check_saved(image, newest, &format!("all operations before {done} except {}", since + lost));
            }
        }
        if is_sync {
            for operation in pending {
                operation.apply(&mut durable);
            }
            since = done;
        }
    }
}

/// Checks that the file after a power failure ends with the entry `newest` or the next one, and can be used.
fn check_saved(image: Vec<u8>, newest: u64, why: &str) {
    let why = format!("{why}, entry {newest} was saved");
    let file = FeedFile::open_storage(Recorder::of(image)).unwrap_or_else(|error| panic!("{why}: {error:#}"));
    let ids = ids(&file);
    let last = ids.last().copied().unwrap_or_default();
    assert!(last == newest || last == newest + 1, "{why}: {ids:?}");
    assert!(ids.iter().copied().eq(last.saturating_sub(50).max(1)..=last), "{why}: {ids:?}");
    let bookmark = file.client("a", TickId::ZERO).unwrap().unwrap_or_default();
    assert_eq!(bookmark.ms(), last, "{why}");
    file.save(&batch(last + 1)).unwrap();
    assert_eq!(file.extent().unwrap().3.ms(), last + 1, "{why}");
}

/// Each page of the file is overwritten in turn, and the file is cut before each page.
#[test]
fn damaged_file_is_an_error_and_no_panic() {
    let recorder = Recorder::default();
    let file = FeedFile::open_storage(recorder.clone()).unwrap();
    for id in 1..=100 {
        file.save(&batch(id)).unwrap();
    }
    let whole = ids(&file);
    file.close();
    let bytes = recorder.state().0.clone();
    let use_it = |image: Vec<u8>| {
        let file = FeedFile::open_storage(Recorder::of(image))?;
        let entries = file.range(TickId::ZERO, TickId::from_ms(u64::MAX), usize::MAX);
        let saved = file.save(&batch(101));
        file.close();
        saved?;
        entries.map(|entries| entries.iter().map(|entry| entry.id.ms()).collect::<Vec<_>>())
    };
    assert_eq!(use_it(bytes.clone()).unwrap(), whole);
    let (mut errors, step) = (0, 4096);
    for at in (0..bytes.len()).step_by(step) {
        let mut image = bytes.clone();
        image[at..(at + step).min(bytes.len())].fill(0x5a);
        errors += u32::from(use_it(image).is_err());
        errors += u32::from(use_it(bytes[..at].to_vec()).is_err() && at > 0);
    }
    assert!(errors > 0);
}

#[test]
fn interrupted_creation_is_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("feed.redb");
    // redb writes the beginning of a new file last.
    fs::write(path.with_extension("new"), [0; 5000]).unwrap();
    let file = FeedFile::open(&path).unwrap();
    file.save(&batch(1)).unwrap();
    file.close();
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["feed.redb"]);
    assert_eq!(ids(&FeedFile::open(&path).unwrap()), [1]);
}

#[test]
fn foreign_file_is_named_and_left_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "something else".repeat(1000)).unwrap();
    let error = format!("{:#}", FeedFile::open(file.path()).err().unwrap());
    let path = file.path();
    let expected = "restore a backup of it or move it away: the file is damaged, or it is not a file of btcfeed";
    assert_eq!(error, format!("cannot use {}, {expected}", path.display()));
    assert_eq!(fs::read(path).unwrap().len(), 14000);
}

#[test]
fn newer_version_of_the_file_is_refused() {
    let recorder = Recorder::default();
    let file = FeedFile::open_storage(recorder.clone()).unwrap();
    let writing = file.begin_write().unwrap();
    writing.open_table(ABOUT).unwrap().insert(VERSION, 2).unwrap();
    writing.commit().unwrap();
    file.close();
    let error = FeedFile::open_storage(recorder).err().unwrap().to_string();
    assert_eq!(error, "it has version 2, and this program expects version 1: use a newer btcfeed");
}

#[test]
fn file_of_an_older_version_gets_its_new_table() {
    let recorder = Recorder::default();
    let file = FeedFile::open_storage(recorder.clone()).unwrap();
    file.save(&batch(1)).unwrap();
    let writing = file.begin_write().unwrap();
    writing.delete_table(TableDefinition::<u64, &str>::new("audits")).unwrap();
    writing.commit().unwrap();
    file.close();
    let file = FeedFile::open_storage(recorder).unwrap();
    assert_eq!(file.audits(TickId::ZERO, TickId::from_ms(9), 9).unwrap(), []);
    file.save(&batch(2)).unwrap();
    assert_eq!(file.audits(TickId::ZERO, TickId::from_ms(9), 9).unwrap()[0].id, TickId::from_ms(2));
    assert_eq!(ids(&file), [1, 2]);
}

#[test]
fn expired_rows_are_deleted_in_several_writes() {
    let file = FeedFile::open_storage(Recorder::default()).unwrap();
    let entries = (1..=1200).flat_map(|id| batch(id).entries).collect();
    let audits = (1..=1200).flat_map(|id| batch(id).audits).collect();
    let clients = (0..1200).map(|name| (name.to_string(), TickId::from_ms(1))).collect();
    file.save(&Batch { entries, audits, clients, now: TickId::from_ms(1100), ..Batch::default() }).unwrap();
    let expired = |id| Batch { floor: TickId::from_ms(1101), ..batch(id) };
    let left = [2000, 2001, 2002].map(|id| {
        file.save(&expired(id)).unwrap();
        let audits = file.audits(TickId::ZERO, TickId::from_ms(u64::MAX), usize::MAX).unwrap();
        (ids(&file).len(), audits.len())
    });
    assert_eq!(left, [(701, 701), (202, 202), (103, 103)]);
    let client = |name| file.client(name, TickId::ZERO).unwrap();
    assert_eq!((client("0"), client("1199"), client("a")), (None, None, Some(TickId::from_ms(2002))));
}
