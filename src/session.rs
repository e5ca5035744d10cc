//! One client: its cursor over the hub, its options, its limits and its close reason. The rules are the same for every
//! transport.
//!
//! The files in layer order: each uses only those before it.
//!
//! | module | what it is |
//! |---|---|
//! | `close_reason` | the reasons why the server closes a stream |
//! | `limits` | limits of a client |
//! | `bookmarks` | the last id that was sent to each `client_id` |
//! | `traffic` | counts of the updates and bytes that clients are sent |
//! | `start_point` | the place after which a client reads |
//! | `throttle` | picks the ticks for a client that asked for fewer |
//! | `thinned_pages` | pages of history that throttled clients share |
//! | `cursor` | the session: one client's position in the feed |
//! | `subscription` | a client's options, and the session made from them |

mod bookmarks;
mod close_reason;
mod cursor;
mod limits;
mod start_point;
mod subscription;
mod thinned_pages;
mod throttle;
mod traffic;

pub use bookmarks::{BadClientId, Bookmark, Bookmarks, ClientId};
pub(crate) use close_reason::RETRY_MS;
pub use close_reason::{CLOSE_DEADLINE, CloseReason};
pub use cursor::{Session, Step};
pub use limits::Limits;
pub use start_point::StartPoint;
pub use subscription::{EVERY, OpenError, REPLAY_LIMIT, Sessions, Subscription, every_range};
pub use throttle::ThrottleOptions;
pub(crate) use traffic::{ClientGuard, Counts, StreamTransport};
