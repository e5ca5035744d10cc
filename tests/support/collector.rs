//! An OpenTelemetry collector that keeps the spans it gets over HTTP.

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A span.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    pub parent: Vec<u8>,
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    /// Attributes of the process.
    pub resource: BTreeMap<String, String>,
    pub start: u64,
    pub end: u64,
    pub error: Option<String>,
}

/// The running collector.
pub struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    headers: Arc<Mutex<Vec<HeaderMap>>>,
    address: SocketAddr,
}

impl Collector {
    /// Starts the collector.
    pub async fn start() -> Collector {
        let (spans, headers) = (Arc::<Mutex<Vec<Span>>>::default(), Arc::<Mutex<Vec<HeaderMap>>>::default());
        let (kept, seen) = (spans.clone(), headers.clone());
        let collect = async move |headers: HeaderMap, body: Bytes| {
            seen.lock().unwrap().push(headers);
            match ExportTraceServiceRequest::decode(body) {
                Ok(request) => kept.lock().unwrap().extend(spans_of(request)),
                Err(_) => return StatusCode::BAD_REQUEST,
            }
            StatusCode::OK
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/v1/traces", post(collect));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Collector { spans, headers, address }
    }

    /// Returns the URL for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns all spans.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// Returns true if a request had this header.
    pub fn saw_header(&self, name: &str, value: &str) -> bool {
        self.headers.lock().unwrap().iter().any(|headers| headers.get(name).is_some_and(|found| found == value))
    }

    /// Returns the spans of each trace.
    pub fn traces(&self) -> Vec<Vec<Span>> {
        let mut traces: BTreeMap<Vec<u8>, Vec<Span>> = BTreeMap::new();
        for span in self.spans() {
            traces.entry(span.trace.clone()).or_default().push(span);
        }
        traces.into_values().collect()
    }
}

fn spans_of(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut found = Vec::new();
    for group in request.resource_spans {
        let resource = texts(group.resource.unwrap_or_default().attributes);
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            found.push(Span {
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                name: span.name,
                attributes: texts(span.attributes),
                resource: resource.clone(),
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                // The code of an error is 2.
                error: span.status.filter(|status| status.code == 2).map(|status| status.message),
            });
        }
    }
    found
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value?.value? {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => panic!("{other:?}"),
        };
        Some((attribute.key, value))
    };
    attributes.into_iter().filter_map(text).collect()
}
