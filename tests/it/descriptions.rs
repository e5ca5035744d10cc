//! AsyncAPI against running streams: it describes every message, and the close codes of a stop and of a violation.

use crate::support::client::Client;
use crate::support::description::Description;
use crate::support::embedded;
use crate::support::events::Events;
use crate::support::exchange::{Exchange, Mode};
use crate::support::replica::Replica;
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use tokio_tungstenite::tungstenite::Message;

const CURRENCIES: [&str; 5] = ["", "currency=USD", "currency=EUR", "currency=USD,EUR", "currencies=usd&currencies=eur"];
const FORMATS: [&str; 4] = ["timedate", "timestamp", "full", "audit"];

async fn description(replica: &Replica) -> Description {
    Description { openapi: replica.json("/openapi.json").await, asyncapi: replica.json("/asyncapi.json").await }
}

/// Causes an outage of all exchanges, and reads a WebSocket until the feed is live again. Returns the names of the
/// messages.
async fn messages_of_an_outage(
    client: &mut Client,
    description: &Description,
    exchange: &Exchange,
) -> BTreeSet<String> {
    exchange.set_all(&Mode::Silent);
    let mut messages = Vec::new();
    loop {
        messages.push(client.json().await);
        match messages.last().unwrap()["state"].as_str() {
            Some("down") => exchange.set_all(&Mode::Good),
            Some("live") if messages.iter().any(|message| message["state"] == "down") => break,
            _ => {}
        }
    }
    messages.iter().map(|message| description.name("websocket", message)).collect()
}

#[tokio::test]
async fn every_message_is_described_and_occurs() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_STALE_AFTER", "500ms"), ("BTCFEED_DOWN_AFTER", "1s")];
    let mut replica = embedded(&exchange, &settings).await;
    replica.priced().await;
    let description = description(&replica).await;
    let url = format!("http://{}/v1/prices/stream", replica.address);
    let mut seen: [BTreeSet<String>; 2] = Default::default();
    for currency in CURRENCIES {
        for format in FORMATS {
            let query = format!("{currency}&format={format}&since=0");
            let mut client = replica.connect(&query).await;
            let mut events = Events::connect(&format!("{url}?{query}"), &[]).await;
            for _ in 0..4 {
                seen[0].insert(description.name("websocket", &client.json().await));
                seen[1].insert(description.event_name(&events.event().await));
            }
        }
    }
    let query = "format=full&hello=true&since=0&limit=1&currency=USD,EUR";
    let mut client = replica.connect(query).await;
    let mut events = Events::connect(&format!("{url}?{query}"), &[]).await;
    seen[0].extend(messages_of_an_outage(&mut client, &description, &exchange).await);
    replica.signal(Signal::TERM);
    let close = client.closed().await;
    let code = json!({"code": u16::from(close.code), "reason": close.reason.as_str(), "come_back": true});
    let codes = &description.asyncapi["channels"]["websocket"]["x-close-codes"];
    assert!(codes.as_array().unwrap().contains(&code), "{code} is not among {codes}");
    while let Some(event) = events.block().await {
        if event.data.is_some() {
            seen[1].insert(description.event_name(&event));
        }
    }
    assert_eq!(seen, [description.messages("websocket"), description.messages("events")]);
    replica.exit().await;
}

#[tokio::test]
async fn close_code_of_a_violation_is_described() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let description = description(&replica).await;
    let mut client = replica.connect("").await;
    client.send(Message::text("x".repeat(5000))).await;
    let close = client.closed().await;
    let codes = description.asyncapi["channels"]["websocket"]["x-close-codes"].as_array().unwrap();
    let found = codes.iter().find(|code| code["code"] == u16::from(close.code)).expect("a described code");
    assert_eq!((found["reason"].as_str(), &found["come_back"]), (Some(close.reason.as_str()), &json!(false)));
}
