//! Unary gRPC calls, and the errors of all calls.

use super::server::{TestServer, both, history, ids, ticks};
use crate::support::grpc::{pb, request};
use axum::Router;
use pb::price_feed_client::PriceFeedClient;
use prost_types::Timestamp;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

fn client(server: &TestServer) -> PriceFeedClient<Router> {
    PriceFeedClient::new(server.router.clone())
}

fn timestamp(ms: u64) -> Timestamp {
    Timestamp { seconds: (ms / 1000) as i64, nanos: (ms % 1000) as i32 * 1_000_000 }
}

#[tokio::test]
async fn price_keeps_its_digits() {
    let server = TestServer::with(&[], &history([both("97116.170", "89348.5")])).await;
    let currencies = vec!["EUR".to_owned(), "USD".to_owned()];
    let latest = client(&server).get_latest(pb::GetLatestRequest { currencies }).await.unwrap().into_inner();
    let price = |currency: &str, value: &str, sources: &[&str]| pb::Price {
        currency: currency.to_owned(),
        value: value.to_owned(),
        sources: sources.iter().map(ToString::to_string).collect(),
        ..pb::Price::default()
    };
    let expected = [price("USD", "97116.170", &["coinbase", "kraken"]), price("EUR", "89348.5", &["kraken"])];
    assert_eq!(latest.tick.unwrap().prices, expected);
}

#[tokio::test]
async fn invalid_fields_are_all_reported() {
    let server = TestServer::with(&[], &ticks(1)).await;
    let mut client = client(&server);
    let invalid = pb::SubscribeRequest {
        currencies: vec!["USD".to_owned(), "GBP".to_owned()],
        start: Some(pb::subscribe_request::Start::Since(Timestamp { seconds: -1, nanos: 0 })),
        every: Some(prost_types::Duration { seconds: 0, nanos: 1 }),
        limit: 10_001,
        client_id: "a b".to_owned(),
        ..pb::SubscribeRequest::default()
    };
    let status = client.subscribe(invalid).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.clone()).collect();
    assert_eq!(fields, ["currencies[1]", "since", "every", "limit", "client_id"]);

    let latest = client.get_latest(pb::GetLatestRequest { currencies: vec!["XBT".to_owned()] }).await.unwrap_err();
    let invalid = pb::ListPricesRequest { page_size: -1, page_token: "x".to_owned(), ..Default::default() };
    let list = client.list_prices(invalid).await.unwrap_err();
    assert_eq!((latest.code(), list.code()), (Code::InvalidArgument, Code::InvalidArgument));
    let messages = [status, latest, list].map(|status| status.message().replace("; ", "\n"));
    assert_reviewed!("grpc_problems", messages.join("\n\n"));
}

#[tokio::test]
async fn oversized_request_is_rejected() {
    let server = TestServer::with(&[], &ticks(1)).await;
    let mut client = client(&server);
    let latest = pb::GetLatestRequest { currencies: vec!["USD".to_owned(); 2000] };
    assert_eq!(client.get_latest(latest).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(client.subscribe(request(&["USD"; 2000], None)).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn pages_contain_the_whole_history() {
    let entries = ticks(2300);
    let ids = ids(&entries);
    let server = TestServer::with(&[("BTCFEED_WINDOW", "100")], &entries).await;
    let mut client = client(&server);
    let mut request = pb::ListPricesRequest { until: Some(timestamp(ids[2299])), ..Default::default() };
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = client.list_prices(request.clone()).await.unwrap().into_inner();
        sizes.push(page.entries.len());
        found.extend(page.entries.into_iter().map(|entry| match entry.entry.unwrap() {
            pb::entry::Entry::Tick(tick) => tick.id,
            other => panic!("not a tick: {other:?}"),
        }));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!((&found, &sizes[..]), (&ids, &[1000, 1000, 300][..]));
    // A part of the history that starts after an unknown id begins with a gap.
    request = pb::ListPricesRequest {
        start: Some(pb::list_prices_request::Start::After(ids[10] - 1)),
        until: Some(timestamp(ids[12])),
        page_size: 9,
        ..request
    };
    let page = client.list_prices(request).await.unwrap().into_inner();
    let [gap, ticks @ ..] = &page.entries[..] else { panic!("{page:?}") };
    let Some(pb::entry::Entry::Gap(gap)) = &gap.entry else { panic!("{gap:?}") };
    assert_eq!((gap.reason(), gap.before), (pb::GapReason::HistoryLost, ids[10]));
    assert!(ticks.len() == 3 && page.next_page_token.is_empty());
}

#[tokio::test]
async fn unprimed_server_is_unavailable() {
    let server = TestServer::unprimed(&[], &[]).await;
    let mut client = client(&server);
    let status = client.subscribe(request(&[], None)).await.unwrap_err();
    assert!(status.code() == Code::Unavailable && status.message().contains("not read the history"), "{status:?}");
    assert_eq!(client.get_latest(pb::GetLatestRequest::default()).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(client.list_prices(pb::ListPricesRequest::default()).await.unwrap_err().code(), Code::Unavailable);
    let health = HealthClient::new(server.router.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status().as_str_name(), "NOT_SERVING");
}

#[tokio::test]
async fn list_begins_with_the_newest_on_request() {
    let entries = ticks(250);
    let server = TestServer::with(&[("BTCFEED_WINDOW", "100")], &entries).await;
    let (mut client, mut read, mut pages, mut page_token) = (client(&server), Vec::new(), 0, String::new());
    loop {
        let request = pb::ListPricesRequest { page_size: 100, newest_first: true, page_token, ..Default::default() };
        let page = client.list_prices(request).await.unwrap().into_inner();
        let ids = page.entries.into_iter().map(|entry| match entry.entry {
            Some(pb::entry::Entry::Tick(tick)) => tick.id,
            other => panic!("{other:?}"),
        });
        read.extend(ids);
        (pages, page_token) = (pages + 1, page.next_page_token);
        if page_token.is_empty() {
            break;
        }
    }
    let mut expected = ids(&entries);
    expected.reverse();
    assert_eq!((read, pages), (expected, 3));
}

#[tokio::test]
async fn gzip_is_accepted_and_sent() {
    let server = TestServer::with(&[], &ticks(100)).await;
    let mut client = client(&server).send_compressed(CompressionEncoding::Gzip);
    let request = pb::ListPricesRequest { currencies: vec!["USD".to_owned()], ..Default::default() };
    let plain = client.list_prices(request.clone()).await.unwrap();
    assert!(plain.metadata().get("grpc-encoding").is_none(), "the client does not accept gzip");
    let mut client = client.accept_compressed(CompressionEncoding::Gzip);
    let page = client.list_prices(request).await.unwrap();
    assert_eq!(page.metadata().get("grpc-encoding").unwrap(), "gzip");
    assert_eq!((page.get_ref().entries.len(), page.into_inner()), (100, plain.into_inner()));
    let mut stream = client.subscribe(pb::SubscribeRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some(), "streams accept compressed requests too");
}

#[tokio::test]
async fn decompressed_request_has_a_limit() {
    let server = TestServer::with(&[], &ticks(1)).await;
    let mut client = client(&server).send_compressed(CompressionEncoding::Gzip);
    // A message of 1 MiB, which gzip packs into about 1 KiB.
    let currencies = vec!["A".repeat(1 << 20)];
    let latest = client.get_latest(pb::GetLatestRequest { currencies: currencies.clone() }).await.unwrap_err();
    let list = client.list_prices(pb::ListPricesRequest { currencies: currencies.clone(), ..Default::default() }).await;
    let stream = client.subscribe(pb::SubscribeRequest { currencies, ..Default::default() }).await;
    for status in [latest, list.unwrap_err(), stream.unwrap_err()] {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains("4096 bytes"), "{status:?}");
    }
}
