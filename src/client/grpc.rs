//! The feed over gRPC (`proto/btcfeed/v1/price_feed.proto`): one call of `Subscribe`, whose answer does not end.
//!
//! The request goes out by the HTTP client that the other transports use, so that what refuses on the way is understood the
//! same way; tonic reads the answer. HTTP/2's own pings tell whether the line is alive.

use super::failure::root;
use super::message::Message;
use super::update::{Connected, Gap, GapReason, Status, Tick};
use super::{Connection, Error, Event, Failure, MESSAGE_BYTES, Options, Start, http};
use crate::feed::FeedState;
use crate::message::pb;
use crate::tick::{Currencies, Currency, TickId};
use anyhow::Context;
use futures_util::StreamExt;
use pb::subscribe_request::Start as From;
use pb::subscribe_response::Update;
use pb::{SubscribeRequest, SubscribeResponse};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, TE};
use reqwest::{Body, RequestBuilder, StatusCode};
use std::error::Error as _;
use std::time::Duration;
use tonic::codec::{Codec, Streaming};
use tonic::{Code, codegen::http::Response};
use tonic_prost::ProstCodec;

/// What stands before a message: that it is not compressed, and its length.
const PREFIX: usize = 5;

/// Calls `Subscribe`, so as to begin at `start`.
pub(super) async fn connect(request: RequestBuilder, options: &Options, start: Start) -> Result<Connection, Failure> {
    let message = subscribe(options, start);
    let mut body = vec![0; PREFIX];
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    body[1..].copy_from_slice(&length.to_be_bytes());
    message.encode(&mut body).map_err(|error| Failure::caused(&error))?;
    let request = request.header(CONTENT_TYPE, "application/grpc").header(TE, "trailers").body(body);
    let response = request.send().await.map_err(|error| unanswered(&error))?;
    if response.status() != StatusCode::OK {
        return Err(http::refusal(response).await);
    }
    let content = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content.to_ascii_lowercase().starts_with("application/grpc") {
        return Err(Failure::no_feed(&format!("it answers {content:?}, not application/grpc")));
    }
    // A refusal is an answer that is nothing but a status.
    if let Some(status) = tonic::Status::from_header_map(response.headers()) {
        return Err(failure(&status));
    }
    let decoder = ProstCodec::<SubscribeRequest, SubscribeResponse>::default().decoder();
    let body = Response::<Body>::from(response).into_body();
    let messages = Streaming::new_response(decoder, body, StatusCode::OK, None, Some(MESSAGE_BYTES));
    Ok(messages.map(|message| message.map_err(|status| failure(&status)).and_then(read)).boxed())
}

/// Why there is no answer. Who speaks only HTTP/1 answers in words, which read as the head of a frame promise one of five
/// megabytes.
fn unanswered(error: &reqwest::Error) -> Failure {
    let reason = root(error).downcast_ref::<h2::Error>().and_then(h2::Error::reason);
    if reason == Some(h2::Reason::FRAME_SIZE_ERROR) {
        return Failure::no_feed("what answers does not speak HTTP/2");
    }
    Failure::caused(error)
}

fn subscribe(options: &Options, start: Start) -> SubscribeRequest {
    let start = match start {
        Start::Latest => None,
        Start::Since(moment) => Some(From::Since(prost_types::Timestamp {
            seconds: i64::try_from(moment.seconds()).unwrap_or(i64::MAX),
            nanos: i32::try_from(moment.ms() % 1000).unwrap_or_default() * 1_000_000,
        })),
        Start::After(id) => Some(From::After(id.ms())),
    };
    SubscribeRequest {
        currencies: options.currencies.iter().map(|currency| currency.code().to_owned()).collect(),
        start,
        changes: options.changes,
        every: options.every.and_then(|every| every.try_into().ok()),
        limit: options.limit,
        client_id: options.client_id.clone().unwrap_or_default(),
        hello: true,
    }
}

/// A status that ends the call, as the HTTP status that says the same; if the line broke, what the line says about it.
fn failure(status: &tonic::Status) -> Failure {
    if let Some(cause) = status.source() {
        return broken(cause);
    }
    let code = match status.code() {
        Code::InvalidArgument | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound | Code::Unimplemented => 404,
        code => return Failure::passing(format!("the server ended the call with {code:?}: {}", status.message())),
    };
    Failure::Final(Error::refused(code, status.message()))
}

/// Why a stream broke off. A reset is what is left of a replica that died behind a proxy; HTTP/2's words for it say more of
/// the proxy than of that.
fn broken(cause: &(dyn std::error::Error + 'static)) -> Failure {
    match root(cause).downcast_ref::<h2::Error>() {
        Some(error) if error.is_reset() => {
            let reason = error.reason().map(|reason| format!(" ({reason:?})")).unwrap_or_default();
            Failure::passing(format!("the stream was cut off{reason}"))
        }
        _ => Failure::caused(cause),
    }
}

fn read(response: SubscribeResponse) -> Result<Event, Failure> {
    let message = message(response).context("this is no message of a feed");
    message.map(Event::Message).map_err(|error| Failure::passing(format!("{error:#}")))
}

fn message(response: SubscribeResponse) -> anyhow::Result<Message> {
    let id = TickId::from_ms;
    let currencies = |codes: Vec<String>| codes.iter().filter_map(|code| code.parse().ok()).collect::<Currencies>();
    Ok(match response.update {
        None => Message::Hidden,
        Some(Update::Tick(tick)) => {
            let mut read = Tick { id: id(tick.id), prev: id(tick.prev), prices: [].into(), sources: [].into() };
            for pb::Price { currency, value, sources } in tick.prices {
                if let Ok(currency) = currency.parse::<Currency>() {
                    read.prices.insert(currency, value.parse()?);
                    read.sources.insert(currency, sources);
                }
            }
            Message::Tick(read)
        }
        Some(Update::Status(status)) => {
            let Some(state) = known_state(status.state) else {
                return Ok(Message::Unknown(Some((id(status.id), id(status.prev)))));
            };
            let since = status.since.and_then(|since| TickId::from_moment(since.seconds, since.nanos));
            let since = since.context("a status has no moment")?;
            Message::Status(Status { id: id(status.id), prev: id(status.prev), state, since, reason: status.reason })
        }
        Some(Update::Gap(gap)) => {
            let reason = match pb::GapReason::try_from(gap.reason) {
                Ok(pb::GapReason::SourceOutage) => GapReason::SourceOutage,
                Ok(pb::GapReason::HistoryExpired) => GapReason::HistoryExpired,
                Ok(pb::GapReason::HistoryLost) => GapReason::HistoryLost,
                Ok(pb::GapReason::ReplayLimit) => GapReason::ReplayLimit,
                Ok(pb::GapReason::Unspecified) | Err(_) => GapReason::Other(format!("reason {}", gap.reason)),
            };
            let currencies = Some(gap.currencies).filter(|codes| !codes.is_empty()).map(currencies);
            Message::Gap(Gap { after: id(gap.after), before: id(gap.before), reason, currencies })
        }
        Some(Update::Synced(synced)) => Message::Synced(id(synced.id)),
        Some(Update::Hello(hello)) => {
            let interval = hello.interval.and_then(|interval| Duration::try_from(interval).ok());
            let (replica, version) = (Some(hello.replica), Some(hello.version));
            let reason = Some(hello.reason).filter(|reason| !reason.is_empty());
            Message::Hello(Connected { replica, version, interval, state: known_state(hello.state), reason })
        }
    })
}

fn known_state(number: i32) -> Option<FeedState> {
    match pb::FeedState::try_from(number) {
        Ok(pb::FeedState::Live) => Some(FeedState::Live),
        Ok(pb::FeedState::Stale) => Some(FeedState::Stale),
        Ok(pb::FeedState::Down) => Some(FeedState::Down),
        Ok(pb::FeedState::Unspecified) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_refused_again_is_final() {
        for code in (1..=16).map(Code::from) {
            let last = matches!(failure(&tonic::Status::new(code, "so")), Failure::Final(_));
            let expected = [
                Code::InvalidArgument,
                Code::OutOfRange,
                Code::Unauthenticated,
                Code::PermissionDenied,
                Code::NotFound,
                Code::Unimplemented,
            ];
            assert_eq!(last, expected.contains(&code), "{code:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_no_mistake() {
        let read = |update| message(SubscribeResponse { update }).unwrap();
        assert_eq!(read(None), Message::Hidden);
        let status = pb::Status { id: 2, prev: 1, state: 99, ..pb::Status::default() };
        let place = Some((TickId::from_ms(2), TickId::from_ms(1)));
        assert_eq!(read(Some(Update::Status(status))), Message::Unknown(place));
        let gap = pb::Gap { after: 1, before: 2, reason: 99, ..pb::Gap::default() };
        let Message::Gap(gap) = read(Some(Update::Gap(gap))) else { panic!("not a gap") };
        assert_eq!((gap.reason, gap.currencies), (GapReason::Other("reason 99".into()), None));
        let price = |currency: &str| pb::Price { currency: currency.into(), value: "1.50".into(), sources: vec![] };
        let tick = pb::Tick { id: 2, prev: 1, time: None, prices: vec![price("USD"), price("XAU")] };
        let Message::Tick(tick) = read(Some(Update::Tick(tick))) else { panic!("not a tick") };
        assert_eq!(tick.prices.values().map(ToString::to_string).collect::<Vec<_>>(), ["1.50"]);
    }
}
