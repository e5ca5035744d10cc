//! The stream as server-sent events: a response that does not end.

mod parser;

use super::disconnect::Disconnect;
use super::http;
use super::received::{Received, ServerEvent, ServerEvents};
use futures_util::{StreamExt, stream};
use parser::{Item, Parser};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, StatusCode};
use std::collections::VecDeque;
use std::time::Duration;

/// Sends the request and reads the response as events.
pub(super) async fn connect(request: RequestBuilder) -> Result<ServerEvents, Disconnect> {
    let request = request.header(ACCEPT, "text/event-stream");
    let response = request.send().await.map_err(|error| Disconnect::caused_by(&error))?;
    if response.status() != StatusCode::OK {
        return Err(http::refusal(response).await);
    }
    let content = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content.to_ascii_lowercase().starts_with("text/event-stream") {
        return Err(Disconnect::no_feed(&format!("it answers {content:?}, not text/event-stream")));
    }
    let state = (response.bytes_stream().boxed(), Parser::default(), VecDeque::new());
    let events = stream::try_unfold(state, async |(mut bytes, mut parser, mut items)| {
        loop {
            if let Some(item) = items.pop_front() {
                return Ok(Some((read(item)?, (bytes, parser, items))));
            }
            match bytes.next().await {
                // Data after the last empty line is not an event, because it may be incomplete.
                None => return Ok(None),
                Some(Err(error)) => return Err(Disconnect::caused_by(&error)),
                Some(Ok(chunk)) => {
                    parser
                        .read(&chunk, &mut |item| items.push_back(item))
                        .map_err(|too_long| Disconnect::retry(too_long.to_string()))?;
                    // Any data, even part of a line, shows that the server is alive.
                    items.push_front(Item::Comment);
                }
            }
        }
    });
    Ok(events.boxed())
}

fn read(item: Item) -> Result<ServerEvent, Disconnect> {
    match item {
        Item::Comment => Ok(ServerEvent::Alive),
        Item::Retry(ms) => Ok(ServerEvent::Retry(Duration::from_millis(ms))),
        Item::Event(data) => Received::read(&data).map(ServerEvent::Message),
    }
}
