//! A reader of server-sent events that shares no code with the server.

use super::{http, soon};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use serde_json::Value;

/// An event as an `EventSource` dispatches it, or a block of lines without an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    pub name: Option<String>,
    pub id: Option<String>,
    pub data: Option<String>,
    pub retry: Option<u64>,
    pub comment: Option<String>,
}

impl Event {
    /// Parses a block of lines without the empty line at its end.
    pub fn parse(block: &str) -> Event {
        let mut event = Event::default();
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
            let value = Some(value.strip_prefix(' ').unwrap_or(value).to_owned());
            match field {
                "" => event.comment = value,
                "event" => event.name = value,
                "id" => event.id = value,
                "data" => event.data = value,
                "retry" => event.retry = value.and_then(|ms| ms.parse().ok()),
                _ => panic!("unknown field: {line:?}"),
            }
        }
        event
    }

    /// Returns the data as JSON.
    pub fn json(&self) -> Value {
        let data = self.data.as_deref().unwrap_or_else(|| panic!("no data: {self:?}"));
        serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))
    }
}

/// An event stream that is being read.
pub struct Events {
    chunks: BoxStream<'static, Result<Bytes, ()>>,
    buffer: String,
}

impl Events {
    /// Requests a stream with these headers. The response must have status 200.
    pub async fn connect(url: &str, headers: &[(&str, &str)]) -> Events {
        let mut request = http().get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = soon(url, request.send()).await.unwrap();
        assert_eq!(response.status(), 200, "{url}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events::read(response.bytes_stream().map(|chunk| chunk.map_err(drop)))
    }

    /// Reads a stream of bytes.
    pub fn read(chunks: impl Stream<Item = Result<Bytes, ()>> + Send + 'static) -> Events {
        Events { chunks: chunks.boxed(), buffer: String::new() }
    }

    /// Returns the next block of lines of any kind, or `None` when the stream has ended or broken.
    pub async fn block(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let event = Event::parse(block);
                self.buffer = rest.to_owned();
                return Some(event);
            }
            let chunk = soon("an event", self.chunks.next()).await?.ok()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Returns the next event with data.
    pub async fn event(&mut self) -> Event {
        self.find("an event with data", |_| true).await
    }

    /// Returns the next price. A tick may have one for each currency.
    pub async fn update(&mut self) -> Event {
        self.find("an update", |event| event.name.is_none()).await
    }

    /// Returns the next event with this name.
    pub async fn named(&mut self, name: &str) -> Event {
        self.find(name, |event| event.name.as_deref() == Some(name)).await
    }

    /// Returns the next event with data for which `wanted` is true. Comments do not extend the deadline.
    async fn find(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let find = async {
            loop {
                match self.block().await {
                    Some(event) if event.data.is_some() && wanted(&event) => return event,
                    Some(_) => {}
                    None => panic!("the stream ended before {what}"),
                }
            }
        };
        soon(what, find).await
    }
}
