//! The messages that clients read as JSON, each defined once.
//!
//! The server writes each message (`Serialize`), the SDK reads those that it uses (`Deserialize`), and with the feature
//! `server` each is described in `/openapi.json` (`ToSchema`). All three use the same type, so they cannot differ.
//! Messages that the server writes may borrow their text. Messages that the SDK reads own it.
//!
//! - **A price keeps its exact digits**: [`ExactPrice`] is never converted to a float.
//! - **Readers are tolerant**: they skip unknown fields and currencies, and keep unknown words as they are ([`Word`]),
//!   because a newer server may send them.
//! - Names, order of fields and digits are the contract with clients: the tests of [`encode`](crate::encode) compare
//!   bytes.

mod body;
mod by_currency;
mod candles;
mod input;
mod mempool;
#[cfg(feature = "grpc")]
pub(crate) mod pb;
mod price;
mod price_at;
mod report;
#[cfg(feature = "server")]
mod schema;
mod sources;
mod stream;
mod timedate;
#[cfg(feature = "server")]
pub(crate) mod udf;
mod update;
mod word;

#[cfg(feature = "server")]
pub(crate) use body::text_around_list;
pub use body::{HistoryLine, HistoryPage, Latest, ProblemDetails};
pub use by_currency::ByCurrency;
pub use candles::{CandleMessage, CandlePrices, CandlesPage, ExactOhlc, PageGap};
pub use input::InputMessage;
#[cfg(feature = "client")]
pub(crate) use input::audit;
pub use mempool::{ExactPricesAt, ExchangeRates, HistoricalPrices, TimedPrices, WholePrices};
pub use price::{ExactAmount, ExactPrice};
pub use price_at::{PriceAtMessage, PricesAtMessage};
pub use report::{ReplicaReport, SourceReport, StatusReport, StoreReport, TickAges};
pub use sources::{PolledSource, SourceState, SourceValue, SourcesMessage};
pub use stream::{
    Amounts, GapMessage, GapType, GoodbyeMessage, GoodbyeReason, GoodbyeType, HelloMessage, HelloType, Prices, Sources,
    StatusMessage, StatusType, SyncedMessage, SyncedType, TickMessage, TickType,
};
pub use timedate::Timedate;
pub use update::{PriceUpdate, TimedateUpdate, TimestampUpdate};
pub use word::Word;
