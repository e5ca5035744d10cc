//! Helpers for tests of the SDK.

use super::soon;
use btcfeed::client::{Error, TickUpdate, Transport, Update, Updates};

/// All transports.
pub const TRANSPORTS: [Transport; 3] = [Transport::WebSocket, Transport::Sse, Transport::Grpc];

/// Returns the next update. An error fails the test.
pub async fn next(updates: &mut Updates) -> Update {
    soon("an update", updates.next()).await.expect("the stream continues").expect("no error")
}

/// Returns the next tick, and skips everything before it.
pub async fn tick(updates: &mut Updates) -> TickUpdate {
    loop {
        if let Update::Tick(tick) = next(updates).await {
            return tick;
        }
    }
}

/// Returns the error that ends a subscription.
pub async fn end(updates: &mut Updates) -> Error {
    let error = loop {
        match soon("the end", updates.next()).await.expect("an error comes before the end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(updates.next().await.is_none(), "the stream ends after an error");
    error
}
