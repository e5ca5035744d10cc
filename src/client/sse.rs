//! The feed as server-sent events: an answer that does not end.

mod parser;

use super::message::Message;
use super::{Connection, Event, Failure, http};
use futures_util::{StreamExt, stream};
use parser::{Line, Parser};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, StatusCode};
use std::collections::VecDeque;
use std::time::Duration;

/// Sends the request and reads its answer as events.
pub(super) async fn connect(request: RequestBuilder) -> Result<Connection, Failure> {
    let request = request.header(ACCEPT, "text/event-stream");
    let response = request.send().await.map_err(|error| Failure::caused(&error))?;
    if response.status() != StatusCode::OK {
        return Err(http::refusal(response).await);
    }
    let content = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content.to_ascii_lowercase().starts_with("text/event-stream") {
        return Err(Failure::no_feed(&format!("it answers {content:?}, not text/event-stream")));
    }
    let state = (response.bytes_stream().boxed(), Parser::default(), VecDeque::new());
    let events = stream::try_unfold(state, async |(mut bytes, mut parser, mut lines)| {
        loop {
            if let Some(line) = lines.pop_front() {
                return Ok(Some((read(line)?, (bytes, parser, lines))));
            }
            match bytes.next().await {
                // What came after the last empty line is no event: the rest of it was cut off.
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::caused(&error)),
                Some(Ok(chunk)) => {
                    parser
                        .read(&chunk, &mut |line| lines.push_back(line))
                        .map_err(|long| Failure::passing(long.to_string()))?;
                    // Also where it was no whole line.
                    lines.push_front(Line::Comment);
                }
            }
        }
    });
    Ok(events.boxed())
}

fn read(line: Line) -> Result<Event, Failure> {
    match line {
        Line::Comment => Ok(Event::Alive),
        Line::Retry(ms) => Ok(Event::Retry(Duration::from_millis(ms))),
        Line::Event(data) => {
            let message = Message::read(&data).map_err(|error| Failure::passing(error.to_string()))?;
            Ok(Event::Message(message))
        }
    }
}
