//! A gRPC client that was generated for the tests, and what it gets in the words of the other doors.

use super::soon;
use pb::price_feed_client::PriceFeedClient;
use pb::subscribe_response::Update;
use pb::{FeedState, GapReason, SubscribeRequest};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

#[allow(clippy::all, dead_code, reason = "generated code")]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/client/btcfeed.v1.rs"));
}

pub use pb::subscribe_request::Start;

/// A connection: every call on it is a stream of its own.
pub async fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    soon("a connection", endpoint.connect()).await.unwrap_or_else(|error| panic!("{address}: {error:?}"))
}

pub async fn client(address: &str) -> PriceFeedClient<Channel> {
    PriceFeedClient::new(channel(address).await)
}

/// Updates in these currencies, beginning at `start`.
pub fn request(currencies: &[&str], start: Option<Start>) -> SubscribeRequest {
    let currencies = currencies.iter().map(ToString::to_string).collect();
    SubscribeRequest { currencies, start, ..SubscribeRequest::default() }
}

pub struct Subscriber(Streaming<pb::SubscribeResponse>);

impl Subscriber {
    pub async fn new(client: &PriceFeedClient<Channel>, request: SubscribeRequest) -> Subscriber {
        let answer = soon("an answer", client.clone().subscribe(request)).await;
        Subscriber(answer.expect("an answer").into_inner())
    }

    /// Subscribes on a connection of its own.
    pub async fn connect(address: &str, request: SubscribeRequest) -> Subscriber {
        Subscriber::new(&client(address).await, request).await
    }

    pub async fn next(&mut self) -> Result<Update, Status> {
        let message = soon("an update", self.0.message()).await?;
        Ok(message.expect("a stream never ends well").update.expect("an update that is known"))
    }

    /// The next update as WebSocket clients get it in full.
    pub async fn json(&mut self) -> Value {
        json(&self.next().await.expect("an update"))
    }

    /// The next `count` ticks and statuses; nothing else may come between.
    pub async fn entries(&mut self, count: usize) -> Vec<Value> {
        let mut entries = Vec::new();
        while entries.len() < count {
            let update = self.json().await;
            match update["type"].as_str() {
                Some("tick" | "status") => entries.push(update),
                Some("synced") => {}
                _ => panic!("neither tick nor status: {update}"),
            }
        }
        entries
    }

    /// Reads on to the end.
    pub async fn ended(&mut self) -> (Code, String) {
        loop {
            if let Err(status) = self.next().await {
                return (status.code(), status.message().to_owned());
            }
        }
    }
}

fn timedate(time: Option<prost_types::Timestamp>) -> String {
    let time = time.expect("a time");
    assert_eq!(time.nanos % 1_000_000, 0, "whole milliseconds");
    btcfeed::tick::TickId::from_moment(time.seconds, time.nanos).unwrap().timedate()
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).expect("a name with its prefix").to_lowercase()
}

/// An update as WebSocket clients get it in full.
pub fn json(update: &Update) -> Value {
    match update {
        Update::Tick(tick) => {
            let price = |price: &pb::Price| (price.currency.clone(), price.value.parse::<f64>().unwrap().into());
            let sources = |price: &pb::Price| (price.currency.clone(), json!(price.sources));
            json!({
                "type": "tick", "id": tick.id, "prev": tick.prev, "timedate": timedate(tick.time),
                "prices": tick.prices.iter().map(price).collect::<serde_json::Map<_, _>>(),
                "sources": tick.prices.iter().map(sources).collect::<serde_json::Map<_, _>>(),
            })
        }
        Update::Status(status) => json!({
            "type": "status", "id": status.id, "prev": status.prev, "since": timedate(status.since),
            "state": word(FeedState::try_from(status.state).unwrap().as_str_name(), "FEED_STATE_"),
            "reason": status.reason,
        }),
        Update::Gap(gap) => {
            let reason = word(GapReason::try_from(gap.reason).unwrap().as_str_name(), "GAP_REASON_");
            let mut json = json!({ "type": "gap", "after": gap.after, "before": gap.before, "reason": reason });
            if !gap.currencies.is_empty() {
                json["currencies"] = json!(gap.currencies);
            }
            json
        }
        Update::Synced(synced) => json!({ "type": "synced", "id": synced.id }),
        Update::Hello(hello) => json!({
            "type": "hello", "replica": hello.replica, "version": hello.version, "currencies": hello.currencies,
            "interval_ms": hello.interval.map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000),
            "state": word(FeedState::try_from(hello.state).unwrap().as_str_name(), "FEED_STATE_"), "reason": hello.reason,
        }),
    }
}
