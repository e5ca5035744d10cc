//! `grpc.health.v1`: what `/readyz` says, for those who ask in gRPC. A replica serves once it has read the history, until it
//! is told to stop.

use super::call::SERVICE;
use crate::api::state::ApiState;
use crate::net::connection_limit::{Permit, StreamGuard};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

pub(crate) struct Health(pub(crate) Arc<ApiState>);

/// One who watches.
struct Watcher {
    state: Arc<ApiState>,
    known: bool,
    told: Option<ServingStatus>,
    _stream: Option<StreamGuard>,
}

/// The whole server is asked for by no name.
fn is_known(service: &str) -> bool {
    ["", SERVICE].contains(&service)
}

fn serving(state: &ApiState) -> ServingStatus {
    if state.hub().is_primed() && !state.unready.is_cancelled() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn message(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !is_known(&service) {
            return Err(Status::not_found(format!("there is no service {service:?}, only {SERVICE:?} and \"\"")));
        }
        Ok(Response::new(message(serving(&self.0))))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let stream = request.extensions().get::<Permit>().map(Permit::stream_guard);
        let known = is_known(&request.into_inner().service);
        let watcher = Watcher { state: self.0.clone(), known, told: None, _stream: stream };
        Ok(Response::new(stream::unfold(watcher, Watcher::next).boxed()))
    }
}

impl Watcher {
    /// The status when it is another one; at the end, that the client should ask elsewhere.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Watcher)> {
        let state = self.state.clone();
        loop {
            // An unknown service may come to be known; a stream is not ended for it.
            let status = if self.known { serving(&state) } else { ServingStatus::ServiceUnknown };
            if self.told != Some(status) {
                self.told = Some(status);
                return Some((Ok(message(status)), self));
            }
            let unready = state.unready.is_cancelled();
            tokio::select! {
                () = state.drain.cancelled() => {
                    return Some((Err(Status::unavailable("this replica is stopping")), self));
                }
                () = state.unready.cancelled(), if !unready => {}
                () = state.hub().primed(), if !state.hub().is_primed() => {}
            }
        }
    }
}
