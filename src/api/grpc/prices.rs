//! `GetLatest` and `ListPrices`: the counterparts of `GET /v1/prices/latest` and `GET /v1/prices`.

use super::call::{primed_hub, status, unary};
use super::request::Fields;
use crate::api::page::{self, Order};
use crate::api::state::{ApiState, weight};
use crate::encode::proto;
use crate::encode::{Format, Framing, View};
use crate::feed::Start;
use crate::hub::AUDIT_ENTRIES;
use crate::message::pb;
use crate::net::connection_limit::Permit;
use crate::session::StartPoint;
use crate::text::quotable;
use crate::tick::TickId;
use crate::wire::grpc;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use std::num::ParseIntError;
use std::sync::Arc;
use tonic::Status;

/// Maximum number of ticks and statuses of a response, because gRPC clients accept only 4 MiB by default.
const PAGE: usize = 1000;

pub(crate) async fn get_latest(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    unary(request, |message| std::future::ready(latest(&state, &message))).await
}

pub(crate) async fn list_prices(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    request: Request,
) -> Response {
    unary(request, |message| list(state.clone(), permit.clone(), message)).await
}

fn latest(state: &ApiState, request: &pb::GetLatestRequest) -> Result<pb::GetLatestResponse, Status> {
    let mut fields = Fields::default();
    let currencies = fields.currencies(&request.currencies, state.currencies);
    fields.finish()?;
    let entry = primed_hub(state)?.latest_tick(currencies);
    let entry = entry
        .ok_or_else(|| Status::unavailable("this replica has no price in the chosen currencies, try again later"))?;
    Ok(pb::GetLatestResponse { tick: proto::tick(&entry, currencies) })
}

/// `ListPricesResponse` with encoded entries. In protobuf, a nested message is encoded like bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct EncodedPage {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    entries: Vec<Bytes>,
    #[prost(string, tag = "2")]
    next_page_token: String,
}

async fn list(state: Arc<ApiState>, permit: Permit, request: pb::ListPricesRequest) -> Result<EncodedPage, Status> {
    use pb::list_prices_request::Start as Asked;
    let mut fields = Fields::default();
    let currencies = fields.currencies(&request.currencies, state.currencies);
    let start = match request.start {
        Some(Asked::Since(moment)) => Start::Since(fields.moment("since", moment)),
        Some(Asked::After(id)) => Start::After(TickId::from_ms(id)),
        None => Start::Since(TickId::ZERO),
    };
    let until = request.until.map_or(TickId::from_ms(u64::MAX), |until| fields.moment("until", until));
    let size = match usize::try_from(request.page_size) {
        Ok(0) => PAGE,
        Ok(size) => size.min(PAGE),
        Err(_) => {
            fields.mistake(
                "page_size",
                format!(
                    "invalid page_size {}: expected 0 or a positive number (a page has at most {PAGE} ticks and statuses)",
                    request.page_size
                ),
            );
            PAGE
        }
    };
    let size = if request.audit { size.min(AUDIT_ENTRIES) } else { size };
    let token = Some(&*request.page_token).filter(|token| !token.is_empty()).and_then(|token| {
        let id = token.parse().map(TickId::from_ms);
        let expected = "expected the next_page_token of a response";
        id.map_err(|_: ParseIntError| {
            fields.mistake("page_token", format!("invalid page_token {:?}: {expected}", quotable(token, 40)));
        })
        .ok()
    });
    let (start, until) = match token {
        Some(id) if request.newest_first => (start, id),
        Some(id) => (Start::After(id), until),
        None => (start, until),
    };
    fields.finish()?;
    let hub = primed_hub(&state)?;
    let format = if request.audit { Format::Audit } else { Format::Full };
    let view = View::new(format, currencies, Framing::Grpc);
    let begin = StartPoint::of(start, currencies, hub);
    permit.begin_read().map_err(|refusal| status(&refusal.into()))?;
    let charged = state.charge_volume(&permit, begin.id, until, size, weight(view));
    charged.map_err(|problem| status(&problem))?;
    let order = if request.newest_first { Order::Descending } else { Order::Ascending };
    let block = page::read_block(hub, view, order, (begin, until), size).await;
    let block = block.map_err(|_| Status::unavailable("the history cannot be read now, try again"))?;
    let next = match (order, block.entries.last()) {
        (Order::Ascending, Some(last)) if block.entries.len() == size => Some(last.id),
        (Order::Descending, _) if block.after.id > begin.id => Some(block.after.id),
        _ => None,
    };
    let next_page_token = next.map(|id| id.to_string()).unwrap_or_default();
    let encoded = page::messages(view, order, &block);
    Ok(EncodedPage { entries: encoded.into_iter().flat_map(grpc::messages).collect(), next_page_token })
}
