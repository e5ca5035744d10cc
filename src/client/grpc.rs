//! The stream over gRPC (`proto/btcfeed/v1/price_feed.proto`): one call of `Subscribe`, whose response does not end.
//!
//! The HTTP client of the other transports sends the request, so that the refusals of proxies are read in the same way.
//! tonic reads the response. The pings of HTTP/2 detect a dead connection.

use super::disconnect::{Disconnect, NO_HTTP2, root_cause};
use super::http;
use super::options::ClientOptions;
use super::received::{MAX_MESSAGE_BYTES, Position, Received, ServerEvent, ServerEvents};
use super::update::{Connected, GapCause, GapUpdate, StatusUpdate, TickUpdate};
use crate::feed::{FeedState, Start};
use crate::message::pb;
use crate::tick::{Audit, Currencies, Currency, Input, TickId};
use futures_util::StreamExt;
use pb::subscribe_request::Start as RequestStart;
use pb::subscribe_response::Update;
use pb::{SubscribeRequest, SubscribeResponse};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, TE};
use reqwest::{Body, RequestBuilder, StatusCode};
use rust_decimal::Decimal;
use secrecy::ExposeSecret;
use std::error::Error as _;
use std::time::Duration;
use tonic::codec::{Codec, Streaming};
use tonic::{Code, codegen::http::Response};
use tonic_prost::ProstCodec;

/// The length of the prefix of a message, which consists of a flag for compression and the length of the message.
const PREFIX_BYTES: usize = 5;

/// Calls `Subscribe` for a stream that begins at `start`.
pub(super) async fn connect(
    request: RequestBuilder,
    options: &ClientOptions,
    start: Start,
) -> Result<ServerEvents, Disconnect> {
    let message = subscribe_request(options, start);
    let mut body = vec![0; PREFIX_BYTES];
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    body[1..].copy_from_slice(&length.to_be_bytes());
    message.encode(&mut body).map_err(|error| Disconnect::caused_by(&error))?;
    let request = request.header(CONTENT_TYPE, "application/grpc").header(TE, "trailers").body(body);
    let response = request.send().await.map_err(|error| no_response(&error))?;
    if response.status() != StatusCode::OK {
        return Err(http::refusal(response).await);
    }
    let content = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content.to_ascii_lowercase().starts_with("application/grpc") {
        return Err(Disconnect::no_feed(&format!("it answers {content:?}, not application/grpc")));
    }
    // If the server refuses the call, it sends the status of the call in the headers, and no message.
    if let Some(status) = tonic::Status::from_header_map(response.headers()) {
        return Err(call_ended(&status));
    }
    let decoder = ProstCodec::<SubscribeRequest, SubscribeResponse>::default().decoder();
    let body = Response::<Body>::from(response).into_body();
    let messages = Streaming::new_response(decoder, body, StatusCode::OK, None, Some(MAX_MESSAGE_BYTES));
    Ok(messages.map(|message| message.map_err(|status| call_ended(&status)).and_then(read)).boxed())
}

/// Returns the reason why there is no response. If the server supports only HTTP/1, its answer looks like the head of a
/// frame that is far too long.
fn no_response(error: &reqwest::Error) -> Disconnect {
    let reason = root_cause(error).downcast_ref::<h2::Error>().and_then(h2::Error::reason);
    if reason == Some(h2::Reason::FRAME_SIZE_ERROR) {
        return Disconnect::no_feed(NO_HTTP2);
    }
    Disconnect::caused_by(error)
}

fn subscribe_request(options: &ClientOptions, start: Start) -> SubscribeRequest {
    let start = match start {
        Start::Latest => None,
        Start::Since(moment) => Some(RequestStart::Since(prost_types::Timestamp {
            seconds: i64::try_from(moment.seconds()).unwrap_or(i64::MAX),
            nanos: i32::try_from(moment.ms() % 1000).unwrap_or_default() * 1_000_000,
        })),
        Start::After(id) => Some(RequestStart::After(id.ms())),
    };
    SubscribeRequest {
        currencies: options.currencies.iter().map(|currency| currency.code().to_owned()).collect(),
        start,
        changes: options.changes,
        every: options.every.and_then(|every| every.try_into().ok()),
        limit: options.limit,
        client_id: options.client_id.as_ref().map(|id| id.expose_secret().to_owned()).unwrap_or_default(),
        hello: true,
        audit: options.audit,
    }
}

/// Converts the status with which a call ended. If the status has a cause, the connection was lost, and the result
/// describes the cause. If the server would refuse the next call, too, the result is final and has the HTTP status with
/// the same meaning. In all other cases the client calls again.
fn call_ended(status: &tonic::Status) -> Disconnect {
    if let Some(cause) = status.source() {
        return broken(cause);
    }
    let code = match status.code() {
        Code::InvalidArgument | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound | Code::Unimplemented => 404,
        code => return Disconnect::retry(format!("the server ended the call with {code:?}: {}", status.message())),
    };
    Disconnect::refused(code, status.message())
}

/// Returns the reason why a stream ended early. A proxy resets a stream if its replica has died. The library's text for
/// that would be misleading.
fn broken(cause: &(dyn std::error::Error + 'static)) -> Disconnect {
    match root_cause(cause).downcast_ref::<h2::Error>() {
        Some(error) if error.is_reset() => {
            let reason = error.reason().map(|reason| format!(" ({reason:?})")).unwrap_or_default();
            Disconnect::retry(format!("the stream was reset{reason}"))
        }
        _ => Disconnect::caused_by(cause),
    }
}

fn read(response: SubscribeResponse) -> Result<ServerEvent, Disconnect> {
    received(response).map(ServerEvent::Message)
}

fn invalid(problem: impl std::fmt::Display) -> Disconnect {
    Disconnect::retry(format!("invalid message: {problem}"))
}

fn received(response: SubscribeResponse) -> Result<Received, Disconnect> {
    let id = TickId::from_ms;
    let currencies = |codes: Vec<String>| codes.iter().filter_map(|code| code.parse().ok()).collect::<Currencies>();
    Ok(match response.update {
        None => Received::Opaque,
        Some(Update::Tick(tick)) => {
            let (id, prev, audit) = (id(tick.id), id(tick.prev), tick.audit.map(audit).transpose()?);
            let mut update = TickUpdate { id, prev, method: tick.method, audit, ..TickUpdate::default() };
            for pb::Price { currency, value, sources, confidence, spread } in tick.prices {
                if let Ok(currency) = currency.parse::<Currency>() {
                    update.prices.insert(currency, value.parse().map_err(invalid)?);
                    update.sources.insert(currency, sources);
                    for (amounts, text) in [(&mut update.confidence, confidence), (&mut update.spread, spread)] {
                        if !text.is_empty() {
                            amounts.insert(currency, Decimal::from_str_exact(&text).map_err(invalid)?);
                        }
                    }
                }
            }
            Received::Tick(update)
        }
        Some(Update::Status(status)) => {
            let (id, prev) = (id(status.id), id(status.prev));
            let Some(state) = known_state(status.state) else {
                return Ok(Received::Unknown(Some(Position { id, prev })));
            };
            let since = status.since.and_then(|since| TickId::from_moment(since.seconds, since.nanos));
            let since = since.ok_or_else(|| invalid("a status without a moment"))?;
            Received::Status(StatusUpdate { id, prev, state, since, reason: status.reason })
        }
        Some(Update::Gap(gap)) => {
            let reason = match pb::GapReason::try_from(gap.reason) {
                Ok(pb::GapReason::SourceOutage) => GapCause::SourceOutage,
                Ok(pb::GapReason::HistoryExpired) => GapCause::HistoryExpired,
                Ok(pb::GapReason::HistoryLost) => GapCause::HistoryLost,
                Ok(pb::GapReason::ReplayLimit) => GapCause::ReplayLimit,
                Ok(pb::GapReason::HeldTooLong) => GapCause::HeldTooLong,
                Ok(pb::GapReason::UnknownClientId) => GapCause::UnknownClientId,
                Ok(pb::GapReason::Unspecified) | Err(_) => GapCause::Other(format!("reason {}", gap.reason)),
            };
            let currencies = Some(gap.currencies).filter(|codes| !codes.is_empty()).map(currencies);
            Received::Gap(GapUpdate { after: id(gap.after), before: id(gap.before), reason, currencies })
        }
        Some(Update::Synced(synced)) => Received::Synced(id(synced.id)),
        Some(Update::Hello(hello)) => {
            let interval = hello.interval.and_then(|interval| Duration::try_from(interval).ok());
            let text = |text: String| Some(text).filter(|text| !text.is_empty());
            let (replica, version, reason) = (text(hello.replica), text(hello.version), text(hello.reason));
            let (currencies, state) = (currencies(hello.currencies), known_state(hello.state));
            let hello = Connected { replica, version, currencies, interval, state, reason, ..Connected::default() };
            Received::Hello(hello)
        }
    })
}

fn audit(audit: pb::Audit) -> Result<Audit, Disconnect> {
    let price = |text: String| if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(invalid) };
    let moment = |at: Option<prost_types::Timestamp>| at.and_then(|at| TickId::from_moment(at.seconds, at.nanos));
    let mut inputs = Vec::new();
    for input in audit.inputs {
        // A newer server may have more currencies.
        let Ok(currency) = input.currency.parse() else { continue };
        inputs.push(Input {
            bid: price(input.bid)?,
            ask: price(input.ask)?,
            last: price(input.last)?,
            value: price(input.value)?,
            time: moment(input.time),
            fetched: moment(input.fetched),
            latency_ms: input.latency_ms,
            used: price(input.used)?,
            excluded: Some(input.excluded).filter(|reason| !reason.is_empty()),
            ..Input::new(&input.source, currency)
        });
    }
    Ok(Audit { parameters: serde_json::from_str(&audit.parameters).map_err(invalid)?, inputs })
}

fn known_state(number: i32) -> Option<FeedState> {
    match pb::FeedState::try_from(number) {
        Ok(pb::FeedState::Live) => Some(FeedState::Live),
        Ok(pb::FeedState::Degraded) => Some(FeedState::Degraded),
        Ok(pb::FeedState::Stale) => Some(FeedState::Stale),
        Ok(pb::FeedState::Down) => Some(FeedState::Down),
        Ok(pb::FeedState::Unspecified) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_that_repeat_are_final() {
        for code in (1..=16).map(Code::from) {
            let last = matches!(call_ended(&tonic::Status::new(code, "so")), Disconnect::Final(_));
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
    fn unknown_parts_of_a_message_are_skipped() {
        let read = |update| received(SubscribeResponse { update }).unwrap();
        assert_eq!(read(None), Received::Opaque);
        let status = pb::Status { id: 2, prev: 1, state: 99, ..pb::Status::default() };
        let position = Some(Position { id: TickId::from_ms(2), prev: TickId::from_ms(1) });
        assert_eq!(read(Some(Update::Status(status))), Received::Unknown(position));
        let gap = pb::Gap { after: 1, before: 2, reason: 99, ..pb::Gap::default() };
        let Received::Gap(gap) = read(Some(Update::Gap(gap))) else { panic!("not a gap") };
        assert_eq!((gap.reason, gap.currencies), (GapCause::Other("reason 99".into()), None));
        let price = |currency: &str| pb::Price {
            currency: currency.into(),
            value: "1.50".into(),
            confidence: "0.25".into(),
            ..pb::Price::default()
        };
        let tick = pb::Tick { id: 2, prev: 1, prices: vec![price("USD"), price("XAU")], ..pb::Tick::default() };
        let Received::Tick(tick) = read(Some(Update::Tick(tick))) else { panic!("not a tick") };
        assert_eq!(tick.prices.values().map(ToString::to_string).collect::<Vec<_>>(), ["1.50"]);
        assert_eq!(tick.confidence, [(Currency::Usd, Decimal::new(25, 2))].into());
        assert_eq!((tick.method, tick.spread.len()), (0, 0), "a server of an older version");
    }
}
