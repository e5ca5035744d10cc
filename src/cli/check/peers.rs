//! Checks of running replicas. Each replica is asked for its status.

use super::super::format::printable;
use super::finding::Finding;
use crate::feed::FeedState;
use crate::message::StatusReport;
use crate::source::read_bounded;
use crate::text::{excerpt, format_duration};
use anyhow::{Context, ensure};
use futures_util::future::join_all;
use reqwest::{Certificate, Client};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// Time for the answer of a replica.
const DEADLINE: Duration = Duration::from_secs(3);
/// Maximum size of a status.
const MAX_BYTES: usize = 1024 * 1024;

/// The replicas to ask, and the options of the requests.
pub(super) struct Peers {
    /// `HOST:PORT` or a URL.
    pub(super) addresses: Vec<String>,
    /// The trusted certificate authorities in PEM, or `None` for those of the system.
    pub(super) authorities: Option<Vec<u8>>,
    /// The API key, if the feed needs one.
    pub(super) key: Option<SecretString>,
}

impl Peers {
    /// Asks all replicas at once. `interval` is the time between two ticks.
    pub(super) async fn check(&self, interval: Duration) -> Vec<Finding> {
        let asked = join_all(self.addresses.iter().map(async |peer| (peer, self.ask(peer).await))).await;
        findings(asked, interval)
    }

    async fn ask(&self, peer: &str) -> anyhow::Result<StatusReport<'static>> {
        let base = if peer.contains("://") { peer.to_owned() } else { format!("http://{peer}") };
        let mut client = Client::builder().no_proxy().timeout(DEADLINE);
        if let Some(pem) = &self.authorities {
            let certificates = Certificate::from_pem_bundle(pem).context("invalid certificate in --ca")?;
            client = client.tls_certs_only(certificates);
        }
        let client = client.build().context("cannot create an HTTP client")?;
        let request = client.get(format!("{}/v1/status", base.trim_end_matches('/')));
        let request = self.key.iter().fold(request, |request, key| request.bearer_auth(key.expose_secret()));
        let response = request.send().await.map_err(reqwest::Error::without_url).context("no answer")?;
        let status = response.status();
        ensure!(status != 401, "the replica needs an API key: use --key-file");
        ensure!(status == 200 || status == 503, "the answer is {status}");
        let body = read_bounded(response, MAX_BYTES).await?;
        serde_json::from_slice(&body).context("the answer is not a status of a feed: is this a replica of btcfeed?")
    }
}

fn findings(asked: Vec<(&String, anyhow::Result<StatusReport<'_>>)>, interval: Duration) -> Vec<Finding> {
    let newest = asked.iter().filter_map(|(_, report)| Some(report.as_ref().ok()?.last_id)).max();
    let findings = asked.into_iter().map(|(peer, report)| {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                let remedy = "Start the replica, or correct --peer: it must name the clients' or the operators' port.";
                return Finding::fail("peer", format!("{peer}: {error:#}"), remedy);
            }
        };
        let lag = newest.map_or(Duration::ZERO, |newest| newest.since(report.last_id));
        let state = report.state.known();
        if state != Some(FeedState::Live) {
            let word = state.map_or("unknown", FeedState::as_str);
            let found = format!("{peer}: the feed is {word}: {}", excerpt(&printable(&report.reason), 200));
            Finding::fail(
                "peer",
                found,
                "Look at the sources, the leader and Redis in this list, and at the log of the leader.",
            )
        } else if lag > interval * 2 {
            let seconds = Duration::from_secs(lag.as_secs());
            let found = format!("{peer}: {} behind another replica", format_duration(seconds));
            Finding::fail("peer", found, "The replica does not receive what Redis publishes: look at its log.")
        } else if !report.warnings.is_empty() {
            let found = format!("{peer}: {}", printable(&report.warnings.join("; ")));
            Finding::warn("peer", found, "Synchronise the clocks (NTP), and give all replicas the same settings.")
        } else {
            Finding::ok("peer", format!("{peer}: live, {} {}", printable(&report.replica), printable(&report.version)))
        }
    });
    findings.collect()
}
