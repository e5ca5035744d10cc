//! One client: a cursor over the hub, its options, its limits, its close. Every transport drives the same rules.
//!
//! In layer order, each file uses only those before it:
//!
//! | module | what it is |
//! |---|---|
//! | `close_reason` | why the server closes a stream |
//! | `limits` | what a client is allowed |
//! | `bookmarks` | where a client with a `client_id` was |
//! | `throttle` | clients that want fewer ticks |
//! | `cursor` | the session: one client's place in the feed |
//! | `subscription` | what a client asks for, and the session that it gets |

mod bookmarks;
mod close_reason;
mod cursor;
mod limits;
mod subscription;
mod throttle;

pub use bookmarks::{BadClientId, Bookmark, Bookmarks, ClientId};
pub use close_reason::{CLOSE_DEADLINE, CloseReason};
pub use cursor::{Session, Start, Step};
pub use limits::Limits;
pub use subscription::{EVERY, REPLAY_LIMIT, Sessions, Subscription, every_range};
pub use throttle::ThrottleOptions;
