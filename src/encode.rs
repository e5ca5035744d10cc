//! Views of the feed: format × currencies × framing → bytes, made once for each entry and shared by all clients.
//!
//! Nothing is encoded for one client. The hub keeps the bytes of its entries in each [`View`] that some client uses.
//!
//! In layer order, each file uses only those before it:
//!
//! | module | what it is |
//! |---|---|
//! | `format` | the content of an update |
//! | `replica` | what a replica says about itself |
//! | `json` | entries as JSON messages |
//! | `csv` | entries as rows of a table |
//! | `proto` | entries as gRPC messages |
//! | `framing` | what surrounds a message |
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
