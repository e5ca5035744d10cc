//! Evaluates all queries of the dashboard and all alerts in a real Prometheus. It reads three replicas, and a fourth
//! one that has TLS and no clients, in five situations: quiet, under load, and in three outages. `make dashboard-table`
//! also writes the values to docs/monitoring.md.

use crate::support::dashboard::{Query, queries};
use crate::support::exchange::Mode;
use crate::support::program::program;
use crate::support::prometheus::{Alert, Prometheus, Series};
use crate::support::replica::Replica;
use crate::support::tls::Authority;
use crate::support::{SERVE, TestCluster, http, until, until_within};
use futures_util::future::join_all;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Child;
use tokio::time::sleep;

/// Period of the rates.
const RATE: &str = "10s";
/// Clients of each transport under load.
const LOAD: [(&str, usize); 3] = [("ws", 300), ("sse", 100), ("grpc", 50)];
/// Number of clients that request the history again and again under load.
const READERS: usize = 10;
/// Longest wait for a condition or an alert. Some alerts have `for: 1m`.
const MAX_WAIT: Duration = Duration::from_secs(100);

/// Metric that has no values while there are no ticks.
const DELIVERY: &str = "btcfeed_publish_to_socket_seconds_bucket";
/// Metric that has no values while Redis does not answer.
const REDIS: &str = "btcfeed_store_request_seconds_bucket";

/// A situation, with the values of the queries and the states of the alerts in it.
struct Situation {
    name: &'static str,
    values: Vec<String>,
    alerts: Vec<Alert>,
}

/// The running Prometheus, and what was measured.
struct Observation {
    prometheus: Prometheus,
    /// The names of the replicas by the address that Prometheus reads.
    names: BTreeMap<String, String>,
    queries: Vec<Query>,
    situations: Vec<Situation>,
}

impl Observation {
    /// Waits until a condition has been true for the period of the rates.
    async fn until_lasting(&self, condition: &str) {
        let samples = format!("((({condition}) or vector(0))[{RATE}:1s])");
        let query = format!("min_over_time{samples} == 1 and count_over_time{samples} >= 10");
        until_within(MAX_WAIT, condition, async || !self.prometheus.query(&query).await.is_empty()).await;
    }

    /// Waits until these alerts fire.
    async fn until_firing(&self, alerts: &[&str]) {
        for alert in alerts {
            until_within(MAX_WAIT, alert, async || self.prometheus.fires(alert).await).await;
        }
    }

    /// Reads the values of all queries and the states of all alerts. Each query must have a value. Queries that contain
    /// a metric of `silent` must have none, because there is nothing to measure in this situation.
    async fn record(&mut self, name: &'static str, silent: &[&str]) {
        let mut values = Vec::new();
        for query in &self.queries {
            let is_silent = silent.iter().any(|metric| query.text.contains(metric));
            let mut series = Vec::new();
            until(&format!("{name}: {} of {query:?}", if is_silent { "no value" } else { "a value" }), async || {
                series = self.prometheus.series(&query.text).await;
                series.is_empty() == is_silent
            })
            .await;
            values.push(self.cell(query, &series));
        }
        let alerts = self.prometheus.alerts().await;
        assert!(alerts.iter().all(|alert| alert.is_evaluated), "{name}: {alerts:?}");
        self.situations.push(Situation { name, values, alerts });
    }

    /// Returns the values of a query as text: one value with its name, or the lowest and the highest of several.
    fn cell(&self, query: &Query, series: &[Series]) -> String {
        let values = || series.iter().map(|series| series.value);
        match series {
            [] => "none".to_owned(),
            [one] => {
                let value = format_value(one.value, &query.unit);
                let mut name = query.legend.clone();
                for (label, text) in &one.labels {
                    let text = self.names.get(text).unwrap_or(text);
                    name = name.replace(&format!("{{{{{label}}}}}"), text);
                }
                if query.legend.contains("{{") { format!("{value} ({name})") } else { value }
            }
            _ => {
                let lowest = format_value(values().fold(f64::INFINITY, f64::min), &query.unit);
                let highest = format_value(values().fold(f64::NEG_INFINITY, f64::max), &query.unit);
                if lowest == highest { lowest } else { format!("{lowest} to {highest}") }
            }
        }
    }

    /// Returns the text of docs/monitoring.md.
    fn document(&self) -> String {
        let names: Vec<_> = self.situations.iter().map(|situation| situation.name).collect();
        let line = "|---".repeat(names.len());
        let clients: usize = LOAD.iter().map(|(_, count)| count).sum();
        let mut text = format!(
            "# Values of the dashboard and the alerts\n\n\
             `make dashboard-table` writes this page. A Prometheus with the configuration of `deploy/monitoring` reads \
             three\nreplicas, and a fourth one that serves TLS and has no clients. It evaluates all queries of the \
             dashboard and all alerts\nin five situations. The leader polls every 200 ms, and the feed is stale after \
             1 s and down after 2 s. In the quiet\nsituation, three clients are connected. \
             Under load and in the outages there are {clients} more, and {READERS} further clients request\nthe history \
             again and again.\n\n\
             A test of CI does the same. It fails if a query that has something to measure has no value, if an alert \
             fires without a\nfault, or if one of the alerts BtcfeedFeedDown, BtcfeedTicksStopped, BtcfeedStoreDown and \
             BtcfeedReplicaDown does not\nfire in its outage. `none` means that there is nothing to measure. \
             `deploy/monitoring/alerts.test.yml` tests all alerts.\nThe values depend on the machine.\n\n\
             ## Dashboard\n\nIf a query has several series, the table shows the lowest and the highest value.\n\n\
             | panel | query | unit | {} |\n|---|---|---{line}|\n",
            names.join(" | ")
        );
        for (number, query) in self.queries.iter().enumerate() {
            let values: Vec<_> = self.situations.iter().map(|situation| situation.values[number].as_str()).collect();
            let shown = query.text.replace(&format!("[{RATE}]"), "[$__rate_interval]").replace('|', "\\|");
            writeln!(text, "| {} | `{shown}` | {} | {} |", query.panel, query.unit, values.join(" | ")).unwrap();
        }
        write!(
            text,
            "\n## Alerts\n\nA *pending* alert is true, but has not been true for long enough to fire.\n\n\
             | alert | {} |\n|---{line}|\n",
            names.join(" | ")
        )
        .unwrap();
        for (number, alert) in self.situations[0].alerts.iter().enumerate() {
            let states: Vec<_> = self.situations.iter().map(|situation| situation.alerts[number].shown()).collect();
            writeln!(text, "| `{}` | {} |", alert.name, states.join(" | ")).unwrap();
        }
        text
    }
}

impl Alert {
    fn shown(&self) -> &str {
        match self.state.as_str() {
            "firing" => "**fires**",
            "inactive" => "",
            other => other,
        }
    }
}

/// Formats a value in a unit of Grafana.
fn format_value(value: f64, unit: &str) -> String {
    match unit {
        "s" if value < 0.01 => format!("{:.1} ms", value * 1000.0),
        "s" if value < 1.0 => format!("{:.0} ms", value * 1000.0),
        "s" if value > 172_800.0 => format!("{:.0} days", value / 86_400.0),
        "s" => format!("{value:.1} s"),
        "bytes" => format!("{:.0} MiB", value / 1024.0 / 1024.0),
        "Bps" => format!("{:.0} kB/s", value / 1000.0),
        "ops" => format!("{value:.1} / s"),
        "percentunit" => format!("{:.1} %", value * 100.0),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// Starts `btcfeed load` with clients of one transport.
fn load(transport: &str, count: usize, replicas: &[Replica]) -> Child {
    let mut command = program();
    command.args(["load", "--transport", transport, "--connections", &count.to_string(), "--duration", "1h"]);
    command.args(["--since", "10m"]).args(replicas.iter().map(|replica| &replica.address));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Requests the history of a replica again and again.
async fn read_history(address: String) {
    let url = format!("http://{address}/v1/prices?limit=1000&format=full");
    loop {
        // The replica may have been killed.
        if let Ok(answer) = http().get(&url).send().await {
            answer.bytes().await.ok();
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_have_values_and_alerts_fire() {
    let mut cluster = TestCluster::new().await;
    let settings = [("BTCFEED_STALE_AFTER", "1s"), ("BTCFEED_DOWN_AFTER", "2s")];
    let start = async |number| cluster.replica(&format!("r{number}"), &settings).await;
    let replicas = join_all((1..=3).map(start)).await;
    let authority = Authority::new();
    let tls = authority.settings();
    let tls: Vec<_> = tls.iter().map(|(name, value)| (*name, value.as_str())).chain([SERVE]).chain(settings).collect();
    let with_tls = cluster.replica("r4", &tls).await;
    let addresses: Vec<_> = replicas.iter().chain([&with_tls]).map(|replica| replica.ops.as_str()).collect();
    let names = (1..).zip(&addresses).map(|(number, address)| ((*address).to_owned(), format!("r{number}")));
    let names = names.collect();
    let prometheus = Prometheus::start(&addresses).await;
    let mut seen = Observation { prometheus, names, queries: queries(RATE), situations: Vec::new() };

    let _few = LOAD.map(|(transport, _)| load(transport, 1, &replicas));
    seen.until_lasting("sum(btcfeed_clients) == bool 3").await;
    seen.record("quiet", &[]).await;

    let clients: usize = 3 + LOAD.iter().map(|(_, count)| count).sum::<usize>();
    let _load = LOAD.map(|(transport, count)| load(transport, count, &replicas));
    let address = |number: usize| replicas[number % replicas.len()].address.clone();
    let readers: Vec<_> = (0..READERS).map(|number| tokio::spawn(read_history(address(number)))).collect();
    seen.until_lasting(&format!("sum(btcfeed_clients) == bool {clients}")).await;
    seen.record("under load", &[]).await;
    for situation in &seen.situations {
        let firing: Vec<_> = situation.alerts.iter().filter(|alert| alert.state == "firing").collect();
        assert!(firing.is_empty(), "{}: {firing:?}", situation.name);
    }

    cluster.exchange.set_all(&Mode::Status(500, None));
    seen.until_firing(&["BtcfeedFeedDown", "BtcfeedTicksStopped"]).await;
    seen.record("no exchange answers", &[DELIVERY]).await;
    cluster.exchange.set_all(&Mode::Good);
    seen.until_lasting("max(btcfeed_feed_state{state=\"live\"})").await;

    cluster.redis.kill().await;
    seen.until_firing(&["BtcfeedStoreDown", "BtcfeedFeedDown", "BtcfeedTicksStopped"]).await;
    seen.until_lasting("sum(rate(btcfeed_store_errors_total[5s])) > bool 1").await;
    seen.record("Redis is gone", &[DELIVERY, REDIS]).await;
    cluster.redis.run().await;
    seen.until_lasting("max(btcfeed_feed_state{state=\"live\"})").await;

    let leader = cluster.leader().await;
    let number: usize = leader.trim_start_matches('r').parse().unwrap();
    replicas[number - 1].signal(Signal::KILL);
    seen.until_firing(&["BtcfeedReplicaDown"]).await;
    seen.record("the leader was killed", &[]).await;
    readers.iter().for_each(|reader| reader.abort());

    let document = seen.document();
    println!("{document}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring.md"), document).unwrap();
    }
}
