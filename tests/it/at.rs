//! `btcfeed at`, and the price at a moment in the Rust SDK.

use crate::support::exchange::Exchange;
use crate::support::ports::free_address;
use crate::support::program::program;
use crate::support::{embedded, entries, soon, tick};
use btcfeed::client::{Client, Error, Transport};
use btcfeed::tick::{Currency, TickId};
use std::process::Output;
use std::time::Duration;

async fn at(arguments: &[&str]) -> Output {
    soon("the price", program().arg("at").args(arguments).output()).await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn price_at_a_moment_is_printed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    // The average of `--window` needs a second of prices before the tick.
    let ticks = entries(&mut replica.connect("format=full&currency=USD,EUR&since=0").await, 8).await;
    let tick = &ticks[7];
    let (id, price) = (tick["id"].to_string(), tick["prices"]["USD"].to_string());
    let printed = at(&[&id, &replica.address, "--currency", "USD,EUR", "--window", "1s"]).await;
    let lines: Vec<_> = text(&printed.stdout).lines().collect();
    assert_eq!((printed.status.code(), lines.len()), (Some(0), 4), "{printed:?}");
    assert!(lines[0].starts_with("USD ") && lines[0].ends_with(&format!("(id {id}, 0 s before)")), "{lines:?}");
    assert_eq!(lines[0].split(' ').nth(1).unwrap().parse::<f64>().unwrap().to_string(), price);
    assert!(lines[1].contains(" on average over 1s, of which ") && lines[2].starts_with("EUR "), "{lines:?}");
    let unused = free_address();
    for (arguments, code, error) in [
        (&["2020-01-01", &replica.address][..], 1, "btcfeed: no price in USD at 2020-01-01T00:00:00.000Z: "),
        (&[&id, &replica.address, "--currency", "GBP"], 2, r#"btcfeed: invalid currency "GBP": expected USD or EUR"#),
        (&[&id, &replica.address, "--window", "2h"], 2, r#"btcfeed: invalid window "7200000ms": expected"#),
        (&["soon", &replica.address], 2, "'soon' for '<TIME>': expected a time before now (10m)"),
        (&["1m", &unused], 1, "connection refused"),
    ] {
        let ended = at(arguments).await;
        assert_eq!((ended.status.code(), text(&ended.stdout)), (Some(code), ""), "{arguments:?}: {ended:?}");
        assert!(text(&ended.stderr).contains(error), "{arguments:?}: {}", text(&ended.stderr));
    }
}

#[tokio::test]
async fn sdk_reads_the_price_at_a_moment() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let tick = tick(&mut replica.connect("format=full").await).await;
    let id = TickId::from_ms(tick["id"].as_u64().unwrap());
    for transport in [Transport::WebSocket, Transport::Grpc] {
        // The first address does not answer.
        let client = Client::builder(&free_address()).also_at(&replica.address).transport(transport);
        let client = client.currencies([Currency::Usd, Currency::Eur]).build().unwrap();
        let prices = client.prices_at(Some(id), Some(Duration::from_secs(1))).await.unwrap();
        assert_eq!((prices.len(), prices[0].currency, prices[0].id), (2, Currency::Usd, Some(id)));
        assert_eq!(prices[0].age, Some(Duration::ZERO));
        assert!(prices[1].covered.is_some_and(|share| (0.0..=1.0).contains(&share)));
        assert!(client.prices_at(None, None).await.unwrap()[0].price.is_some());
        let none = client.prices_at(Some(TickId::FIRST_DAY), None).await.unwrap_err();
        assert!(matches!(&none, Error::Refused { status: 404, .. }), "{none}");
    }
    let absent = Client::new(&free_address()).unwrap().prices_at(None, None).await.unwrap_err();
    assert!(matches!(&absent, Error::Unavailable(why) if why.contains("connection refused")), "{absent}");
}
