//! A metric: its description, and the handles to its series.
//!
//! All metrics belong to one recorder, which lives as long as the process. It is not the global recorder of the
//! `metrics` crate, which a program that embeds this library may use itself. Several replicas in one process share the
//! series.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::sync::LazyLock;

/// Bounds of every histogram, in seconds.
const BOUNDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Description of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name. It contains the unit if that is seconds or bytes.
    pub name: &'static str,
    /// The type.
    pub kind: MetricKind,
    /// The unit of the values.
    pub unit: &'static str,
    /// The name of the label, or empty if there is one series only.
    pub label: &'static str,
    /// The values of the label that exist from the start. Every value comes from this program, never from a client.
    pub values: &'static [&'static str],
    /// The meaning.
    pub help: &'static str,
}

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only rises.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// A distribution of times in seconds, as the number of values up to each bound.
    Histogram,
}

impl MetricKind {
    /// Returns the word that Prometheus uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The recorder, and the handle with which its values are read.
static RECORDER: LazyLock<(PrometheusRecorder, PrometheusHandle)> = LazyLock::new(|| {
    // Every histogram is about times, and its name ends with this suffix.
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, BOUNDS).expect("there are bounds");
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
});

impl Metric {
    fn key(&self, value: &'static str) -> Key {
        let label = (!self.label.is_empty()).then(|| Label::from_static_parts(self.label, value));
        Key::from_parts(self.name, label.into_iter().collect::<Vec<_>>())
    }

    /// Describes the metric and registers the series that exist from the start.
    pub(super) fn register(&self) {
        let (recorder, name, help) = (&RECORDER.0, KeyName::from(self.name), self.help.into());
        match self.kind {
            MetricKind::Counter => recorder.describe_counter(name, None::<Unit>, help),
            MetricKind::Gauge => recorder.describe_gauge(name, None, help),
            MetricKind::Histogram => recorder.describe_histogram(name, None, help),
        }
        let values = if self.label.is_empty() { &[""] } else { self.values };
        for value in values {
            self.register_series(value);
        }
    }

    /// Registers the series of a label value, so that a scrape shows the series even if nothing has been recorded yet.
    pub(crate) fn register_series(&self, value: &'static str) {
        match self.kind {
            MetricKind::Counter => drop(self.counter(value)),
            MetricKind::Gauge => drop(self.gauge(value)),
            MetricKind::Histogram => drop(self.histogram(value)),
        }
    }

    /// Returns the counter of a label value, which is empty for a metric without a label.
    pub(crate) fn counter(&self, value: &'static str) -> Counter {
        debug_assert_eq!(self.kind, MetricKind::Counter);
        RECORDER.0.register_counter(&self.key(value), &METADATA)
    }

    /// Returns the gauge of a label value, which is empty for a metric without a label.
    pub(crate) fn gauge(&self, value: &'static str) -> Gauge {
        debug_assert_eq!(self.kind, MetricKind::Gauge);
        RECORDER.0.register_gauge(&self.key(value), &METADATA)
    }

    /// Returns the histogram of a label value, which is empty for a metric without a label.
    pub(crate) fn histogram(&self, value: &'static str) -> Histogram {
        debug_assert!(matches!(self.kind, MetricKind::Histogram));
        RECORDER.0.register_histogram(&self.key(value), &METADATA)
    }
}

/// Returns all series in the text format of Prometheus.
pub(super) fn render() -> String {
    RECORDER.1.render()
}

/// Moves recorded values from the histograms' queues into their buckets. Otherwise the queues would grow until the next
/// scrape.
pub(super) fn run_upkeep() {
    RECORDER.1.run_upkeep();
}
