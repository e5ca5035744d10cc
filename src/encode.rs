//! Views of the feed: the bytes of an entry in a format, for a set of currencies and in a framing.
//!
//! The hub keeps the bytes of its entries in each [`View`] that a client uses, so that they are encoded once for all
//! clients of the view.
//!
//! The files in layer order: each uses only those before it.
//!
//! | module | what it is |
//! |---|---|
//! | `format` | the content of an update |
//! | `replica` | the description of a replica in `hello` |
//! | `framing` | the bytes around a message |
//! | `json` | entries as JSON messages |
//! | `csv` | entries as rows of a table |
//! | `proto` | entries as gRPC messages |
//! | `view` | one view of the feed |

mod csv;
mod format;
mod framing;
mod json;
#[cfg(feature = "grpc")]
pub(crate) mod proto;
mod replica;
mod view;

pub use format::{Format, UnknownFormat};
pub use framing::Framing;
pub use replica::ReplicaInfo;
pub use view::View;
