//! `grpc.health.v1`: the counterpart of `/readyz`. A replica is serving from the first read of the history until it
//! begins to stop.

use super::call::SERVICE;
use crate::api::state::ApiState;
use crate::net::connection_limit::{Permit, StreamGuard};
use crate::text::quotable;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

pub(crate) struct HealthService(pub(crate) Arc<ApiState>);

/// A client that watches the health.
struct Watcher {
    state: Arc<ApiState>,
    known: bool,
    reported: Option<ServingStatus>,
    _stream: Option<StreamGuard>,
}

/// Returns whether a service is known. The empty name means the whole server.
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
impl health_server::Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !is_known(&service) {
            return Err(Status::not_found(format!(
                "unknown service {:?}: expected {SERVICE:?} or \"\"",
                quotable(&service, 200)
            )));
        }
        Ok(Response::new(message(serving(&self.0))))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let stream = request.extensions().get::<Permit>().map(Permit::stream_guard);
        let known = is_known(&request.into_inner().service);
        let watcher = Watcher { state: self.0.clone(), known, reported: None, _stream: stream };
        Ok(Response::new(stream::unfold(watcher, Watcher::next).boxed()))
    }
}

impl Watcher {
    /// Waits until the status has changed, and returns it. When the replica stops, returns `UNAVAILABLE`, so that the
    /// client watches another replica.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Watcher)> {
        let state = self.state.clone();
        loop {
            // By the protocol, an unknown service does not end the stream, because it may be added later.
            let status = if self.known { serving(&state) } else { ServingStatus::ServiceUnknown };
            if self.reported != Some(status) {
                self.reported = Some(status);
                return Some((Ok(message(status)), self));
            }
            let unready = state.unready.is_cancelled();
            tokio::select! {
                () = state.drain.started().cancelled() => {
                    return Some((Err(Status::unavailable("this replica is stopping")), self));
                }
                () = state.unready.cancelled(), if !unready => {}
                () = state.hub().primed(), if !state.hub().is_primed() => {}
            }
        }
    }
}
