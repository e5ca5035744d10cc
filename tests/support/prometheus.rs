//! A real Prometheus with the configuration and the alerts of `deploy/monitoring`, which reads replicas on this
//! machine.

use super::ports::free_address;
use super::{http, soon, until};
use serde_json::Value;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A running Prometheus.
pub struct Prometheus {
    _child: Child,
    _dir: TempDir,
    address: String,
}

impl Prometheus {
    /// Starts Prometheus. It reads the operators' ports in `replicas` twice a second.
    pub async fn start(replicas: &[&str]) -> Prometheus {
        let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut config = include_str!("../../deploy/monitoring/prometheus.yml").to_owned();
        let discovery = "    dns_sd_configs:\n      - names: [btcfeed]\n        type: A\n        port: 9464\n        refresh_interval: 5s\n";
        // Only texts that depend on the machine are replaced, and times, so that the tests are faster.
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

    /// Returns the values of a query now, without those that are not numbers.
    pub async fn query(&self, query: &str) -> Vec<f64> {
        let answer = self.get("query", &[("query", query)]).await;
        let values = answer["result"].as_array().unwrap().iter().map(|series| series["value"][1].as_str().unwrap());
        values.map(|value| value.parse().unwrap()).filter(|value: &f64| !value.is_nan()).collect()
    }

    /// Returns true if an alert fires now.
    pub async fn fires(&self, alert: &str) -> bool {
        let alerts = self.get("alerts", &[]).await;
        let mut alerts = alerts["alerts"].as_array().unwrap().iter();
        alerts.any(|found| found["labels"]["alertname"] == alert && found["state"] == "firing")
    }
}
