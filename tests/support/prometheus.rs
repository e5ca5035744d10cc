//! A real Prometheus with the configuration and the alerts of `deploy/monitoring`, which reads replicas on this
//! machine.

use super::ports::free_address;
use super::{http, soon, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A running Prometheus.
pub struct Prometheus {
    _child: Child,
    _dir: TempDir,
    address: String,
}

/// A series of an answer.
#[derive(Clone, Debug)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// An alert.
#[derive(Clone, Debug)]
pub struct Alert {
    pub name: String,
    /// `inactive`, `pending` or `firing`.
    pub state: String,
    /// True if the last evaluation had no error.
    pub is_evaluated: bool,
}

impl Prometheus {
    /// Starts Prometheus. It reads the operators' ports in `replicas` twice a second.
    pub async fn start(replicas: &[&str]) -> Prometheus {
        let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut config = include_str!("../../deploy/monitoring/prometheus.yml").to_owned();
        let discovery = "    dns_sd_configs:\n      - names: [btcfeed]\n        type: A\n        port: 9464\n        refresh_interval: 5s\n";
        // Only the targets and the times are replaced. The targets are on this machine, and shorter times make the
        // tests faster.
        for (shipped, local) in [
            (discovery, &*format!("    static_configs:\n      - targets: {replicas:?}\n")),
            ("scrape_interval: 5s", "scrape_interval: 500ms"),
            ("scrape_timeout: 4s", "scrape_timeout: 500ms"),
            ("evaluation_interval: 5s", "evaluation_interval: 1s"),
        ] {
            assert_eq!(config.matches(shipped).count(), 1, "prometheus.yml contains {shipped:?} once");
            config = config.replace(shipped, local);
        }
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        std::fs::write(dir.path().join("alerts.yml"), include_str!("../../deploy/monitoring/alerts.yml")).unwrap();
        let mut command = Command::new("prometheus");
        command.arg("--config.file").arg(&file).arg("--storage.tsdb.path").arg(dir.path().join("data"));
        command.arg("--web.listen-address").arg(&address);
        command.stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().expect("prometheus is installed (see `make test`)");
        let prometheus = Prometheus { _child: child, _dir: dir, address };
        let url = format!("http://{}/-/ready", prometheus.address);
        until("Prometheus to be ready", async || {
            http().get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        prometheus
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let request = http().get(format!("http://{}/api/v1/{path}?{query}", self.address));
        let answer = soon(path, request.send()).await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].clone()
    }

    /// Returns the series of a query now, without those whose value is not a number.
    pub async fn series(&self, query: &str) -> Vec<Series> {
        let answer = self.get("query", &[("query", query)]).await;
        let series = answer["result"].as_array().unwrap().iter().map(|series| Series {
            labels: serde_json::from_value(series["metric"].clone()).unwrap(),
            value: series["value"][1].as_str().unwrap().parse().unwrap(),
        });
        series.filter(|series| !series.value.is_nan()).collect()
    }

    /// Returns the values of a query now, without those that are not numbers.
    pub async fn query(&self, query: &str) -> Vec<f64> {
        self.series(query).await.into_iter().map(|series| series.value).collect()
    }

    /// Returns all alerts.
    pub async fn alerts(&self) -> Vec<Alert> {
        let answer = self.get("rules", &[("type", "alert")]).await;
        let groups = answer["groups"].as_array().unwrap();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        let alert = |rule: &Value| {
            let text = |name: &str| rule[name].as_str().unwrap().to_owned();
            Alert { name: text("name"), state: text("state"), is_evaluated: rule["health"] == "ok" }
        };
        rules.map(alert).collect()
    }

    /// Returns true if an alert fires now.
    pub async fn fires(&self, alert: &str) -> bool {
        let alerts = self.get("alerts", &[]).await;
        let mut alerts = alerts["alerts"].as_array().unwrap().iter();
        alerts.any(|found| found["labels"]["alertname"] == alert && found["state"] == "firing")
    }
}
