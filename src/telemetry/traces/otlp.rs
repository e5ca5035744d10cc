//! The exporter: spans go into a bounded queue, and a thread sends them to a collector over OTLP.
//!
//! If the collector is unavailable or slow, spans are dropped, so the leader and the hub never wait for it.

use super::ids::{self, Ids};
use super::step::{ON, Options, TraceStep};
use crate::telemetry::FaultLog;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Config, SamplingDecision, ShouldSample, SpanData, SpanEvents, SpanExporter, SpanLinks,
    SpanProcessor,
};
use secrecy::ExposeSecret;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tracing::warn;

/// The time within which the last spans must be sent.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

static TRACES: OnceLock<Traces> = OnceLock::new();

/// The traces of this process.
struct Traces {
    feed: String,
    sampler: Box<dyn ShouldSample>,
    processor: BatchSpanProcessor,
}

/// An exporter whose failures are logged at a bounded rate.
#[derive(Debug)]
struct LoggingExporter<E> {
    inner: E,
    fault: Mutex<FaultLog>,
}

impl<E: SpanExporter> SpanExporter for LoggingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(()) => fault.clear(),
            Err(error) if fault.is_due() => {
                warn!(%error, spans, "cannot send traces to the collector, dropping them");
            }
            Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Starts to send traces. Call it once.
///
/// # Errors
/// If an environment variable of OpenTelemetry cannot be used, or the HTTP client cannot be started.
pub fn start(options: &Options) -> anyhow::Result<()> {
    let endpoint = format!("{}/v1/traces", options.endpoint.expose_secret().trim_end_matches('/'));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .build()?;
    let exporter = LoggingExporter { inner: exporter, fault: Mutex::default() };
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    processor.set_resource(&resource(&options.replica));
    // The SDK reads the sampler from the environment.
    let sampler = Config::default().sampler;
    if TRACES.set(Traces { feed: options.feed.clone(), sampler, processor }).is_ok() {
        ON.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Sends the last spans, for at most two seconds.
pub fn finish() {
    ON.store(false, Ordering::Relaxed);
    if let Some(traces) = TRACES.get()
        && let Err(error) = traces.processor.shutdown_with_timeout(FLUSH_DEADLINE)
    {
        warn!(%error, "cannot send the last traces");
    }
}

/// Returns the attributes of this process. Those of the environment take precedence.
fn resource(replica: &str) -> Resource {
    let found = Resource::builder().build();
    let get = |name: &'static str| found.get(&Key::from_static_str(name)).map(|value| value.to_string());
    let mut builder = Resource::builder();
    if get("service.name").is_none_or(|name| name.starts_with("unknown_service")) {
        builder = builder.with_service_name("btcfeed");
    }
    for (name, value) in [("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", replica)] {
        if get(name).is_none() {
            builder = builder.with_attribute(KeyValue::new(name, value.to_owned()));
        }
    }
    builder.build()
}

/// Emits the leader's spans of a tick.
pub(super) fn appended(id: u64, poll: &TraceStep, append: &TraceStep) {
    let Some(trace) = Trace::sampled(id) else { return };
    let tick =
        TraceStep { name: "tick", start: poll.start, end: append.end, source: None, error: None, steps: Vec::new() };
    trace.emit(&tick, trace.ids.tick, SpanId::INVALID, SpanKind::Internal);
    let parent = trace.emit(poll, ids::random(), trace.ids.tick, SpanKind::Internal);
    for source in &poll.steps {
        trace.emit(source, ids::random(), parent, SpanKind::Client);
    }
    trace.emit(append, trace.ids.append, trace.ids.tick, SpanKind::Producer);
}

/// Emits the span of this replica's hub.
pub(super) fn received(id: u64, hub: &TraceStep) {
    let Some(trace) = Trace::sampled(id) else { return };
    trace.emit(hub, ids::random(), trace.ids.append, SpanKind::Consumer);
}

/// The trace of a tick.
struct Trace {
    traces: &'static Traces,
    ids: Ids,
    tick: i64,
}

impl Trace {
    /// Returns the trace of a tick if it is sampled. Replicas with the same sampler decide alike, because the decision
    /// depends only on the id.
    fn sampled(tick: u64) -> Option<Trace> {
        let traces = TRACES.get()?;
        let ids = Ids::new(&traces.feed, tick);
        let sampled = traces.sampler.should_sample(None, ids.trace, "tick", &SpanKind::Internal, &[], &[]);
        let trace = Trace { traces, ids, tick: i64::try_from(tick).unwrap_or(i64::MAX) };
        (sampled.decision == SamplingDecision::RecordAndSample).then_some(trace)
    }

    /// Puts a span into the queue, and returns its id. If the queue is full, the span is dropped.
    fn emit(&self, step: &TraceStep, id: SpanId, parent: SpanId, kind: SpanKind) -> SpanId {
        let is_remote = kind == SpanKind::Consumer;
        let mut attributes = vec![KeyValue::new("btcfeed.tick.id", self.tick)];
        attributes.extend(step.source.map(|source| KeyValue::new("btcfeed.source", source)));
        self.traces.processor.on_end(SpanData {
            span_context: SpanContext::new(self.ids.trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent,
            parent_span_is_remote: is_remote,
            span_kind: kind,
            name: step.name.into(),
            start_time: step.start,
            end_time: step.end,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: step.error.as_ref().map_or(Status::Unset, |error| Status::error(error.clone())),
            instrumentation_scope: InstrumentationScope::builder("btcfeed").build(),
        });
        id
    }
}
