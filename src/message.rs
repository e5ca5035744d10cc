//! The messages that clients read as JSON, each defined once.
//!
//! A derive writes a message (`Serialize`), another reads it (`Deserialize`), and with the feature `server` a third one
//! describes it (`ToSchema`). So what the server sends, what the SDK understands and what `/openapi.json` says cannot
//! differ. The server writes messages that borrow from the entry they are made of; what is read owns its text.
//!
//! - **A price keeps the digits of the market**: [`ExactPrice`] is never a float on its way.
//! - **Readers are tolerant**: they skip fields and currencies that they do not know, and keep words that they do not know
//!   as they are ([`Word`]). A newer server may say more.
//! - Names, order of fields and digits are the contract with clients: the tests of [`encode`](crate::encode) compare bytes.

mod body;
mod by_currency;
mod candles;
#[cfg(feature = "grpc")]
pub(crate) mod pb;
mod price;
#[cfg(feature = "server")]
mod schema;
mod stream;
mod timedate;
mod update;
mod word;

#[cfg(feature = "server")]
pub(crate) use body::text_around_list;
pub use body::{HistoryLine, HistoryPage, Latest, ProblemDetails};
pub use by_currency::ByCurrency;
pub use candles::{CandleGap, CandleMessage, CandlePrices, CandlesPage, ExactOhlc};
pub use price::ExactPrice;
pub use stream::{
    GapMessage, GapType, GoodbyeMessage, GoodbyeReason, GoodbyeType, HelloMessage, HelloType, Prices, Sources,
    StatusMessage, StatusType, SyncedMessage, SyncedType, TickMessage, TickType,
};
pub use timedate::Timedate;
pub use update::{PriceUpdate, TimedateUpdate, TimestampUpdate};
pub use word::Word;
