//! The format `audit` of running replicas, over every transport.

use crate::support::exchange::Exchange;
use crate::support::http2::Http2;
use crate::support::sdk::{self, TRANSPORTS};
use crate::support::{embedded, http_over_2, soon, tick};
use btcfeed::client::Client;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

/// Checks that a tick has what went into its price in dollars.
fn check(tick: &Value) {
    let inputs = tick["inputs"].as_array().unwrap_or_else(|| panic!("{tick}"));
    let used: Vec<_> = inputs.iter().filter(|input| input["used"].is_number()).map(|input| &input["source"]).collect();
    let sources: Vec<_> = tick["sources"]["USD"].as_array().unwrap().iter().collect();
    assert_eq!(used, sources, "{tick}");
    assert!(tick["parameters"]["currencies"]["USD"]["min_sources"].is_number(), "{tick}");
}

#[tokio::test]
async fn inputs_reach_clients_of_every_transport() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    replica.priced().await;
    let mut over_http1 = replica.connect("format=audit").await;
    let mut over_http2 = Http2::connect(&replica.address).await.websocket("/v1/ws?format=audit").await;
    // The first tick is from the history, the others are live.
    for _ in 0..3 {
        check(&tick(&mut over_http1).await);
        let Message::Text(text) = soon("a tick", over_http2.next()).await.unwrap() else { panic!("a text") };
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "tick" {
            check(&message);
        }
    }
    let url = format!("http://{}/v1/prices/stream?format=audit", replica.address);
    let (mut events, mut text) = (http_over_2().get(url).send().await.unwrap(), String::new());
    while text.matches("\"inputs\":[{").count() < 3 {
        text.push_str(std::str::from_utf8(&soon("an event", events.chunk()).await.unwrap().unwrap()).unwrap());
    }
    for transport in TRANSPORTS {
        let client = Client::builder(&replica.address).transport(transport).audit(true).build().unwrap();
        let tick = sdk::tick(&mut client.subscribe()).await;
        let audit = tick.audit.unwrap_or_else(|| panic!("{transport:?}: no audit"));
        assert!(audit.inputs.iter().any(|input| input.used.is_some()), "{transport:?}: {audit:?}");
    }
}
