//! A gRPC client that is generated for the tests. It converts messages to the JSON of the other transports.

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

/// Connects to a server. Each call on the connection has its own stream.
pub async fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    soon("a connection", endpoint.connect()).await.unwrap_or_else(|error| panic!("{address}: {error:?}"))
}

/// Returns a client with a connection of its own.
pub async fn client(address: &str) -> PriceFeedClient<Channel> {
    PriceFeedClient::new(channel(address).await)
}

/// Returns a request for updates in these currencies, beginning at `start`.
pub fn request(currencies: &[&str], start: Option<Start>) -> SubscribeRequest {
    let currencies = currencies.iter().map(ToString::to_string).collect();
    SubscribeRequest { currencies, start, ..SubscribeRequest::default() }
}

/// A subscription that is being read.
pub struct Subscriber(Streaming<pb::SubscribeResponse>);

impl Subscriber {
    /// Subscribes on the connection of `client`.
    pub async fn new(client: &PriceFeedClient<Channel>, request: SubscribeRequest) -> Subscriber {
        let answer = soon("an answer", client.clone().subscribe(request)).await;
        Subscriber(answer.expect("an answer").into_inner())
    }

    /// Subscribes on a connection of its own.
    pub async fn connect(address: &str, request: SubscribeRequest) -> Subscriber {
        Subscriber::new(&client(address).await, request).await
    }

    /// Returns the next update, or the status with which the stream ends.
    pub async fn next(&mut self) -> Result<Update, Status> {
        let message = soon("an update", self.0.message()).await?;
        Ok(message.expect("a stream never ends with OK").update.expect("an update that is known"))
    }

    /// Returns the next update as JSON in full format.
    pub async fn json(&mut self) -> Value {
        json(&self.next().await.expect("an update"))
    }

    /// Returns the next `count` ticks and statuses. Only `synced` may come between them.
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

    /// Reads up to the end, and returns the code and the message of the status.
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

/// Converts an update to JSON in full format.
pub fn json(update: &Update) -> Value {
    match update {
        Update::Tick(tick) => {
            let price = |price: &pb::Price| (price.currency.clone(), price.value.parse::<f64>().unwrap().into());
            let sources = |price: &pb::Price| (price.currency.clone(), json!(price.sources));
            let mut json = json!({
                "type": "tick", "id": tick.id, "prev": tick.prev, "timedate": timedate(tick.time),
                "prices": tick.prices.iter().map(price).collect::<serde_json::Map<_, _>>(),
                "sources": tick.prices.iter().map(sources).collect::<serde_json::Map<_, _>>(),
            });
            if tick.method > 0 {
                let amounts = |of: fn(&pb::Price) -> &String| {
                    let amount =
                        |price: &pb::Price| Some((price.currency.clone(), of(price).parse::<f64>().ok()?.into()));
                    tick.prices.iter().filter_map(amount).collect::<serde_json::Map<_, _>>()
                };
                json["method"] = tick.method.into();
                for (name, of) in
                    [("confidence", amounts(|price| &price.confidence)), ("spread", amounts(|price| &price.spread))]
                {
                    if !of.is_empty() {
                        json[name] = of.into();
                    }
                }
            }
            json
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
