//! The SDK: a feed as a stream that continues after lost connections.
//!
//! A [`Client`] has the address of a feed and the options of a subscription. [`Client::subscribe`] returns a
//! [`Stream`](futures_util::Stream) of [`Update`]s:
//!
//! - If a connection ends, hangs or is temporarily refused, the stream connects again. The pauses between attempts
//!   grow, and they are random, so that clients do not all reconnect at the same moment. Each attempt continues after
//!   the last id that was returned, so nothing is missing.
//! - Duplicates are dropped. If an entry does not continue the entry before it, and the server has not reported that,
//!   the stream reports a [gap](Update::Gap).
//! - With [`Builder::redundancy`], several replicas are read at once, and nothing is late if one of them fails.
//! - Message types and fields that this version does not know are skipped.
//! - The stream ends only if the server would refuse the next attempt too, for example because a parameter is invalid.
//!   Its last item is then an [`Error`].
//!
//! ```no_run
//! use btcfeed::client::{Client, Start, Update};
//! use btcfeed::tick::Currency;
//!
//! # async fn example() -> Result<(), btcfeed::client::Error> {
//! let client = Client::builder("http://localhost:8080")
//!     .currencies([Currency::Usd, Currency::Eur])
//!     .start(Start::Latest)
//!     .build()?;
//! let mut updates = client.subscribe();
//! while let Some(update) = updates.next().await {
//!     match update? {
//!         Update::Tick(tick) => println!("{} {:?}", tick.id.timedate(), tick.prices),
//!         Update::Gap(gap) => println!("missing between {} and {}: {}", gap.after, gap.before, gap.reason),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! To continue in another process, keep [`Updates::last_id`] and start [after](Start::After) it.
//!
//! The files in layer order: each uses only those before it.
//!
//! | module | what it is |
//! |---|---|
//! | `error` | the reasons why a subscription ends permanently, or why a request fails |
//! | `update` | the updates that the stream returns |
//! | `transport` | WebSocket, events or gRPC |
//! | `address` | the address of a feed |
//! | `disconnect` | the reasons why a connection ends |
//! | `options` | the options of a subscription |
//! | `price_at` | the prices at a moment |
//! | `received` | the messages of a server |
//! | `http` | the HTTP client, and the errors for refused requests |
//! | `websocket`, `sse`, `grpc` | one connection over each transport |
//! | `target` | the addresses of a feed, which streams use in turn |
//! | `backoff` | pauses between attempts |
//! | `line` | one connection after the other |
//! | `cursor` | the position in the feed |
//! | `merge` | merges the entries of several lines |
//! | `healing` | reads from the history the entries that all lines lack |
//! | `statistics` | counts of a stream |
//! | `updates` | the stream |
//! | `builder` | a client and its options |

mod address;
mod backoff;
mod builder;
mod cursor;
mod disconnect;
mod error;
#[cfg(feature = "grpc")]
mod grpc;
mod healing;
mod http;
mod line;
mod merge;
mod options;
mod price_at;
mod received;
#[cfg(test)]
mod scenarios;
mod sse;
mod statistics;
mod target;
mod transport;
mod update;
mod updates;
mod websocket;

pub use crate::feed::Start;
pub use crate::tick::{Audit, Input, MethodParameters};
pub use builder::{Builder, Client};
pub use error::Error;
pub use price_at::PriceAt;
#[cfg(all(test, feature = "cli"))]
pub(crate) use price_at::parse as parse_prices_at;
pub use statistics::{AddressStatistics, Statistics};
pub use transport::Transport;
pub use update::{Connected, GapCause, GapUpdate, StatusUpdate, TickUpdate, Update};
pub use updates::Updates;
