//! The writable feed and its lease, behind one trait.
//!
//! [`Store`] states what every store promises. [`Memory`] and [`Disk`] serve one process, [`Redis`] any number of
//! replicas.

mod contract;
mod disk;
mod entry;
mod kind;
mod local;
mod memory;
mod portable;
mod reckoning;
mod redis;

pub use contract::{
    Claim, EntryStream, HISTORY_READERS, Lease, Members, MessageStream, Options, Record, ReplicaBeat, Result, Store,
    StoreError,
};
pub use disk::{Disk, InUse};
pub use entry::MAX_AHEAD;
pub use kind::PriceKind;
pub use memory::Memory;
pub use portable::{Portable, Summary};
pub(crate) use reckoning::moment_at;
pub use reckoning::{MAX_CLOCK_ERROR, Reckoning};
pub use redis::{Inspection, InvalidUrl, Redis, RedisOptions, RedisTls, RedisTlsError};
