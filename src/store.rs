//! The writable feed and its lease, behind one trait.
//!
//! [`Store`] states what every store promises. [`Memory`] and [`Disk`] serve one process, [`Redis`] any number of
//! replicas.

mod contract;
mod disk;
mod entry;
mod local;
mod memory;
mod portable;
mod redis;

pub use contract::{
    Claim, EntryStream, HISTORY_READERS, Lease, Members, MessageStream, Options, Record, ReplicaBeat, Result, Store,
    StoreError,
};
pub use disk::{Disk, InUse};
pub use entry::MAX_AHEAD;
pub use memory::Memory;
pub use portable::{Portable, Summary};
pub use redis::{Inspection, InvalidUrl, Redis, RedisOptions, RedisTls, RedisTlsError};
