//! Traces of ticks, as an OpenTelemetry collector gets them.

use crate::support::collector::{Collector, Span};
use crate::support::exchange::Mode;
use crate::support::ports::free_address;
use crate::support::replica::Replica;
use crate::support::{TIMEOUT, TestCluster, entries, tick, unbroken, until};
use futures_util::future::join;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Time between two exports in these tests, in milliseconds.
const DELAY: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "100");

/// Returns the spans with this name in a trace.
fn named<'a>(trace: &'a [Span], name: &str) -> Vec<&'a Span> {
    trace.iter().filter(|span| span.name == name).collect()
}

/// Returns the names of the replicas that sent these spans.
fn replicas<'a>(spans: &[&'a Span]) -> BTreeSet<&'a str> {
    spans.iter().map(|span| span.resource["service.instance.id"].as_str()).collect()
}

/// Starts two replicas with these settings. The replicas send their traces to a collector.
async fn traced(settings: &[(&str, &str)]) -> (TestCluster, Collector, [Replica; 2]) {
    let (cluster, collector) = (TestCluster::new().await, Collector::start().await);
    let url = collector.url();
    let settings = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), DELAY], settings].concat();
    let replicas = [cluster.replica("r1", &settings).await, cluster.replica("r2", &settings).await];
    (cluster, collector, replicas)
}

#[tokio::test]
async fn trace_follows_a_tick_to_every_hub() {
    let settings = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=feeds"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ];
    let (cluster, collector, _replicas) = traced(&settings).await;
    let leader = cluster.leader().await;
    let mut whole = Vec::new();
    until("a trace with both hubs", async || {
        let is_whole =
            |trace: &Vec<Span>| replicas(&named(trace, "hub")).len() == 2 && !named(trace, "tick").is_empty();
        whole = collector.traces().into_iter().find(is_whole).unwrap_or_default();
        !whole.is_empty()
    })
    .await;
    let one = |name: &str| match *named(&whole, name) {
        [span] => span,
        ref spans => panic!("{} spans {name}", spans.len()),
    };
    let (root, poll, append) = (one("tick"), one("poll"), one("append"));
    assert_eq!(replicas(&[root, poll, append]), [leader.as_str()].into());
    assert!(root.parent.is_empty());
    assert_eq!([&poll.parent, &append.parent], [&root.id; 2]);
    assert!(root.start == poll.start && poll.end <= append.start && append.end == root.end, "{whole:#?}");

    let sources = named(&whole, "source");
    let names: BTreeSet<_> = sources.iter().map(|span| span.attributes["btcfeed.source"].as_str()).collect();
    assert_eq!((sources.len(), names), (3, ["bitstamp", "coinbase", "kraken"].into()));
    for source in sources {
        assert!(source.parent == poll.id && poll.start <= source.start && source.end <= poll.end, "{whole:#?}");
    }
    let hubs = named(&whole, "hub");
    assert_eq!((hubs.len(), replicas(&hubs)), (2, ["r1", "r2"].into()));
    assert!(hubs.iter().all(|hub| hub.parent == append.id), "{whole:#?}");
    let ids: BTreeSet<_> = whole.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), whole.len(), "each span has its own id");

    for span in &whole {
        assert_eq!(span.resource["service.name"], "btcfeed");
        assert_eq!(span.resource["deployment.environment.name"], "test");
        assert_eq!(span.attributes["btcfeed.tick.id"], root.attributes["btcfeed.tick.id"]);
        assert_eq!(span.error, None);
    }
    assert!(collector.saw_header("x-tenant", "feeds"));

    // The span of a source that fails has the reason.
    cluster.exchange.set("kraken", Mode::Status(500, None));
    let is_failure = |span: &Span| {
        span.attributes.get("btcfeed.source").is_some_and(|name| name == "kraken") && {
            span.error.as_ref().is_some_and(|error| error.contains("HTTP 500"))
        }
    };
    until("a failed request", async || collector.spans().iter().any(is_failure)).await;
}

#[tokio::test]
async fn all_replicas_sample_the_same_ticks() {
    let settings = [
        ("OTEL_SERVICE_NAME", "prices"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.3"),
    ];
    let (_cluster, collector, mut running) = traced(&settings).await;
    let mut client = running[0].connect("format=full").await;
    let ticks = entries(&mut client, 40).await;
    // The last spans are sent before a replica ends.
    for replica in &running {
        replica.signal(Signal::TERM);
    }
    for replica in &mut running {
        assert!(replica.exit().await.success());
    }
    let followed = ticks.iter().map(|tick| tick["id"].to_string());
    let followed = followed.filter_map(|id| {
        let spans: Vec<_> =
            collector.spans().into_iter().filter(|span| span.attributes["btcfeed.tick.id"] == id).collect();
        (!spans.is_empty()).then_some(spans)
    });
    let followed: Vec<_> = followed.collect();
    assert!((1..30).contains(&followed.len()), "{} of 40 ticks", followed.len());
    for trace in &followed {
        assert_eq!(replicas(&named(trace, "hub")), ["r1", "r2"].into(), "{trace:#?}");
        assert_eq!(trace[0].resource["service.name"], "prices");
    }
}

#[tokio::test]
async fn absent_or_silent_collector_delays_nothing() {
    // The first collector refuses connections, the second one accepts them and never answers.
    let (absent, silent) = (free_address(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let run = async |address: String| {
        let cluster = TestCluster::new().await;
        let url = format!("http://{address}");
        let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_MAX_QUEUE_SIZE", "16"), DELAY];
        let mut replica = cluster.replica("r1", &settings).await;
        let mut client = replica.connect("format=full").await;
        let (mut seen, mut longest, started) = (vec![tick(&mut client).await], Duration::ZERO, Instant::now());
        while started.elapsed() < Duration::from_secs(5) {
            let before = Instant::now();
            seen.push(tick(&mut client).await);
            longest = longest.max(before.elapsed());
        }
        unbroken(&seen);
        assert!(longest < Duration::from_secs(2), "no tick for {longest:?}");
        let stopping = Instant::now();
        replica.signal(Signal::TERM);
        assert!(replica.exit().await.success());
        assert!(stopping.elapsed() < TIMEOUT.min(Duration::from_secs(10)), "{:?}", stopping.elapsed());
    };
    join(run(absent), run(silent.local_addr().unwrap().to_string())).await;
}
